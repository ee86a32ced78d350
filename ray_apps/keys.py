"""Keys of a service: make one, list them, revoke one."""

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from data.errors import InputError
from ray_apps.command import Command, Parser, positive
from ray_apps.tables import table


def create(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make a key.

    Returns:
        ``key``, which is shown this once, and its ``id``, ``name``, ``scopes`` and ``per_minute``.
    """
    from serving.keys import create_key

    key, whole = create_key(arguments.file, arguments.name, arguments.scopes, arguments.per_minute)
    return {"key": whole, **key.model_dump(mode="json", exclude={"sha256"})}


def list_keys(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is known of each key of a file.

    Returns:
        ``keys``: each with ``id``, ``name``, ``scopes`` and ``per_minute``.

    Raises:
        InputError: if there is no such file.
    """
    from serving.keys import read_keys

    if not arguments.file.is_file():
        raise InputError(f"there is no file of keys {arguments.file}", "`catena keys create FILE` makes one.")
    known = read_keys(arguments.file).values()
    return {"keys": [key.model_dump(mode="json", exclude={"sha256"}) for key in known]}


def revoke(arguments: argparse.Namespace) -> dict[str, Any]:
    """Take a key away.

    Returns:
        The ``revoked`` key's ``id`` and ``name``.
    """
    from serving.keys import revoke_key

    key = revoke_key(arguments.file, arguments.id)
    return {"revoked": key.id, "name": key.name}


def _scopes(text: str) -> list[str]:
    from serving.keys import Scope

    asked, known = [word.strip() for word in text.split(",")], get_args(Scope)
    for scope in asked:
        if scope not in known:
            raise argparse.ArgumentTypeError(f"no scope {scope!r}; there are {', '.join(known)}")
    return asked


def _file(parser: Parser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="of keys, as in serve.keys of the run file")


def _create_words(parser: Parser) -> None:
    _file(parser)
    parser.add_argument("--for", dest="name", required=True, help="whom or what it is for")
    parser.add_argument(
        "--scopes", type=_scopes, default=["search"], metavar="A,B", help="search, embed, rerank, write, admin"
    )
    parser.add_argument("--per-minute", type=positive, default=None, metavar="N", help="requests a minute; no limit")


def _revoke_words(parser: Parser) -> None:
    _file(parser)
    parser.add_argument("id", help="of the key, as `catena keys list` shows it")


def _show_created(result: Any) -> str:  # noqa: ANN401 - any JSON mapping
    return f"{result['key']}\nThis is the only time that the key is shown; {result['id']} names it from now on."


def _show_list(result: Any) -> str:  # noqa: ANN401 - any JSON mapping
    if not result["keys"]:
        return "no keys"
    rows = [[key["id"], key["name"], ", ".join(key["scopes"]), str(key["per_minute"] or "")] for key in result["keys"]]
    return table(["id", "name", "scopes", "a minute"], rows)


COMMANDS = (
    Command(
        name="keys create",
        summary="make a key for a service",
        unplanned=create,
        words=_create_words,
        show=_show_created,
    ),
    Command(name="keys list", summary="the keys of a service", unplanned=list_keys, words=_file, show=_show_list),
    Command(name="keys revoke", summary="take a key away from a service", unplanned=revoke, words=_revoke_words),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["keys", *sys.argv[1:]]))
