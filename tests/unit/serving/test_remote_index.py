"""An index in another process: how long what others write may go unseen."""

import asyncio
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from serving import remote
from serving.live_folder import Changed
from serving.remote import RemoteIndex
from serving.schemas.documents import Written


class Said:
    """What a replica answers, as Ray Serve's responses are awaited."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, object]:
        return asyncio.sleep(0, self._value).__await__()


def test_a_version_is_asked_for_again_after_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, owner, asked = [100.0], SimpleNamespace(version=1), list[float]()

    def version(release: str) -> Said:
        asked.append(now[0])
        return Said(owner.version)

    def change(release: str, changes: object) -> Said:
        owner.version += 1
        return Said(Changed(Written(live=1, version=owner.version), frozenset()))

    monkeypatch.setattr(remote, "time", SimpleNamespace(monotonic=lambda: now[0]))
    handle: Any = SimpleNamespace(version=SimpleNamespace(remote=version), change=SimpleNamespace(remote=change))

    async def use() -> list[int]:
        index, seen = RemoteIndex(handle, "r1"), []
        for at, others in ((100.0, 0), (100.4, 5), (100.6, 0)):  # writes of others between
            now[0] = at
            owner.version += others
            seen.append(await index.version())
        now[0] = 100.7
        await index.change(["x"])  # its own write it sees at once
        seen.append(await index.version())
        return seen

    assert asyncio.run(use()) == [1, 1, 6, 7]
    assert asked == [100.0, 100.6]
