"""The words of the command line: which belong to the command and which are keys, and the help texts."""

import shutil
import textwrap
from collections.abc import Mapping, Sequence

from data.errors import InputError, nearest
from ray_apps.command import Command


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


def find_command(words: Sequence[str], commands: Mapping[str, Command]) -> tuple[Command | None, list[str]]:
    """The command that words begin with, and the words after it; None where they name the head of several.

    Where ``--url`` is among them, the command that asks a service, if there is one.

    Args:
        words: as typed; a nested command is two words, ``encoder check``.
        commands: by name.

    Raises:
        InputError: if there is no such command; the nearest is named.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in commands:
            command, rest = commands[name], list(words[length:])
            elsewhere = command.remote if any(word.partition("=")[0] == "--url" for word in rest) else None
            return elsewhere or command, rest
    nested = [name.split()[1] for name in commands if name.startswith(f"{words[0]} ")]
    if not nested:
        heads = {name.split()[0] for name in commands}
        raise InputError(f"unknown command {words[0]!r}; {nearest(words[0], heads)}", "`catena --help` lists them.")
    if len(words) > 1 and not words[1].startswith("-"):
        raise InputError(
            f"unknown command '{words[0]} {words[1]}'; {nearest(words[1], nested)}",
            f"`catena {words[0]} --help` lists them.",
        )
    return None, list(words[1:])


def overview(commands: Mapping[str, Command], head: str | None = None) -> str:
    """What `catena --help` shows, or `catena HEAD --help` for nested commands."""
    listed = {name: command for name, command in commands.items() if head is None or name.split()[0] == head}
    lines = _two_columns({name: command.summary for name, command in listed.items()})
    return "\n".join(
        [
            f"usage: catena {f'{head} ' if head else ''}COMMAND RUN.yaml "
            "[--KEY VALUE ...] [--json] [--dry-run] [--strict] [--debug]",
            "",
            "Search over a body of text, and discovery of the links it still misses.",
            "",
            *lines,
            "",
            "`catena COMMAND --help` shows a command's own words and the sections of the run file it reads;",
            "`catena config --help SECTION` the keys of a section.",
            "",
        ]
    )


def command_help(command: Command) -> str:
    """What `catena COMMAND --help` shows: its own words, how a service is asked, and the sections of the run file."""
    text = command.parser().format_help()
    if command.unplanned is not None:
        return text
    from ray_apps.config_help import describe_sections

    chosen = describe_sections(command.sections or None)
    lines = _two_columns(chosen)
    return "\n".join(
        [
            text.rstrip(),
            "",
            *([] if command.remote is None else _by_a_service(command.remote)),
            "sections of the run file that it reads (`catena config --help SECTION` lists the keys of one):",
            *lines,
            "",
            "Every key can also be set on the command line (--SECTION.KEY VALUE) or in the environment",
            "(CATENA_SECTION__KEY).",
            "",
        ]
    )


def _by_a_service(remote: Command) -> list[str]:
    """How a command is written that asks a service."""
    usage = remote.parser().format_usage().replace("usage:", " " * len("usage:"), 1)
    return [
        "by a service, with --url in the place of RUN.yaml:",
        textwrap.indent(textwrap.dedent(usage).rstrip(), "  "),
        f"`catena {remote.name} --url http://127.0.0.1:8000 --help` explains its words.",
        "",
    ]


def _two_columns(explained: Mapping[str, str]) -> list[str]:
    """Names with what they are beside them, wrapped at words to the terminal's width."""
    indent = max(map(len, explained)) + 4
    width = max(shutil.get_terminal_size().columns, indent + 30)
    return [
        textwrap.fill(what, width, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent)
        for name, what in explained.items()
    ]
