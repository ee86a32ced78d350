"""Run files of a corpus of two documents, and what differs between the plans of two of them."""

import json
from pathlib import Path
from typing import Any

from ray_apps.config import RunConfig
from ray_apps.plan import Plan

OTHER_SOURCES = {"catalogue", "intents", "learn", "baskets", "item_vectors", "bundles"}  # of other tables than a corpus


def write_run(folder: Path, **sections: object) -> Path:
    """A run file ``run.yaml`` of two documents with a link, and of further sections, which may replace its source."""
    rows = {
        "documents": [{"id": "a", "title": "A", "text": "a"}, {"id": "b", "text": "b"}],
        "links": [{"source": "a", "target": "b"}],
    }
    files = {table: {"path": str(folder / f"{table}.jsonl")} for table in rows}
    for table, lines in rows.items():
        (folder / f"{table}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    run: dict[str, Any] = {"name": "r", "workspace": str(folder / "ws"), "source": {"files": files}, **sections}
    (folder / "run.yaml").write_text(json.dumps(run))
    return folder / "run.yaml"


def keys_of(run: RunConfig) -> dict[str, str]:
    """The key of each stage of a run that is made of a corpus."""
    plan = Plan(run)
    return {stage: plan.artifact(stage).key for stage in plan.stages if stage not in OTHER_SOURCES}


def changed(one: RunConfig, other: RunConfig) -> set[str]:
    """Stages whose artifacts differ between two runs."""
    before, after = keys_of(one), keys_of(other)
    return {stage for stage in before if before[stage] != after[stage]}
