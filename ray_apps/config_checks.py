"""What pydantic-settings does not say of a run file, the environment and flags, or says in words of its own."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import CliSettingsSource

from data.encoders.config import API_KEY_VARIABLE
from data.errors import InputError, nearest
from data.surrogates import valid_unicode

PREFIX = "CATENA_"
# Variables that are no keys of a run file: where corpora are, and secrets, which are never in a file.
OTHER_VARIABLES = frozenset(
    {
        "CATENA_DATA",
        "CATENA_QDRANT_URL",
        "CATENA_QDRANT_API_KEY",
        "CATENA_REDIS_PASSWORD",
        "CATENA_KEY",
        API_KEY_VARIABLE,
    }
)


def check_yaml(path: Path) -> None:
    """Refuse a run file that cannot be read.

    Raises:
        InputError: if it is missing, where the nearest is named, is no YAML, no mapping, or no valid Unicode.
    """
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path("runs")
        names = [found.name for found in folder.glob("*.yaml")]
        close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)  # the ending alone makes up for half
        remedy = f"Did you mean {folder / close[0]}?" if close else "Check the path; run files are in runs/."
        raise InputError(f"run file not found: {path}", remedy)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})", "Save the file as UTF-8.") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}", "Correct the line named above.") from None
    if not isinstance(document, dict):
        kind = "empty" if document is None else f"a {type(document).__name__}"
        raise InputError(f"{path}: a run file is a mapping of keys, this one is {kind}", "See runs/demo.yaml.")
    _check_unicode(f"{path}:", document)


def check_environment(variables: Mapping[str, str], keys: Iterable[str]) -> None:
    """pydantic-settings ignores a variable whose first word is no key; a misspelt one must not be ignored.

    Args:
        variables: of the environment.
        keys: of a run file.

    Raises:
        InputError: if a variable of ours is none of the keys, where the nearest is named, or no valid Unicode.
    """
    allowed = {PREFIX + key.upper() for key in keys} | OTHER_VARIABLES
    for variable, value in variables.items():
        if variable.startswith(PREFIX):
            _check_unicode(f"environment variable {variable}:", value)
        section = variable.upper().split("__")[0]
        if section.startswith(PREFIX) and section not in allowed:
            raise InputError(
                f"environment variable {variable}: unknown; {nearest(section, allowed)}", "Rename it or unset it."
            )


def check_flags(flags: Sequence[str], command_line: CliSettingsSource[Any]) -> None:
    """Refuse what argparse would end the process for.

    Raises:
        InputError: if a flag is unknown, where the nearest is named, or has no value.
    """
    known = {flag for action in command_line.root_parser._actions for flag in action.option_strings if flag[:2] == "--"}
    position = 0
    while position < len(flags):
        name, equals, _ = flags[position].partition("=")
        if name not in known:
            raise InputError(
                f"unknown flag {name}; {nearest(name, known)}",
                "`catena config --help SECTION` lists the keys of a section.",
            )
        if not equals and position + 1 == len(flags):
            raise InputError(f"flag {name} has no value", f"Write {name} VALUE.")
        position += 1 if equals else 2


def _check_unicode(place: str, value: object) -> None:
    """Refuse a text with a lone surrogate, which no artifact, request or message could hold; it names the place."""
    if isinstance(value, str) and not valid_unicode(value):
        raise InputError(f"{place} {value!a} is not valid Unicode", "Remove the lone surrogate.")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_unicode(place, key)
            _check_unicode(f"{place} {key}:", inner)
    elif isinstance(value, list):
        for inner in value:
            _check_unicode(place, inner)
