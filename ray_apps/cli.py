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
from pathlib import Path
from typing import Any, NoReturn

from data.errors import InputError, nearest

logger = logging.getLogger("catena")

COMMANDS = {
    "run": "every stage that is not yet done, then the table of results",
    "ingest": "read the corpus into documents, links, queries and rejects, and cut it into passages",
    "embed": "passages to vectors, on Ray Data",
    "index": "fill the search index",
    "search": "search the index from here",
    "train": "links to a graph, and a link model on it, on Ray Train",
    "evaluate": "search and link model against their baselines, with a report",
    "discover": "propose the links that are missing, best first",
    "serve": "search and links over HTTP, on Ray Serve",
    "bench": "measure the figures tables, ours beside its peers",
    "config": "print the run's configuration, from every source together",
}


class _Parser(argparse.ArgumentParser):
    """argparse whose errors are InputErrors: one form of message, one exit code."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message, f"`{self.prog} --help` shows the usage.")


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
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if words else 2
    if words[0] not in COMMANDS:
        raise InputError(f"unknown command {words[0]!r}; {nearest(words[0], COMMANDS)}", "`catena --help` lists them.")
    parser = _parser(words[0])
    if "-h" in words or "--help" in words:
        sys.stdout.write(parser.format_help() + _help_on_keys(words[0]))
        return 0
    own, config_flags = _split_config_flags(words[1:])
    arguments = parser.parse_args(own)
    result = _execute(words[0], arguments, config_flags)
    if result is not None:
        _show(words[0], result, arguments.json)
    return 0


def _execute(command: str, arguments: argparse.Namespace, config_flags: list[str]) -> dict[str, Any] | None:
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

        return search(run, arguments.query, top_k=arguments.top_k, mode=arguments.mode)
    if command == "serve":
        from ray_apps.serve import serve

        return serve(run)
    stage = importlib.import_module(f"ray_apps.{command}")
    made = getattr(stage, command)(run)
    if command == "ingest":
        stage.chunk(run)
    if command == "evaluate":
        return summary(run)
    result = {"run": run.name, command: made.result, "artifact": str(made.path)}
    return {**result, "proposals": stage.best(made, arguments.top)} if command == "discover" else result


def _parser(command: str) -> _Parser:
    parser = _Parser(prog=f"catena {command}", description=COMMANDS[command], add_help=False, allow_abbrev=False)
    if command == "bench":
        parser.add_argument(
            "name", nargs="?", metavar="NAME", help="embed, retrieval, links or serve; all of them if left out"
        )
    else:
        parser.add_argument("run", type=Path, metavar="RUN.yaml", help="the run file, such as runs/demo.yaml")
        parser.add_argument(
            "--dry-run", action="store_true", help="print the configuration and which artifacts are there"
        )
        parser.add_argument("--strict", action="store_true", help="the first bad row of the corpus is an error")
    if command == "search":
        parser.add_argument("query", metavar="QUERY", help="what to look for")
        parser.add_argument("--top-k", type=_positive, default=10, metavar="N", help="results wanted (default: 10)")
        parser.add_argument("--mode", choices=("hybrid", "dense", "bm25"), default="hybrid", help="(default: hybrid)")
    if command == "discover":
        parser.add_argument("--top", type=_positive, default=20, metavar="N", help="links to print (default: 20)")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object on the last line")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("-h", "--help", action="store_true", help="show this and every key of the run file")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _split_config_flags(words: list[str]) -> tuple[list[str], list[str]]:
    """The command's own words, and apart from them ``--embed.batch-tokens 8192`` and its like, the run file's keys."""
    from ray_apps.config import RunConfig

    own: list[str] = []
    config: list[str] = []
    rest = iter(words)
    for word in rest:
        name = word.partition("=")[0]
        if not (name.startswith("--") and ("." in name or name[2:] in RunConfig.model_fields)):
            own.append(word)
            continue
        config.append(word)
        if "=" not in word:
            config += [value for value in [next(rest, None)] if value is not None]
    return own, config


def _overview() -> str:
    lines = [f"  {name:<10} {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: catena COMMAND RUN.yaml [--KEY VALUE ...] [--json] [--dry-run] [--strict] [--debug]",
            "",
            "Search over a body of text, and discovery of the links it still misses.",
            "",
            *lines,
            "",
            "`catena COMMAND --help` shows a command's own flags and every key of the run file.",
            "",
        ]
    )


def _help_on_keys(command: str) -> str:
    if command == "bench":
        return ""
    from ray_apps.config import describe_flags

    return "\n" + describe_flags()


def _show(command: str, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        text = json.dumps(result, ensure_ascii=False)
    else:
        from ray_apps.tables import readable

        text = readable(command, result)
    sys.stdout.write(text + "\n")


def _tell(error: Exception, debug: bool) -> int:
    """Say what went wrong in the user's terms, and choose the exit code."""
    from ray_apps.failures import input_error

    mistake = input_error(error)
    if debug:
        logger.error("", exc_info=error)
    if mistake is not None:
        logger.error("error: %s\n  %s", mistake.problem, mistake.remedy)
        return 2
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    logger.error("error: %s: %s\n  Run it again with --debug for the traceback.", type(error).__name__, first_line)
    return 1


@contextmanager
def _progress_on_stderr(debug: bool) -> Iterator[None]:
    """Send the package's messages to standard error, plain, as long as the command runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


if __name__ == "__main__":
    sys.exit(main())
