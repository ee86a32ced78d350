"""What reaches the user's terminal: our messages and progress; what libraries write goes to a log file.

Ray's C++ core writes to the file descriptor of standard error, past Python. As long as a command runs, that descriptor
is the log file, and only Catena's own messages are written to where it pointed before. Every message of the package is
in the log as well, with its time.
"""

import contextlib
import logging
import os
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from data.progress import Display, Lines, State, shown_by
from ray_apps.log_file import LogFile
from ray_apps.standard_error import own_stream

logger = logging.getLogger("catena")


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
            redirect_stdout=False,  # rich would print on standard error what belongs on standard output
            redirect_stderr=False,  # and show there what belongs in the log
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


# Logs of the terminals that are entered. Descriptors and handlers belong to the process, so there is one at most.
_ENTERED: list[LogFile | None] = []


@contextmanager
def terminal(folder: Path | None, command: str, debug: bool = False) -> Iterator[LogFile | None]:
    """Send messages and progress to standard error, and all else that is written there to a log file.

    Inside a submitted job, whose output Ray keeps, and with ``debug`` everything reaches standard error. A command that
    is called by another one in the same process uses the terminal and the log of that one.

    Args:
        folder: of the logs; None for a command that needs no log.
        command: that runs, for the name of its log.
        debug: whether debug output of the package is shown too.

    Yields:
        The log; None where there is none, or its folder cannot be written.
    """
    if _ENTERED:
        yield _ENTERED[0]
        return
    log = None
    if folder is not None and not debug and "RAY_JOB_ID" not in os.environ:
        with contextlib.suppress(OSError):
            log = LogFile(folder, command)
    _ENTERED.append(log)
    try:
        with own_stream(None if log is None else log.file) as stream:
            console = _Console(file=stream, soft_wrap=True, highlight=False)
            handlers: list[logging.Handler] = [_ConsoleHandler(console)]
            if log is not None:
                handlers.append(log.handler())
            with _handled_by(handlers, logging.DEBUG if debug else logging.INFO), shown_by(display_on(console)):
                with contextlib.nullcontext() if log is None else log.named():
                    yield log
    finally:
        _ENTERED.clear()
        if log is not None:
            log.close()


def display_on(console: Console) -> Display:
    """Bars where they can be drawn again and again; elsewhere, as in a pipe whose colours are forced, lines."""
    animated = console.is_terminal and console.is_interactive and not console.is_dumb_terminal
    return Bars(console) if animated and console.file.isatty() else Lines()


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


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Raise as for any other stream that is gone; rich would exit, and close standard output."""
        raise BrokenPipeError("standard error is closed")


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
            if self._console.file.isatty():
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
