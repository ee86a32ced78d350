"""Models by name: loaded once, given back when unused longest, never under a request, and tried again."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from data.errors import EncoderUnavailable
from serving import model_cache
from serving.errors import ApiError
from serving.model_cache import AGAIN_AFTER_S, ModelCache


class Shelf:
    """Loads models, which are their names, and keeps account of them; a load waits for its name's gate if there is one.

    Args:
        most: models at a time.
        timeout_s: that a request waits.
    """

    def __init__(self, most: int, timeout_s: float = 10.0) -> None:
        self.now_s = 0.0
        self.loads: list[str] = []
        self.given_back: list[str] = []
        self.most_at_once = self._here = 0
        self.gates: dict[str, threading.Event] = {}
        self.broken: set[str] = set()
        self._lock = threading.Lock()
        self.cache = ModelCache[str](self._load, self._give_back, most, timeout_s, lambda: self.now_s)

    def _load(self, name: str) -> str:
        with self._lock:
            self.loads.append(name)
            self._here += 1
            self.most_at_once = max(self.most_at_once, self._here)
        if name in self.gates:
            assert self.gates[name].wait(10)
        if name in self.broken:
            with self._lock:
                self._here -= 1
            raise RuntimeError("no such file")
        return name.upper()

    def _give_back(self, model: str) -> None:
        with self._lock:
            self._here -= 1
            self.given_back.append(model)

    async def ask(self, name: str, until: asyncio.Event | None = None) -> str:
        async with self.cache.use(name) as model:
            if until is not None:
                await until.wait()
            return model


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await case()

    asyncio.run(whole())


def test_equal_requests_load_once_and_others_go_on_meanwhile() -> None:
    shelf = Shelf(2)
    shelf.gates["slow"] = threading.Event()

    async def case() -> None:
        waiting = [asyncio.create_task(shelf.ask("slow")) for _ in range(20)]
        await until(lambda: shelf.loads == ["slow"])
        assert await shelf.ask("quick") == "QUICK"
        assert shelf.cache.loaded == {"quick"}
        shelf.gates["slow"].set()
        assert await asyncio.gather(*waiting) == ["SLOW"] * 20
        assert await shelf.ask("slow") == "SLOW"
        assert shelf.loads == ["slow", "quick"] and shelf.cache.loaded == {"slow", "quick"}

    run(case)


def test_the_one_unused_longest_is_given_back() -> None:
    shelf = Shelf(2)

    async def case() -> None:
        for name in ("a", "b", "a", "c"):
            await shelf.ask(name)
        assert shelf.given_back == ["B"] and shelf.cache.loaded == {"a", "c"}
        await shelf.ask("b")
        assert shelf.given_back == ["B", "A"] and shelf.loads == ["a", "b", "c", "b"]
        assert sorted(shelf.cache.models) == ["B", "C"]

    run(case)
    assert shelf.most_at_once == 2


def test_a_model_in_use_is_not_given_back_and_its_place_is_waited_for() -> None:
    shelf = Shelf(1)

    async def case() -> None:
        answered = asyncio.Event()
        first = asyncio.create_task(shelf.ask("a", answered))
        await until(lambda: shelf.cache.loaded == {"a"})
        second = asyncio.create_task(shelf.ask("b"))
        await until(lambda: not shelf.cache.loaded)  # it has to go, and gets no new requests
        again = asyncio.create_task(shelf.ask("a"))  # behind b: it does not keep the place for ever
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert (shelf.loads, shelf.given_back, second.done()) == (["a"], [], False)
        assert shelf.cache.models == ["A"], "it takes memory until its last request is answered"
        answered.set()
        assert [await first, await second, await again] == ["A", "B", "A"]
        assert shelf.loads == ["a", "b", "a"] and shelf.given_back == ["A", "B"]

    run(case)
    assert shelf.most_at_once == 1


def test_what_cannot_be_loaded_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf(1)
    shelf.broken.add("a")

    async def case() -> None:
        with caplog.at_level(logging.ERROR, logger="catena"), pytest.raises(EncoderUnavailable, match="'a' cannot be"):
            await shelf.ask("a")
        assert "a cannot be loaded: RuntimeError: no such file" in caplog.text
        shelf.broken.clear()
        with pytest.raises(EncoderUnavailable):  # at once: nothing is tried yet
            await shelf.ask("a")
        assert shelf.loads == ["a"]
        shelf.now_s += AGAIN_AFTER_S
        assert await shelf.ask("a") == "A"
        assert await shelf.ask("b") == "B", "the place of what could not be loaded is free"

    run(case)


def test_who_goes_away_takes_the_load_from_nobody() -> None:
    shelf = Shelf(1)
    shelf.gates["a"] = threading.Event()

    async def case() -> None:
        gone, stays = (asyncio.create_task(shelf.ask("a")) for _ in range(2))
        await until(lambda: shelf.loads == ["a"])
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
        shelf.gates["a"].set()
        assert await stays == "A"
        assert await shelf.ask("b") == "B" and shelf.given_back == ["A"]

    run(case)


def test_a_load_that_takes_long_is_not_waited_for_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "MOST_WAITING", 3)
    shelf = Shelf(1, timeout_s=0.2)
    shelf.gates["a"] = threading.Event()

    async def case() -> None:
        waiting = [asyncio.create_task(shelf.ask("a")) for _ in range(3)]
        await until(lambda: shelf.loads == ["a"])
        with pytest.raises(ApiError) as refused:
            await shelf.ask("a")
        assert (refused.value.type, refused.value.code) == ("overloaded", "queue_full")
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, EncoderUnavailable) and "not loaded within 0.2 s" in outcome.problem
        shelf.gates["a"].set()
        await until(lambda: shelf.cache.loaded == {"a"})
        assert await shelf.ask("a") == "A" and shelf.loads == ["a"]

    run(case)


def test_many_requests_for_many_models_all_get_theirs() -> None:
    shelf = Shelf(3)

    async def ask(number: int) -> bool:
        name = "abcdefg"[number % 7]
        return await shelf.ask(name) == name.upper()

    async def case() -> None:
        assert all(await asyncio.gather(*(ask(number * number) for number in range(200))))

    run(case)
    assert shelf.most_at_once <= 3
