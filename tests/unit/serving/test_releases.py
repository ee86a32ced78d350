"""A process follows the file of releases: opens what it names, and goes on with what it has where that fails."""

import asyncio
import logging
from pathlib import Path

import pytest

from data.errors import InputError
from serving import releases as module
from serving.releases import Releases
from serving.traffic import Release, Shadow, change_traffic, with_live
from tests.unit.serving.test_traffic import release


class Opened:
    """A release that is open, unless its name says that it does not open."""

    def __init__(self, release: Release) -> None:
        if release.id.startswith("broken"):
            raise RuntimeError(f"{release.id} does not open")
        self.id, self.closed = release.id, False

    def close(self) -> None:
        self.closed = True


def make_live(path: Path, id_: str) -> None:
    change_traffic(path, lambda before: with_live(before, release(id_)))


def test_a_new_release_is_opened_then_live_and_the_old_one_closed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSED_AFTER_S", 0.05)
    path = tmp_path / "traffic.json"
    make_live(path, "a")

    async def case() -> None:
        asked: list[str] = []

        async def ready(opened: Opened) -> None:
            assert releases.live.id == "a"  # nobody is sent to it yet
            asked.append(opened.id)

        releases, live = Releases[Opened](path, Opened, Opened.close, ready), list[str]()
        releases.on_live = lambda opened: live.append(opened.id)
        old = releases.live
        await releases.follow()
        make_live(path, "b")
        await releases.follow()
        assert (releases.live.id, asked, live, old.closed) == ("b", ["b"], ["b"], False)
        await asyncio.sleep(0.1)
        assert old.closed and "a" not in releases and not releases.live.closed
        assert releases["a"].id == "b"  # whoever still names it gets the live one

    asyncio.run(case())


def test_a_release_that_does_not_open_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traffic.json"
    make_live(path, "a")

    async def case() -> None:
        releases = Releases[Opened](path, Opened)
        make_live(path, "broken")
        with caplog.at_level(logging.ERROR, logger="catena"):
            await releases.follow()
        assert releases.live.id == "a" and "broken does not open" in releases.error
        assert "all stays as it was" in caplog.text
        with pytest.raises(KeyError):
            await releases.get("broken")
        make_live(path, "c")
        await releases.follow()
        assert (releases.live.id, releases.error) == ("c", "")
        path.write_text("{")
        await releases.follow()
        assert releases.live.id == "c" and "not a file of releases" in releases.error

    asyncio.run(case())


def test_one_that_is_asked_for_before_the_file_was_looked_at_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "traffic.json"
    make_live(path, "a")

    async def case() -> None:
        releases = Releases[Opened](path, Opened)
        shadow = Shadow(release="b", share=1.0)
        change_traffic(
            path,
            lambda before: (
                before
                and before.model_copy(update={"releases": {**before.releases, "b": release("b")}}).changed(
                    shadow=shadow
                )
            ),
        )
        assert (await releases.get("b")).id == "b" and releases.live.id == "a"

    asyncio.run(case())


def test_there_must_be_a_file_and_a_live_release_that_opens(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no"):
        Releases[Opened](tmp_path / "none.json", Opened)
    make_live(tmp_path / "traffic.json", "broken")
    with pytest.raises(RuntimeError, match="does not open"):
        Releases[Opened](tmp_path / "traffic.json", Opened)
