"""Paths of a corpus's files, here or remote: the one place that expands ``$CATENA_DATA`` and reports missing files."""

import glob
import os
import string
from pathlib import Path

from data.errors import InputError, nearest
from data.sources.remote import RemoteFile, SourceFile, find_remote, is_remote, remote_exists

DEFAULT_DATA = "../shared/data"


def expand(path: str) -> Path:
    """A path of a run file with ``~`` and environment variables replaced; not for URLs.

    Raises:
        InputError: if it names a variable that is not set.
    """
    return Path(substitute(path)).expanduser()


def substitute(path: str) -> str:
    """A path or URL of a run file with its environment variables replaced.

    ``$CATENA_DATA`` is ``../shared/data`` where the environment does not say otherwise.

    Raises:
        InputError: if it names another variable that is not set.
    """
    try:
        named = string.Template(path).substitute({"CATENA_DATA": DEFAULT_DATA, **os.environ})
    except KeyError as error:
        raise InputError(
            f"{path}: the environment variable {error.args[0]} is not set",
            f"Set {error.args[0]}, or write the path out.",
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path}: {error}", "Write $NAME for an environment variable and $$ for a dollar sign."
        ) from None
    return named


def exists(path: str) -> bool:
    """Whether there is a file or folder at a path or URL of a run file."""
    named = substitute(path)
    return remote_exists(named) if is_remote(named) else expand(path).exists()


def within(folder: str, name: str) -> str:
    """The path of a file in a folder; that of a chained URL, ``zip://x::s3://bucket/a.zip``, is its first part."""
    inner, chained, outer = folder.partition("::")
    return f"{inner}{'' if inner.endswith('/') else '/'}{name}{chained}{outer}"


def find(path: str) -> list[SourceFile]:
    """The files that a path of a run file means, sorted by name, absolute.

    A symbolic link keeps its own name, which gives the format: its target may have any name.

    Args:
        path: a file or URL, or a pattern such as ``part-*.jsonl.gz``.

    Raises:
        InputError: if there is none.
    """
    named = substitute(path)
    if is_remote(named):
        return [*find_remote(named)]
    expanded = expand(path)
    if expanded.is_file():
        return [_absolute(expanded)]
    matches = sorted(
        _absolute(Path(match)) for match in glob.glob(str(expanded), recursive=True) if Path(match).is_file()
    )
    if not matches:
        raise InputError(f"file not found: {expanded}", _hint(path, expanded))
    return [*matches]


def _absolute(path: Path) -> Path:
    """A file under its own name, in its folder's real place."""
    return path.parent.resolve() / path.name


def _hint(path: str, expanded: Path) -> str:
    if "CATENA_DATA" in path and not expand("$CATENA_DATA").is_dir():
        return f"Set CATENA_DATA to the folder that holds the data; {expand('$CATENA_DATA')} is not there."
    if expanded.is_dir():
        return "This is a folder: name a file in it, or a pattern such as *.jsonl."
    if expanded.parent.is_dir():
        return f"In {expanded.parent}: {nearest(expanded.name, (p.name for p in expanded.parent.iterdir()))}"
    return f"There is no folder {expanded.parent}."


def stamp(file: SourceFile) -> str:
    """Size and modification time, or the checksum that remote storage gives: changes whenever the file does."""
    if isinstance(file, RemoteFile):
        return file.stamp()
    status = file.stat()
    return f"{status.st_size} bytes, {status.st_mtime_ns} ns"
