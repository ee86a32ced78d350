"""Print a run's configuration: defaults, file, environment and flags merged."""

import sys
from argparse import Namespace
from typing import Any

from ray_apps.command import Command
from ray_apps.plan import Plan
from ray_apps.tables import config_text


def config(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Every key of the run with its value."""
    return plan.run.model_dump(mode="json")


COMMAND = Command(
    name="config",
    summary="print the run's configuration, all sources merged; `catena config --help SECTION` lists a section's keys",
    call=config,
    show=config_text,
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["config", *sys.argv[1:]]))
