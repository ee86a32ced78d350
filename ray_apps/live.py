"""Documents that were put while a run was served: where they are, and how they come into its next index.

They are in one file a run that its services write (``serving.live_store``). ``catena index`` copies what is in it to a
file of its own, which then is a part of the run's corpus: stages are made anew from it like from any file that changed,
and a service on the new index has only later writes beside it. Nothing is removed: an end at any point loses nothing.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from data.sources import SourceConfig
from data.sources.live import read_changes, write_live, writes_of
from ray_apps.config import RunConfig

if TYPE_CHECKING:
    from ray_apps.ingest import IngestResult
    from ray_apps.plan import Plan
    from serving.artifacts import LiveConfig

logger = logging.getLogger("catena")

FOLDED = "folded.jsonl"


def live_folder(run: RunConfig) -> Path:
    """Where a run's services keep the documents that are put."""
    return run.workspace / "live" / run.name


def source_of(run: RunConfig) -> SourceConfig:
    """The corpus of a run, with the documents that were put where they have been brought into it."""
    folded = (live_folder(run) / FOLDED).resolve()
    if run.source.live is not None or not folded.is_file():
        return run.source
    return run.source.model_copy(update={"live": folded})


def fold(run: RunConfig) -> int:
    """Make what was put and deleted until now a part of the run's corpus; services may go on writing.

    Returns:
        Number of the last write that is a part of it, 0 where there was none.
    """
    from serving.live_store import last_write, read_sources

    folder = live_folder(run)
    folded, last = folder / FOLDED, last_write(folder)
    if last and not (folded.is_file() and writes_of(folded) == last):
        last = write_live(folded, read_sources(folder))
        changes = read_changes(folded)
        logger.info(
            "index: %s documents that were put and %s deletions are a part of the corpus now",
            f"{len(changes.put):,}",
            f"{len(changes.deleted):,}",
        )
    return last


def live_config(plan: "Plan", ingested: "IngestResult | None") -> "LiveConfig | None":
    """What a service needs to take documents; None where it takes none.

    Args:
        plan: of the run.
        ingested: what its ingest stage measured; None where somebody else has made the index.
    """
    from serving.artifacts import LiveConfig

    run = plan.run
    if run.serve.live_documents == 0:
        return None
    return LiveConfig(
        folder=live_folder(run).resolve(),
        folded=0 if ingested is None else ingested.live_writes,
        limit=run.serve.live_documents,
        steps=run.steps,
        chunk=run.chunk,
        late_tokens=None if run.late is None else run.late.max_tokens,
    )
