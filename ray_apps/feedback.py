"""The journals of a service, as the table of interactions."""

import sys
from argparse import Namespace
from typing import Any

from ray_apps.command import Command
from ray_apps.plan import Plan


def feedback(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Join what was served with what became of it; journals stay, and a service may go on writing them.

    Returns:
        ``run``, ``journals``, ``interactions``, ``with_feedback``, ``rejected`` (lines that are no records, such as the
        last one of a service that was killed) and ``table``, its folder.
    """
    import pyarrow.compute as pc

    from data.interactions import join_interactions
    from data.journals import SUFFIX, read_journals
    from data.partitions import partition_name, write_partition

    journals = plan.run.workspace / "journals" / plan.run.name
    joined = join_interactions(record for _, record in read_journals(journals))
    out = plan.run.workspace / "interactions" / plan.run.name
    out.mkdir(parents=True, exist_ok=True)
    write_partition(joined.table, out / partition_name(0))
    return {
        "run": plan.run.name,
        "journals": len(list(journals.glob(f"*{SUFFIX}"))),
        "interactions": joined.table.num_rows,
        "with_feedback": pc.sum(pc.greater(joined.table["events"], 0)).as_py() or 0,
        "rejected": joined.rejected,
        "table": str(out),
    }


COMMAND = Command(
    name="feedback",
    summary="what a service was told of its answers, as a table",
    call=feedback,
    sections=("serve",),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["feedback", *sys.argv[1:]]))
