"""The ``catena`` command: what stands on the command line, what is printed where, and with which exit code it ends.

Progress and prose go to standard error; the result is a short table on standard output, or with ``--json`` one JSON
object as its last line. Exit codes: 0 done, 2 something the user can mend, 1 anything else, 130 interrupted.
"""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ray_apps.command import Command, Result
from ray_apps.usage import command_help, find_command, overview, split_config_flags

logger = logging.getLogger("catena")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; the arguments are those of the process unless given."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    with _progress_on_stderr(debug):
        try:
            return _run_command(words)
        except KeyboardInterrupt:
            logger.error("interrupted; start it again and it continues where it stopped")
            return 130
        except Exception as error:  # the last place an error can be told
            return _tell(error, debug)


def _run_command(words: list[str]) -> int:
    from ray_apps.commands import COMMANDS

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
    _show(*_execute(command, arguments, config_flags), arguments.json)
    return 0


def _help(command: Command, rest: list[str]) -> str:
    from ray_apps.config import describe_flags

    sections = [word for word in rest if not word.startswith("-") and not word.endswith((".yaml", ".yml"))]
    if command.name == "config" and sections:
        return describe_flags(sections[0])
    return command_help(command)


def _execute(
    command: Command, arguments: argparse.Namespace, config_flags: list[str]
) -> tuple[Result, Callable[[Result], str]]:
    """The result of a command, as JSON values, and what shows it as text."""
    if command.unplanned is not None:
        return command.unplanned(arguments), command.show
    from ray_apps.config import load_run
    from ray_apps.plan import Plan
    from ray_apps.run import dry_run
    from ray_apps.tables import plan_text

    strict = ["--source.strict", "true"] if arguments.strict else []
    plan = Plan(load_run(arguments.run, [*config_flags, *strict]))
    if arguments.dry_run:
        return dry_run(plan), plan_text
    assert command.call is not None
    return command.call(plan, arguments), command.show


def _show(result: Result, show: Callable[[Result], str], as_json: bool) -> None:
    sys.stdout.write((json.dumps(result, ensure_ascii=False) if as_json else show(result)) + "\n")


def _tell(error: Exception, debug: bool) -> int:
    """Say what went wrong in the user's terms, and choose the exit code."""
    from data.failures import first_cause, input_error

    mistake = input_error(error)
    if debug:
        logger.error("", exc_info=error)
    if mistake is not None:
        logger.error("error: %s\n  %s", mistake.problem, mistake.remedy)
        return 2
    logger.error("error: %s\n  Run it again with --debug for the traceback.", first_cause(error))
    return 1


@contextmanager
def _progress_on_stderr(debug: bool) -> Iterator[None]:
    """Send the package's messages to standard error, plain, as long as the command runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = logger.level
    # A library's `logging.info` would give the root logger a handler of its own, and everything were said twice.
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


if __name__ == "__main__":
    sys.exit(main())
