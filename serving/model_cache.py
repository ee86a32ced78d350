"""Models by name, loaded when they are asked for; beyond a number, the one unused longest is given back."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from data.errors import EncoderUnavailable
from serving.context import own_context, phase
from serving.errors import ApiError

logger = logging.getLogger("catena")

Loaded = TypeVar("Loaded")

AGAIN_AFTER_S = 2.0  # what could not be loaded is tried again, and answered at once until then
MOST_WAITING = 256  # requests for a model that is being loaded


class _Entry(Generic[Loaded]):
    """A model that is being loaded or is loaded, and the requests that use it or wait for it."""

    def __init__(self, loading: "asyncio.Task[Loaded]") -> None:
        self.loading, self.users, self.retired = loading, 0, False

    @property
    def loaded(self) -> bool:
        """Whether it is there."""
        return self.loading.done() and not self.loading.cancelled() and self.loading.exception() is None


class ModelCache(Generic[Loaded]):
    """Holds the models that were used last (LRU), at most ``most``, those that are being loaded among them.

    A model is loaded once for all who wait for it, in a thread: requests for other models go on meanwhile. One that has
    to go gets no new requests; it is given back when those that use it are answered, and its place is taken then.
    Models that were asked for earlier are loaded earlier.

    Args:
        load: loads a model by its name; called in a thread.
        give_back: called in a thread with a model that nobody uses any more.
        most: models at a time.
        timeout_s: that a request waits for a model; loading goes on.
        clock: seconds that never fall.
    """

    def __init__(
        self,
        load: Callable[[str], Loaded],
        give_back: Callable[[Loaded], None],
        most: int,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._give_back, self._timeout_s, self._clock = load, give_back, timeout_s, clock
        self._entries: OrderedDict[str, _Entry[Loaded]] = OrderedDict()  # the one used last stands last
        self._open: list[_Entry[Loaded]] = []  # loaded, those that have to go among them
        self._failed_at: dict[str, float] = {}
        self._most, self._room = most, asyncio.Semaphore(most)
        self._held = self._wanting = self._retiring = 0  # places that are taken, wanted, and soon free
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> frozenset[str]:
        """Names of the models that answer at once."""
        return frozenset(name for name, entry in self._entries.items() if entry.loaded)

    @property
    def models(self) -> list[Loaded]:
        """All that take memory."""
        return [entry.loading.result() for entry in self._open]

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[Loaded]:
        """A model for the time of a block, loaded first where it is not.

        Raises:
            EncoderUnavailable: if it cannot be loaded, or not in time; the reason is in the log.
            ApiError: if too many wait for it.
        """
        entry = self._entries.get(name) or self._begun(name)
        self._entries.move_to_end(name)
        if not entry.loading.done() and entry.users >= MOST_WAITING:
            message = f"the model {name!r} is being loaded, and {MOST_WAITING} requests wait for it"
            raise ApiError("overloaded", message, "model", "queue_full", {"Retry-After": "2"})
        entry.users += 1
        try:
            yield await self._waited(name, entry)
        finally:
            entry.users -= 1
            self._let_go(entry)

    async def _waited(self, name: str, entry: _Entry[Loaded]) -> Loaded:
        if entry.loading.done():
            return entry.loading.result()
        try:
            async with asyncio.timeout(self._timeout_s):
                with phase("load"):
                    return await asyncio.shield(entry.loading)
        except TimeoutError:
            problem = f"the model {name!r} was not loaded within {self._timeout_s:g} s"
            raise EncoderUnavailable(problem, "Ask again: it goes on being loaded.") from None

    def _begun(self, name: str) -> _Entry[Loaded]:
        if self._clock() - self._failed_at.get(name, -AGAIN_AFTER_S) < AGAIN_AFTER_S:
            raise _unavailable(name)
        entry = _Entry(asyncio.get_running_loop().create_task(self._loading(name), context=own_context()))
        entry.loading.add_done_callback(lambda _: self._settled(name, entry))
        self._entries[name] = entry
        return entry

    async def _loading(self, name: str) -> Loaded:
        self._wanting += 1
        self._make_room()
        try:
            await self._room.acquire()
        finally:
            self._wanting -= 1
        self._held += 1
        began = time.perf_counter()
        try:
            model = await asyncio.to_thread(self._load, name)
        except Exception as error:  # whatever keeps a model from being loaded: the others go on
            self._free()
            logger.error("models: %s cannot be loaded: %s: %s", name, type(error).__name__, error)
            raise _unavailable(name) from error
        logger.info("models: %s is loaded, in %.1f s", name, time.perf_counter() - began)
        return model

    def _settled(self, name: str, entry: _Entry[Loaded]) -> None:
        """It is loaded, or cannot be."""
        if entry.loaded:
            self._failed_at.pop(name, None)
            self._open.append(entry)
        else:
            self._failed_at[name] = self._clock()
            del self._entries[name]
        self._make_room()

    def _make_room(self) -> None:
        """Let models go, the one unused longest first, as long as there are not as many places as are wanted."""
        for name, entry in list(self._entries.items()):
            if self._wanting <= self._most - self._held + self._retiring:
                return
            if entry.loaded:
                del self._entries[name]
                entry.retired = True
                self._retiring += 1
                self._let_go(entry)

    def _let_go(self, entry: _Entry[Loaded]) -> None:
        if entry.retired and entry.users == 0:
            task = asyncio.create_task(self._given_back(entry), context=own_context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _given_back(self, entry: _Entry[Loaded]) -> None:
        self._open.remove(entry)
        try:
            await asyncio.to_thread(self._give_back, entry.loading.result())
        finally:
            self._retiring -= 1
            self._free()

    def _free(self) -> None:
        self._held -= 1
        self._room.release()


def _unavailable(name: str) -> EncoderUnavailable:
    return EncoderUnavailable(f"the model {name!r} cannot be loaded; the reason is in the log", "Ask again later.")
