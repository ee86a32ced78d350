"""One process at a time: a lock on a file that the kernel frees when its holder ends in any way."""

import errno
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

logger = logging.getLogger("catena")

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


def try_lock(path: Path) -> IO[str] | None:
    """Take the lock on ``path`` unless another process holds it.

    The file stays where it is: removing it would let two processes lock two files of the same name.

    Returns:
        the open file, which holds the lock until it is closed and names host and process of its holder; None where
        another process holds the lock.

    Raises:
        OSError: if the file cannot be written, or its file system has no locks (``has_no_locks`` says which).
    """
    import fcntl

    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        file.close()
        raise
    _sign(file)
    return file


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold the lock on ``path``; where another process holds it, log which one and wait.

    A file system without locks is logged once, and work goes on: there two processes may do the same work at once.

    Args:
        path: the lock's file, in a folder that exists.
        what: what is being done, for the message.
    """
    try:
        file = try_lock(path) or _wait(path, what)
    except OSError as error:
        if not has_no_locks(error):
            raise
        logger.warning("%s: %s is on a file system without locks; start no second job on it", what, path.parent)
        yield
        return
    with file:
        yield


def has_no_locks(error: OSError) -> bool:
    """Whether an error of ``try_lock`` means that the file system has no locks."""
    return error.errno in _NO_LOCKS


def holder(path: Path) -> str:
    """Host and process of the lock's holder, as the holder wrote them."""
    return path.read_text(encoding="utf-8").strip() or "another process"


def _wait(path: Path, what: str) -> IO[str]:
    import fcntl

    logger.info("%s: %s is working on it; waiting until it ends", what, holder(path))
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except BaseException:  # an interrupt ends the wait
        file.close()
        raise
    _sign(file)
    return file


def _sign(file: IO[str]) -> None:
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
