"""Documents and links as a file that the service looks them up in, one at a time."""

from pathlib import Path

from data.artifacts import StageConfig, StageResult
from ray_apps.plan import Inputs, Plan, Stage
from retrieval.steps import links_in


class LookupConfig(StageConfig):
    """Nothing decides it but its inputs."""


class LookupResult(StageResult):
    """Rows of each table."""

    documents: int
    links: int
    proposed: int


def _needs(plan: Plan) -> dict[str, str]:
    """The tables; proposals where they have been made, or a pipeline follows them."""
    followed = links_in(plan.run.pipelines) & {"discovered", "both"}
    discovered = {"discovered": "discover"} if followed or plan.artifact("discover").done else {}
    return {"documents": plan.documents, "links": "ingest", **discovered}


def _write(config: LookupConfig, inputs: Inputs, out: Path) -> LookupResult:
    from serving.lookup import write_lookup

    discovered = inputs["discovered"].path / "links" if "discovered" in inputs else None
    counts = write_lookup(out, inputs["documents"].path / "documents", inputs["links"].path / "links", discovered)
    return LookupResult.model_validate(counts)


LOOKUP = Stage(
    name="lookup",
    result=LookupResult,
    config=lambda plan: LookupConfig(),
    make=_write,
    needs=_needs,
    wanted=lambda plan: False,  # it has the proposals where there are some: made when they have been, or not wanted
)
