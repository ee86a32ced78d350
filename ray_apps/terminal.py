"""What reaches the user's terminal: our messages and progress; what libraries write goes to a log file.

Ray's C++ core writes to the file descriptor of standard error, past Python. As long as a command runs, that descriptor
is the log file, and only Catena's own messages are written to where it pointed before. Every message of the package is
in the log as well, with its time.
"""

import contextlib
import logging
import os
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from data.progress import Display, Lines, State, shown_by

logger = logging.getLogger("catena")

KEPT_LOGS = 20


class Bars:
    """Progress bars on a terminal, one for each piece of work that goes on.

    Args:
        console: where they are drawn.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, state: State) -> None:
        """Draw a bar, or update it."""
        if state.what not in self._tasks:
            if not self._tasks:
                self._progress.start()
            self._tasks[state.what] = self._progress.add_task(state.what, total=state.total, figures="")
        figures = ", ".join(filter(None, (state.speed or state.unit, state.note, state.left)))
        self._progress.update(self._tasks[state.what], completed=state.done, figures=figures)

    def close(self, state: State) -> None:
        """Take a bar away."""
        task = self._tasks.pop(state.what, None)
        if task is not None:
            self._progress.remove_task(task)
        if not self._tasks:
            self._progress.stop()


class LogFile:
    """The log of one command.

    Args:
        folder: of the logs; older ones than the last ``KEPT_LOGS`` are removed.
        command: its name.

    Raises:
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, command: str) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime())
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.log"))[: -KEPT_LOGS + 1]:
            old.unlink(missing_ok=True)
        self.path = folder / f"{stamp}-{command.replace(' ', '-')}-{os.getpid()}.log"
        self.file = self.path.open("w", encoding="utf-8", buffering=1)

    @property
    def written(self) -> bool:
        """Whether anything is in it."""
        return self.path.exists() and self.path.stat().st_size > 0

    def add_traceback(self, error: BaseException) -> None:
        """Write where an exception comes from."""
        traceback.print_exception(error, file=self.file)

    def close(self) -> None:
        """Close the file; an empty one is removed, and so are the folders that were made for it alone."""
        self.file.close()
        if not self.written:
            self.path.unlink(missing_ok=True)
            for folder in (self.path.parent, self.path.parent.parent):
                with contextlib.suppress(OSError):  # others are in it
                    folder.rmdir()


@contextmanager
def terminal(folder: Path | None, command: str, debug: bool = False) -> Iterator[LogFile | None]:
    """Send messages and progress to standard error, and all else that is written there to a log file.

    Inside a submitted job, whose output Ray keeps, and with ``debug`` everything reaches standard error.

    Args:
        folder: of the logs; None for a command that needs no log.
        command: that runs, for the name of its log.
        debug: whether debug output of the package is shown too.

    Yields:
        The log; None where there is none, or its folder cannot be written.
    """
    log = None
    if folder is not None and not debug and "RAY_JOB_ID" not in os.environ:
        with contextlib.suppress(OSError):
            log = LogFile(folder, command)
    try:
        with _own_stream(log) as stream:
            console = Console(file=stream, soft_wrap=True, highlight=False)
            display: Display = Bars(console) if console.is_terminal else Lines()
            handlers: list[logging.Handler] = [_ConsoleHandler(console)]
            if log is not None:
                handlers.append(_file_handler(log.file))
            with _handled_by(handlers, logging.DEBUG if debug else logging.INFO), shown_by(display):
                yield log
    finally:
        if log is not None:
            log.close()


@contextmanager
def _own_stream(log: LogFile | None) -> Iterator[TextIO]:
    """Standard error as it is for us; as long as the context is entered, its descriptor is the log file for others."""
    if log is None or not _is_descriptor(sys.stderr):
        yield sys.stderr
        return
    sys.stderr.flush()
    descriptor = sys.stderr.fileno()
    kept = os.dup(descriptor)
    os.dup2(log.file.fileno(), descriptor)
    own = open(kept, "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
    try:
        yield own
    finally:
        own.flush()
        sys.stderr.flush()
        os.dup2(kept, descriptor)
        own.close()


def _is_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):  # replaced, by a test for example
        return False


@contextmanager
def _handled_by(handlers: list[logging.Handler], level: int) -> Iterator[None]:
    """The package's messages go to these handlers."""
    before = logger.level
    # A library's `logging.info` would give the root logger a handler of its own, and every message would come twice.
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.NullHandler())
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        logger.setLevel(before)


class _ConsoleHandler(logging.Handler):
    """Writes messages as they are, above the bars where there are any; warnings and errors coloured on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
        try:
            message = self.format(record)
            if self._console.is_terminal:
                message = _wrapped(message, self._console.width)
            self._console.print(Text(message, style=style))
        except Exception:  # a closed terminal must not end the work; logging reports it where it can
            self.handleError(record)


def _wrapped(message: str, width: int) -> str:
    """A message wrapped at words, below its own indent; a word that is longer, such as a path, stays whole."""
    lines = []
    for line in message.split("\n"):
        text = line.lstrip()
        indent = line[: len(line) - len(text)]
        wrapper = textwrap.TextWrapper(width, indent, indent, break_long_words=False, break_on_hyphens=False)
        lines += wrapper.wrap(text) or [""]
    return "\n".join(lines)


def _file_handler(file: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
