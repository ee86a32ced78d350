"""What learning an encoder reads of a run: its documents after the user's steps, its answers, its training links."""

from collections.abc import Mapping

from data.artifacts import Artifact
from ray_apps.plan import Plan
from training.encoders.examples import Corpus


def corpus_needs(plan: Plan) -> Mapping[str, str]:
    """The stages that ``corpus_of`` reads."""
    return {"documents": plan.documents, "tables": "ingest", "split": "split"}


def corpus_of(inputs: Mapping[str, Artifact]) -> Corpus:
    """The tables of ``corpus_needs`` as something to learn from."""
    return Corpus(inputs["documents"].path / "documents", inputs["tables"].path, inputs["split"].path)
