"""The log file of one command. A disk that is full costs lines of the log, never the command."""

import contextlib
import fcntl
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger("catena")

KEPT_LOGS = 20
NAMED_AFTER_S = 1.0


class LogFile:
    """The log of one command.

    Args:
        folder: of the logs; older ones than the last ``KEPT_LOGS`` are removed, but those of commands that still run.
        command: its name.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, command: str) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime())
        self.path = folder / f"{stamp}-{command.replace(' ', '-')}-{os.getpid()}.log"
        self._named = False
        self._made = [missing for missing in (folder, *folder.parents) if not missing.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in sorted(folder.glob("*.log"))[: -KEPT_LOGS + 1]:
                if not _in_use(old):
                    old.unlink(missing_ok=True)
            self.file = self.path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(self.file, fcntl.LOCK_SH)
        except OSError:
            self._remove_folders()
            raise

    @property
    def written(self) -> bool:
        """Whether anything is in it."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_size > 0
        return False

    @contextmanager
    def named(self) -> Iterator[None]:
        """Log where the file is, once anything is in it.

        That is within ``NAMED_AFTER_S``, so that the place is known even if the process crashes, and again at the end
        if a traceback was added.
        """
        ended = threading.Event()
        watch = threading.Thread(target=self._name_when_written, args=(ended,), daemon=True)
        watch.start()
        try:
            yield
        finally:
            ended.set()
            watch.join()
            self._name()

    def _name_when_written(self, ended: threading.Event) -> None:
        while not self._named and not ended.wait(NAMED_AFTER_S):
            self._name()

    def _name(self) -> None:
        if self.written and not self._named:
            self._named = True
            logger.info("log: %s", self.path)

    def add_traceback(self, error: BaseException) -> bool:
        """Write where an exception comes from.

        Args:
            error: the exception.

        Returns:
            Whether it could be written; on a full disk it cannot.
        """
        try:
            traceback.print_exception(error, file=self.file)
            self.file.flush()
        except OSError:
            return False
        self._named = False  # what was named hours ago is worth naming again
        return True

    def handler(self) -> logging.Handler:
        """Writes messages of the package to it, with their time."""
        handler = _Handler(self.file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        return handler

    def close(self) -> None:
        """Close the file; an empty one is removed, and so are the folders that were made for it, if they are empty."""
        with contextlib.suppress(OSError):  # lines that a full disk did not take; the file is closed all the same
            self.file.close()
        if not self.written:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            self._remove_folders()

    def _remove_folders(self) -> None:
        for folder in self._made:
            with contextlib.suppress(OSError):  # others are in it
                folder.rmdir()


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a message that the disk does not take; anything else is reported as logging does."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def _in_use(log: Path) -> bool:
    """Whether the command that writes it still runs, such as a service: it holds a lock on it."""
    try:
        with log.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it is gone, or there are no locks
        return False
    return False
