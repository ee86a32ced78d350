"""Files on remote storage, by URL: whatever fsspec reads (``https://``, ``s3://``, ``gs://``, ``zip://x::s3://…``).

A file is streamed: blocks are fetched ahead of the reader, several at a time where the storage serves ranges, one
after another in the background where it does not. Memory holds at most ``AHEAD`` blocks of a file.
"""

import errno
import io
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, BinaryIO, cast

from data.errors import InputError

FIRST = 64 * 2**10  # bytes of the first block: whoever reads only a header fetches no more
BLOCK = 4 * 2**20
AHEAD = 4
ATTEMPTS = 3
CHANGES_WITH_CONTENT = (
    "ETag",
    "etag",
    "Content-MD5",
    "md5Hash",
    "CRC",
    "Last-Modified",
    "LastModified",
    "mtime",
)


@dataclass(frozen=True)
class RemoteFile:
    """A file that a URL names; can be used where a ``Path`` of a source file can."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of its path, which gives the format."""
        return self.url.partition("::")[0].partition("?")[0].rpartition("/")[2]

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes as a stream from the beginning.

        Raises:
            OSError: if it cannot be read; the filename is the URL.
        """
        assert mode == "rb"
        return cast("BinaryIO", io.BufferedReader(_Stream(self.url)))

    def open_random(self) -> BinaryIO:
        """Its bytes for reading anywhere, as Parquet needs it.

        Raises:
            InputError: if the server answers no requests for a part of a file.
        """
        fs, path = _storage(self.url)
        with _as_os_error(self.url):
            size = _info(self.url).get("size")
            if _is_async(fs) and not (size and _serves_ranges(fs, path)):
                raise InputError(
                    f"{self.url}: the server does not serve parts of a file, which Parquet needs",
                    "Fetch the file and give its path, or put it on storage that does.",
                )
            return cast("BinaryIO", fs.open(path, "rb"))

    def stamp(self) -> str:
        """Size, and other properties from the storage that change with the content."""
        info = _info(self.url)
        others = [f"{key} {info[key]}" for key in CHANGES_WITH_CONTENT if info.get(key) is not None]
        return ", ".join([f"{info.get('size')} bytes", *others])


SourceFile = Path | RemoteFile


def is_remote(path: str) -> bool:
    """Whether a path of a run file is a URL."""
    return "://" in path


def find_remote(url: str) -> list[RemoteFile]:
    """The files that a URL means, sorted; ``*`` and ``[`` make it a pattern, where the storage can list.

    Raises:
        InputError: if there is none, or the storage cannot be reached.
    """
    fs, path = _storage(url)
    inner, chained, outer = url.partition("::")
    why = ""
    try:
        if "*" not in inner and "[" not in inner:
            _info(url)
            return [RemoteFile(url)]
        with _as_os_error(url):
            found = sorted(match for match in fs.glob(path) if fs.isfile(match))
    except FileNotFoundError as error:
        found, why = [], error.strerror or ""
    except ConnectionError as error:
        raise InputError(
            f"cannot be reached: {url}: {error.strerror}", "Check the address, and that the server is up."
        ) from error
    except OSError as error:
        raise InputError(
            f"{url}: {error.strerror}", "Check the address, your rights, and that the storage can be reached."
        ) from error
    if not found:
        raise InputError(
            f"file not found: {url} {why}".strip(), "Check the address; a pattern needs storage that can be listed."
        )
    return [RemoteFile(f"{fs.unstrip_protocol(match)}{chained}{outer}") for match in found]


def remote_exists(url: str) -> bool:
    """Whether there is a file, or a folder that can be listed, at a URL."""
    fs, path = _storage(url)
    with _as_os_error(url):
        return bool(fs.exists(path) or fs.isdir(path))


@lru_cache(maxsize=4096)
def _info(url: str) -> dict[str, Any]:
    """Properties of a file from its storage; asked once per process, so that all stages agree on the corpus."""
    fs, path = _storage(url)
    with _as_os_error(url):
        return dict(fs.info(path))


def _storage(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it; connections are shared within a process.

    Raises:
        InputError: if there is no such kind of storage, or its package is not installed.
    """
    from fsspec.core import url_to_fs
    from fsspec.registry import known_implementations

    protocol = url.partition("://")[0]
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        package = str(known_implementations.get(protocol, {}).get("class", "")).partition(".")[0]
        if package in ("", "fsspec"):  # fsspec's own class, which needs a package of another name
            package = getattr(error.__cause__, "name", None) or protocol
        raise InputError(
            f"{url}: reading {protocol}:// needs the package {package}, which is not installed",
            f"pip install {package}",
        ) from error
    except ValueError as error:
        raise InputError(f"{url}: {error}", f"Known: {', '.join(sorted(known_implementations))}.") from None
    return fs, str(path)


@contextmanager
def _as_os_error(url: str) -> Iterator[None]:
    """Any failure of a storage package as an OSError that names the URL; each package has different exceptions."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename == url:
            raise
        if isinstance(error, FileNotFoundError):
            why = error.__cause__
            text = f"{type(why).__name__}: {why}" if why else ""
            status = getattr(why, "status", None)
            if why is None or isinstance(why, FileNotFoundError) or status in (404, 410):
                raise FileNotFoundError(errno.ENOENT, text, url) from error
            if status is None:  # fsspec reports a server that does not answer as a missing file
                raise ConnectionError(errno.EHOSTUNREACH, text, url) from error
            raise OSError(errno.EIO, text, url) from error
        number = getattr(error, "errno", None) or errno.EIO
        raise OSError(number, " ".join(f"{type(error).__name__}: {error}".split()), url) from error


class _Stream(io.RawIOBase):
    """A remote file from its beginning to its end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._blocks = _blocks(url)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        if not self._rest:
            with _as_os_error(self._url):
                self._rest = memoryview(next(self._blocks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._blocks.close()
        super().close()


def _blocks(url: str) -> Generator[bytes]:
    """The blocks of a file in order, some of them fetched ahead."""
    fs, path = _storage(url)
    size = _info(url).get("size")
    if _is_async(fs) and size and _serves_ranges(fs, path):
        edges = [0, *range(min(FIRST, size), size, BLOCK), size]
        spans = pairwise(edges)
        yield from _ahead((partial(_fetch, fs, path, start, end) for start, end in spans), AHEAD)
        return
    # block_size 0 is fsspec's word for one plain request that is read as it comes
    with fs.open(path, "rb", **({"block_size": 0} if _is_async(fs) else {})) as stream:
        yield from _ahead(repeat(partial(stream.read, BLOCK)), 1)


def _ahead(reads: Iterator[Callable[[], bytes]], threads: int) -> Iterator[bytes]:
    """Results of the reads, in order, up to the first empty one; from the second on, several run ahead."""
    waiting: deque[Future[bytes]] = deque()
    wanted = 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
    try:
        while True:
            while len(waiting) < wanted and (read := next(reads, None)):
                waiting.append(pool.submit(read))
            if not waiting or not (block := waiting.popleft().result()):
                return
            yield block
            wanted = AHEAD
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(fs: Any, path: str, start: int, end: int) -> bytes:  # noqa: ANN401 - fsspec is untyped
    """One block, with retries."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            block: bytes = fs.cat_file(path, start=start, end=end)
            if len(block) == end - start:
                return block
            raise OSError(errno.EIO, f"{len(block)} bytes arrived instead of {end - start}")
        except FileNotFoundError:
            raise
        except Exception:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.2 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _is_async(fs: Any) -> bool:  # noqa: ANN401 - fsspec is untyped
    from fsspec.asyn import AsyncFileSystem

    return isinstance(fs, AsyncFileSystem)


def _serves_ranges(fs: Any, path: str) -> bool:  # noqa: ANN401 - fsspec is untyped
    """Whether the storage serves ranges: a web server may ignore the range and send the whole file."""
    try:
        with fs.open(path, "rb", cache_type="none") as file:
            file.seek(1)
            return len(file.read(1)) <= 1
    except ValueError:
        return False
