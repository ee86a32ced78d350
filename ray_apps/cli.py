"""The ``catena`` command: what stands on the command line, what is printed where, and with which exit code it ends.

Progress and prose go to standard error; the result is a short table on standard output, or with ``--json`` one JSON
object as its last line. Exit codes: 0 done, 2 something the user can mend, 1 anything else, 130 interrupted.
"""

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from data.errors import InputError, nearest
from data.surrogates import valid_unicode
from ray_apps.usage import COMMANDS, command_parser, help_on_keys, overview, split_config_flags

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
    for word in words:
        if not valid_unicode(word):  # bytes of the command line that are not in its encoding
            raise InputError(f"the argument {word!a} is not valid Unicode", "Give it in the terminal's encoding.")
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(overview())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        raise InputError(f"unknown command {words[0]!r}; {nearest(words[0], COMMANDS)}", "`catena --help` lists them.")
    parser = command_parser(words[0])
    if "-h" in words or "--help" in words:
        sys.stdout.write(parser.format_help() + help_on_keys(words[0]))
        return 0
    own, config_flags = split_config_flags(words[1:])
    arguments = parser.parse_args(own)
    _show(words[0], _execute(words[0], arguments, config_flags), arguments.json)
    return 0


def _execute(command: str, arguments: argparse.Namespace, config_flags: list[str]) -> dict[str, Any]:
    """The result of a command, as JSON values; imports only what this command needs."""
    if command == "bench":
        from ray_apps.bench import bench

        return bench(arguments.name)
    from ray_apps.config import load_run
    from ray_apps.run import plan, run_all, summary

    strict = ["--source.strict", "true"] if arguments.strict else []
    run = load_run(arguments.run, [*config_flags, *strict])
    if command == "config":
        return run.model_dump(mode="json")
    if arguments.dry_run:
        return plan(run)
    if command == "run":
        return run_all(run)
    if command == "search":
        from ray_apps.search import search
        from retrieval.filters import parse_words

        return search(run, arguments.query, arguments.top_k, arguments.mode, parse_words(arguments.filter))
    if command == "serve":
        from ray_apps.serve import serve

        return serve(run)
    if command == "encoder":
        from ray_apps.encoder.check import encoder

        return encoder(run, arguments.action, arguments.triton)
    stage = importlib.import_module(f"ray_apps.{command}")
    made = getattr(stage, command)(run)
    if command == "ingest":
        stage.chunk(run)
    if command == "evaluate":
        return summary(run)
    result = {"run": run.name, command: made.result, "artifact": str(made.path)}
    return {**result, "proposals": stage.best(made, arguments.top)} if command == "discover" else result


def _show(command: str, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        text = json.dumps(result, ensure_ascii=False)
    else:
        from ray_apps.tables import readable

        text = readable(command, result)
    sys.stdout.write(text + "\n")


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
