"""The words of the command line: which commands there are, what each takes, how they are explained."""

import argparse
from pathlib import Path
from typing import NoReturn, get_args

from data.errors import InputError

COMMANDS = {
    "run": "every stage that is not yet done, then the table of results",
    "ingest": "read the corpus into documents, links, queries and rejects, and cut it into passages",
    "embed": "passages to vectors, on Ray Data",
    "reduce": "vectors to fewer dimensions or fewer bytes, as the run's section `reduce` says",
    "late": "passages to the vectors of their tokens, for search mode late, on Ray Data",
    "encoder": "compare, export or teach the run's encoder: check, export, idf, fuse or matryoshka",
    "index": "fill the search index",
    "search": "search the index from here",
    "train": "links to a graph, and a link model on it, on Ray Train",
    "evaluate": "search and link model against their baselines, with a report",
    "discover": "propose the links that are missing, best first",
    "serve": "search and links over HTTP, on Ray Serve",
    "bench": "measure the figures tables, ours beside its peers",
    "config": "print the run's configuration, from every source together",
}

# Where each action of `catena encoder` stands, as module:function, and what it does.
ENCODER_ACTIONS = {
    "check": ("ray_apps.encoder.check:compare", "compare the forms of the encoder on this machine"),
    "export": ("ray_apps.encoder.check:export", "lay it out for a server"),
    "idf": ("ray_apps.encoder.fit:idf", "count the weights of words of hashed encoders"),
    "fuse": ("ray_apps.encoder.fit:fuse", "learn the attention of an ensemble"),
    "matryoshka": (
        "ray_apps.encoder.matryoshka:matryoshka",
        "fine-tune the model on links or answered questions so that its vectors can be cut short",
    ),
}


class Parser(argparse.ArgumentParser):
    """argparse whose errors are InputErrors: one form of message, one exit code."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for anything it cannot parse."""
        raise InputError(message, f"`{self.prog} --help` shows the usage.")


def command_parser(command: str) -> Parser:
    """What a command takes beside the keys of the run file."""
    parser = Parser(prog=f"catena {command}", description=COMMANDS[command], add_help=False, allow_abbrev=False)
    if command == "bench":
        parser.add_argument(
            "name",
            nargs="?",
            metavar="NAME",
            help="chunking, embed, retrieval, links or serve; all of them if left out",
        )
    else:
        if command == "encoder":
            actions = "; ".join(f"{action}: {what}" for action, (_, what) in ENCODER_ACTIONS.items())
            parser.add_argument("action", choices=ENCODER_ACTIONS, help=actions)
            parser.add_argument(
                "--triton", type=Path, metavar="DIR", help="export: the Triton model repository to write"
            )
        parser.add_argument("run", type=Path, metavar="RUN.yaml", help="the run file, such as runs/demo.yaml")
        parser.add_argument(
            "--dry-run", action="store_true", help="print the configuration and which artifacts are there"
        )
        parser.add_argument("--strict", action="store_true", help="the first bad row of the corpus is an error")
    if command == "search":
        from retrieval.config import Mode

        parser.add_argument("query", metavar="QUERY", help="what to look for")
        parser.add_argument("--top-k", type=_positive, default=10, metavar="N", help="results wanted (default: 10)")
        parser.add_argument("--mode", choices=get_args(Mode), default="hybrid", help="(default: hybrid)")
        parser.add_argument(
            "--filter",
            action="append",
            default=[],
            metavar="CONDITION",
            help="what metadata must be; several must all hold, but a key may be given several values: lang=en, "
            "year>=1990 (also > < <=), author.name=Ann, tags (any value), and with ! before it, that it must not be",
        )
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


def split_config_flags(words: list[str]) -> tuple[list[str], list[str]]:
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


def overview() -> str:
    """What `catena --help` shows."""
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


def help_on_keys(command: str) -> str:
    """Every key of the run file as a flag, for the commands that read one."""
    if command == "bench":
        return ""
    from ray_apps.config import describe_flags

    return "\n" + describe_flags()
