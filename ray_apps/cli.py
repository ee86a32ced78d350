"""The ``catena`` command: what is printed where, and with which exit code it ends.

Progress and prose go to standard error; the result is a short table on standard output, or with ``--json`` one JSON
object as its last line. Exit codes: 0 done, 2 something the user can correct, 1 a check that does not pass and anything
else, 130 interrupted.
"""

import atexit
import gc
import json
import logging
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from data.surrogates import valid_unicode
from ray_apps.command import Command, Result
from ray_apps.log_file import LogFile
from ray_apps.terminal import terminal
from ray_apps.usage import command_help, find_command, overview, split_config_flags

if TYPE_CHECKING:
    from ray_apps.plan import Plan

logger = logging.getLogger("catena")

# At exit Python collects garbage over every object that torch and transformers made: 1.4 s of a search.
atexit.register(gc.freeze)


@dataclass(frozen=True)
class Job:
    """A command with its words read; ``plan`` where it reads a run file."""

    command: Command
    arguments: Namespace
    plan: "Plan | None"

    def __call__(self) -> int:
        """Run it, and print its result."""
        result, show = self._result()
        text = json.dumps(result, ensure_ascii=False) if self.arguments.json else show(result)
        sys.stdout.write(text + "\n")
        asked = self.plan is None or not self.arguments.dry_run
        return 0 if not asked or self.command.passed(result) else 1

    def _result(self) -> tuple[Result, Callable[[Result], str]]:
        if self.plan is None:
            assert self.command.unplanned is not None
            return self.command.unplanned(self.arguments), self.command.show
        if self.arguments.dry_run:
            return self._dry_run(self.plan)
        assert self.command.call is not None
        return self.command.call(self.plan, self.arguments), self.command.show

    def _dry_run(self, plan: "Plan") -> tuple[Result, Callable[[Result], str]]:
        from ray_apps.run import dry_run
        from ray_apps.tables import plan_text

        further = getattr(self.arguments, "further", [])
        if not further:
            return dry_run(plan), plan_text
        runs = [dry_run(one) for one in (plan, *further)]
        return {"runs": runs}, lambda result: "\n\n".join(plan_text(one) for one in result["runs"])

    @property
    def logs(self) -> Path | None:
        """Folder of the logs: the run's own, or the user's temporary one for a command without a run.

        None for a dry run, which starts nothing, and where no temporary folder can be written.
        """
        if self.plan is None:
            try:
                return Path(tempfile.gettempdir(), f"catena-{os.getuid()}", "logs")
            except OSError:  # on a full disk
                return None
        return None if self.arguments.dry_run else self.plan.run.workspace / "logs"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; the arguments are those of the process unless given."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    jobs: list[Job] = []
    code = _attempt(lambda: _prepare(words, jobs), None, "", debug)
    for job in jobs:
        code = _attempt(job, job.logs, job.command.name, debug)
    return code


def _attempt(work: Callable[[], int], logs: Path | None, name: str, debug: bool) -> int:
    """The exit code of some work; what goes wrong is reported in the user's terms, its traceback kept in the log."""
    with terminal(logs, name, debug) as log:
        try:
            code = work()
        except KeyboardInterrupt:
            logger.error("interrupted; start it again and it continues where it stopped")
            code = 130
        except Exception as error:  # the last place where an error can be reported
            code = _report(error, debug, log)
        return code


def _prepare(words: list[str], jobs: list[Job]) -> int:
    """Read the words, print help where it is asked for, and put a job in the list where one is."""
    from ray_apps.commands import COMMANDS

    for word in words:
        if not valid_unicode(word):  # bytes of the command line that are not in its encoding
            raise InputError(f"the argument {word!a} is not valid Unicode", "Give it in the terminal's encoding.")
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(overview(COMMANDS))
        return 0 if words else 2
    command, rest = find_command(words, COMMANDS)
    if command is None:
        sys.stdout.write(overview(COMMANDS, words[0]))
        return 0 if rest else 2
    if "-h" in rest or "--help" in rest:
        sys.stdout.write(_help(command, rest))
        return 0
    own, config_flags = split_config_flags(rest)
    arguments = command.parser().parse_args(own)
    plan = None
    if command.unplanned is not None and config_flags:
        raise InputError(
            f"{command.name} reads no run file, so it does not take {config_flags[0]}",
            f"Leave it out; `catena {command.name} --help` lists what there is.",
        )
    if command.unplanned is None:
        from ray_apps.config import load_run
        from ray_apps.plan import Plan

        plan = Plan(load_run(arguments.run, config_flags, arguments.strict))
        if command.several:
            arguments.further = [Plan(load_run(path, config_flags, arguments.strict)) for path in arguments.further]
    jobs.append(Job(command, arguments, plan))
    return 0


def _help(command: Command, rest: list[str]) -> str:
    from ray_apps.config_help import describe_flags

    sections = [word for word in rest if not word.startswith("-") and not word.endswith((".yaml", ".yml"))]
    if command.name == "config" and sections:
        return describe_flags(sections[0])
    return command_help(command)


def _report(error: Exception, debug: bool, log: LogFile | None) -> int:
    """Report what went wrong, and choose the exit code."""
    from data.failures import first_cause, input_error

    if debug:
        logger.error("", exc_info=error)
    logged = not debug and log is not None and log.add_traceback(error)
    mistake = input_error(error)
    if mistake is not None:
        logger.error("error: %s\n  %s", mistake.problem, mistake.remedy)
        return 2
    remedy = "Its traceback is in the log." if logged else "Run it again with --debug for the traceback."
    logger.error("error: %s\n  %s", first_cause(error), remedy)
    return 1


if __name__ == "__main__":
    sys.exit(main())
