"""Servers in processes of their own, from their first answer until a block ends."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving.load import closed_loop

START_S = 180.0


@contextmanager
def running(
    command: Sequence[str], port: int, request: bytes, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers a request; it is stopped when the block ends.

    Args:
        command: that starts it.
        port: that it listens on.
        request: whole; a success means that it is ready.
        environment: beside that of this process.

    Raises:
        RuntimeError: if it ends, or does not answer in time; with the end of what it wrote.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environment or {})})
        try:
            give_up = time.monotonic() + START_S
            while not _answers(port, request):
                if process.poll() is not None or time.monotonic() > give_up:
                    log.seek(0)
                    raise RuntimeError(
                        f"{Path(command[0]).name} {command[1]} {command[2]}: {log.read().decode()[-2000:]}"
                    )
                time.sleep(0.5)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(port: int, request: bytes) -> bool:
    try:
        closed_loop(port, 1, [request], 0.2)
    except (OSError, RuntimeError):
        return False
    return True
