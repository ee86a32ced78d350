"""Folders of processes, for what they make again: one that a killed process left is removed by the next."""

import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

from data.locks import has_no_locks, try_lock


class Scratch:
    """A folder of this process.

    Args:
        parent: of such folders; those whose processes have ended are removed.

    Attributes:
        path: of the folder, which is not there yet.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left(parent)
        self.path = parent / uuid.uuid4().hex[:12]
        self._lock_path = self.path.with_suffix(".lock")
        self._lock = _locked(self._lock_path)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()


def _locked(path: Path) -> IO[str] | None:
    """The lock on a file; None on a file system without locks."""
    try:
        return try_lock(path)
    except OSError as error:
        if not has_no_locks(error):
            raise
        return None


def _remove_left(parent: Path) -> None:
    """Remove the folders of processes that have ended: the kernel freed their locks."""
    for path in parent.glob("*.lock"):
        with suppress(FileNotFoundError):  # its process has just removed it
            lock = _locked(path)
            if lock is not None:
                with lock:
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    path.unlink(missing_ok=True)
