"""The releases that a process has open, as the file of ``serving.traffic`` has them; it follows the file."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Generic, TypeVar

from data.errors import InputError
from serving.errors import ApiError
from serving.traffic import Release, Traffic, read_traffic

logger = logging.getLogger("catena")

Opened = TypeVar("Opened")

LOOK_EVERY_S = 1.0
AGAIN_AFTER_S = 10.0  # what could not be opened is tried again
CLOSED_AFTER_S = 120.0  # a release that nothing refers to any more; its last requests have long been answered


class Releases(Generic[Opened]):
    """What is open of each release that is served.

    Args:
        path: of the file.
        open_one: opens a release; called in a thread, but at first.
        close: what was opened, once nobody asks it any more.
        ready: returns once what was opened answers; the live one that is there at first is not asked.
        tend: what is open is tended to by this before anybody asks it, and every second.

    Attributes:
        traffic: what the file said when it was followed last.
        error: why it could not be followed since; empty where it was.
        on_live: called with the release that becomes live.

    Raises:
        InputError: if there is no such file, or the live release cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        open_one: Callable[[Release], Opened],
        close: Callable[[Opened], None] = lambda opened: None,
        ready: Callable[[Opened], Awaitable[object]] | None = None,
        tend: Callable[[Opened], Awaitable[object]] | None = None,
    ) -> None:
        self._path, self._open_one, self._close, self._ready, self._tend = path, open_one, close, ready, tend
        traffic = read_traffic(path)
        if traffic is None:
            raise InputError(f"there is no {path}", "`catena serve RUN.yaml` makes it.")
        self.traffic, self.error = traffic, ""
        self._opened = {traffic.live: open_one(traffic.releases[traffic.live])}
        self.on_live: Callable[[Opened], None] = lambda opened: None
        self._following = asyncio.Lock()
        self._again_s = self._tend_again_s = 0.0
        self._stamp: tuple[int, int, int] | None = None  # of the file as it was followed last

    @property
    def live(self) -> Opened:
        """The live one."""
        return self._opened[self.traffic.live]

    @property
    def opened(self) -> list[Opened]:
        """All that are open."""
        return list(self._opened.values())

    def __getitem__(self, id_: str) -> Opened:
        """One that the traffic names, the live one while another cannot be opened."""
        return self._opened.get(id_, self.live)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._opened

    async def get(self, id_: str) -> Opened:
        """One that the file names, whether this process has seen that already or not.

        Raises:
            KeyError: if the file does not name it, or it cannot be opened.
        """
        if id_ not in self._opened:
            await self.follow()
        return self._opened[id_]

    async def watch(self) -> None:
        """Follow the file until cancelled."""
        while True:
            await self.catch_up()
            await asyncio.sleep(LOOK_EVERY_S)

    async def start(self) -> None:
        """Tend to the live one, before anybody asks it.

        Raises:
            Exception: any that ``tend`` raises, but for one that says that another process does not answer yet.
        """
        with suppress(ApiError):
            if self._tend is not None:
                await self._tend(self.live)

    async def catch_up(self) -> None:
        """Follow the file, and tend to all that is open."""
        await self.follow()
        if self._tend is None or asyncio.get_running_loop().time() < self._tend_again_s:
            return
        for id_, opened in list(self._opened.items()):
            try:
                await self._tend(opened)
            except Exception as error:  # it goes on as it is
                self._tend_again_s = asyncio.get_running_loop().time() + AGAIN_AFTER_S
                logger.error("releases: %s lacks something: %s: %s", id_, type(error).__name__, error)

    async def follow(self) -> None:
        """Open what the file names, then do as it says; where something cannot be opened, all stays as it is."""
        async with self._following:
            stamp, now = self._file_stamp(), asyncio.get_running_loop().time()
            if stamp == self._stamp and (not self.error or now < self._again_s):
                return
            self._stamp, self._again_s = stamp, now + AGAIN_AFTER_S
            try:
                traffic = await asyncio.to_thread(read_traffic, self._path)
                if traffic is None:
                    return
                for id_ in traffic.served:
                    if id_ not in self._opened:
                        self._opened[id_] = await self._open(traffic.releases[id_])
            except Exception as error:  # whatever keeps one from being opened: the others go on
                self.error = f"{type(error).__name__}: {error}"
                logger.error("releases: %s is not followed, all stays as it was: %s", self._path, self.error)
                return
            self._switch(traffic)

    async def _open(self, release: Release) -> Opened:
        opened = await asyncio.to_thread(self._open_one, release)
        if self._tend is not None:
            await self._tend(opened)
        if self._ready is not None:
            await self._ready(opened)
        return opened

    def _switch(self, traffic: Traffic) -> None:
        before, self.traffic, self.error = self.traffic.live, traffic, ""
        if traffic.live != before:
            logger.info("releases: %s is live, after %s", traffic.live, before)
            self.on_live(self.live)
        for id_ in self._opened.keys() - set(traffic.served):
            asyncio.get_running_loop().call_later(CLOSED_AFTER_S, self._retire, id_)

    def _retire(self, id_: str) -> None:
        if id_ not in self.traffic.served and id_ in self._opened:
            self._close(self._opened.pop(id_))

    def _file_stamp(self) -> tuple[int, int, int] | None:
        with suppress(FileNotFoundError):
            status = self._path.stat()
            return status.st_mtime_ns, status.st_size, status.st_ino
        return None


@asynccontextmanager
async def following(releases: Releases[Opened] | None) -> AsyncIterator[None]:
    """Follow the file for the time of a block; None has none to follow."""
    if releases is None:
        yield
        return
    task = asyncio.create_task(releases.watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
