"""What a command is: one record that says what it does, what words it takes, what it calls, how its result is shown."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from data.errors import InputError
from ray_apps.plan import Plan
from ray_apps.tables import figures

Result = Mapping[str, Any]


class Parser(argparse.ArgumentParser):
    """argparse whose errors are InputErrors: one form of message, one exit code."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse for anything it cannot parse."""
        raise InputError(message, f"`{self.prog} --help` shows the usage.")


def _no_words(parser: Parser) -> None:
    pass


@dataclass(frozen=True)
class Command:
    """One command of ``catena``.

    Args:
        name: as it is typed; nested commands have two words, such as ``encoder check``.
        summary: what it does, for the list of commands.
        call: does it; returns JSON values.
        words: adds the words that are its own to a parser.
        show: the result as text for people; ``--json`` prints the result whole.
        sections: sections of the run file that matter to it; its help names them. Empty where it reads no run file.
        unplanned: called in the place of ``call`` by a command that reads no run file.
        remote: the command that is meant where ``--url`` is among its words: it asks a service.
        passed: whether a result is what was wanted; where it is not, the command ends with exit code 1.
        several: whether it takes further run files; ``arguments.further`` is the list of their plans.
    """

    name: str
    summary: str
    call: Callable[[Plan, argparse.Namespace], Result] | None = None
    words: Callable[[Parser], None] = _no_words
    show: Callable[[Result], str] = figures
    sections: tuple[str, ...] = ()
    unplanned: Callable[[argparse.Namespace], Result] | None = None
    remote: "Command | None" = None
    passed: Callable[[Result], bool] = lambda result: True
    several: bool = False

    def parser(self) -> Parser:
        """What it takes beside the keys of the run file."""
        parser = Parser(prog=f"catena {self.name}", description=self.summary, add_help=False, allow_abbrev=False)
        if self.unplanned is None:
            parser.add_argument("run", type=Path, metavar="RUN.yaml", help="the run file, such as runs/demo.yaml")
            if self.several:
                parser.add_argument("further", nargs="*", type=Path, metavar="RUN.yaml", help="further run files")
            parser.add_argument(
                "--dry-run", action="store_true", help="print the configuration and which artifacts are there"
            )
            parser.add_argument(
                "--strict",
                action="store_true",
                help="the first bad row is an error: of corpus, catalogue or order lines",
            )
        self.words(parser)
        parser.add_argument("--json", action="store_true", help="the result as one JSON object on the last line")
        parser.add_argument(
            "--debug", action="store_true", help="show the traceback of an error, and what libraries write"
        )
        parser.add_argument("-h", "--help", action="store_true", help="show this help")
        return parser


def stage_command(
    name: str,
    stage: str,
    summary: str,
    sections: tuple[str, ...],
    also: tuple[str, ...] = (),
    remote: Command | None = None,
) -> Command:
    """The command that brings one stage and prints what it measured.

    Args:
        name: of the command, and of the result's part.
        stage: that it brings.
        summary: what it does.
        sections: of the run file that matter to it.
        also: stages brought after it, whose results are added under their names.
        remote: as of ``Command``.
    """

    def call(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
        made = plan.bring(stage)
        others = {other: plan.bring(other).result for other in also}
        return {"run": plan.run.name, name: made.result, **others, "artifact": str(made.path)}

    return Command(name=name, summary=summary, call=call, sections=sections, remote=remote)


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
