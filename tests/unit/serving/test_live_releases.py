"""Documents of a service with several releases: found in all, and neither lost nor doubled from one to the next."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from data.cache import CacheConfig
from data.errors import InputError
from data.passages.config import ChunkConfig
from data.passages.steps import StepConfig
from ray_apps.candidates import compare
from ray_apps.config import RunConfig
from ray_apps.live import fold, live_folder
from retrieval.open import read_meta
from serving.admission import Admission
from serving.artifacts import LiveConfig
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.errors import ApiError
from serving.live_rows import PutDocument
from serving.live_store import FILE, LiveStore
from serving.opening import Embedders, Loads, Rankers, VariantOpener
from serving.prepare import Preparer
from serving.releases import Releases
from serving.schemas import SearchRequest
from serving.schemas.documents import NewDocument
from serving.sight import Metrics
from serving.traffic import Canary, Release, change_traffic, with_live
from serving.variants import Variant, Variants, watched
from tests.unit.serving.test_fold import CHUNK, ENCODER, made, run

__all__ = ["run"]

WHOLE = ChunkConfig(max_chars=None, overlap_chars=0)


def refuse(document: dict[str, object]) -> dict[str, object]:
    """A step that fails on some documents."""
    if "no step" in str(document["text"]):
        raise ValueError("not this one")
    return document


class Service:
    """A service over the releases of a run, as a process that takes requests has it.

    Args:
        run: whose live documents are taken.
        folder: of the traffic file.
        first: that is live at first.
    """

    def __init__(self, run: RunConfig, folder: Path, first: Release) -> None:
        self.path, loads = folder / "traffic.json", Loads(*(Admission(5.0, 10_000_000) for _ in range(3)))
        change_traffic(self.path, lambda traffic: with_live(traffic, first))
        config = ServeConfig(kept_answers_mb=1)
        self.opener = VariantOpener(
            config,
            loads,
            Embedders(config, CacheConfig()),
            Rankers(config),
            catch_up=lambda: self.releases.catch_up(),
        )
        self.releases = Releases[Variant](
            self.path,
            self.opener.open,
            lambda variant: variant.close(),
            lambda variant: variant.search.ready(),
            lambda variant: variant.documents.supply(),
        )
        self.variants: Variants = watched(self.path, self.releases, Metrics(loads.by_unit, {}), lambda: False)

    async def promote(self, release: Release) -> None:
        change_traffic(self.path, lambda traffic: with_live(traffic, release))
        await self.releases.follow()

    async def roll_back(self) -> None:
        change_traffic(
            self.path, lambda now: now and now.changed(live=now.previous, previous=now.live, canary=None, shadow=None)
        )
        await self.releases.follow()

    async def canary(self, release: Release) -> None:
        part = Canary(release=release.id, share=0.5)
        change_traffic(
            self.path,
            lambda now: (
                now and now.model_copy(update={"releases": {**now.releases, release.id: release}}).changed(canary=part)
            ),
        )
        await self.releases.follow()

    async def put(self, *ids: str) -> int:
        """Put documents of one word each; the number of the last write."""
        return (await self.variants.put([NewDocument(id=id_, text=f"harbour{id_}") for id_ in ids])).version

    async def found(self, release: Release, ids: Sequence[str]) -> list[str]:
        """Those of some documents that a release finds by their word, as often as it finds them."""
        search, answers = self.releases[release.id].search, []
        for id_ in ids:
            request = SearchRequest(query=f"harbour{id_}", mode="bm25", top_k=100)
            answers += [hit.document_id for hit in (await search.search(request)).results]
        return answers

    def close(self) -> None:
        for variant in self.releases.opened:
            variant.close()


def release(run: RunConfig, id_: str, out: Path, folded: int = 0, **live: object) -> Release:
    config = LiveConfig(folder=live_folder(run), folded=folded, limit=100).model_copy(update={"chunk": CHUNK, **live})
    points = read_meta(out / "index").points
    return Release(id=id_, index=out / "index", lookup=out, encoder=ENCODER, live=config, passages=points)


async def prepared(release: Release, id_: str) -> list[PutDocument]:
    """A document as another process of the release would write it."""
    assert release.live is not None
    meta = read_meta(release.index)
    preparer = Preparer(release.live, ENCODER, meta, Embedder(ENCODER, meta, ServeConfig()))
    made = await preparer.prepare([NewDocument(id=id_, text=f"harbour{id_}")])
    return [PutDocument(one.id, one.source, {preparer.form: one}) for one in made]


def test_what_was_put_is_found_through_a_new_index_and_back(tmp_path: Path, run: RunConfig) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    made(run, before)
    old = release(run, "old", before)

    async def case() -> Release:
        service = Service(run, tmp_path, old)
        await service.put("1", "2")
        await service.variants.delete(["d3", "2"])
        assert fold(run) == 4
        new = release(run, "new", after, made(run, after))
        assert new.live is not None and new.live.folded == 4
        await service.put("3")
        assert await service.found(old, "123") == ["1", "3"]
        await service.promote(new)
        assert await service.found(new, "123") == ["1", "3"]
        assert (await service.releases["new"].lookup.document("3")).text == "harbour3"  # type: ignore[union-attr]
        assert await service.releases["new"].lookup.document("d3") is None
        assert (await service.variants.put([NewDocument(id="4", text="harbour4")])).live == 2  # 1 is in the index
        await service.variants.delete(["1"])
        for one in (new, old):  # the one before is still open
            assert await service.found(one, "1234") == ["3", "4"], one.id
        await service.roll_back()
        await service.put("5")
        for one in (new, old):
            assert await service.found(one, "12345") == ["3", "4", "5"], one.id
        service.close()
        return new

    new = asyncio.run(case())

    async def again() -> None:  # in a new process, on either index
        for one in (old, new):
            (tmp_path / "traffic.json").unlink()
            service = Service(run, tmp_path, one)
            assert await service.found(one, "12345") == ["3", "4", "5"], one.id
            service.close()

    asyncio.run(again())


def test_a_canary_that_prepares_otherwise_has_what_was_put_before_and_after(
    tmp_path: Path, run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "out", list[str]()
    made(run, out)
    live, canary = release(run, "live", out), release(run, "canary", out, chunk=WHOLE)
    prepare = Preparer.prepare

    async def counted(self: Preparer, documents: Sequence[NewDocument]) -> object:
        asked.extend(f"{one.id} {self.form}" for one in documents)
        return await prepare(self, documents)

    monkeypatch.setattr(Preparer, "prepare", counted)

    async def case() -> None:
        service = Service(run, tmp_path, live)
        await service.put("1", "2")
        await service.variants.delete(["2"])
        await service.canary(canary)
        assert service.releases.error == ""
        assert await service.found(canary, "12") == ["1"]
        await service.variants.put([NewDocument(id="3", text="harbour3 and more words than fit " * 3)])
        for one in (live, canary):
            assert await service.found(one, "13") == ["1", "3"], one.id
        texts = {
            one.id: (
                (await service.releases[one.id].search.search(SearchRequest(query="harbour3", mode="bm25"))).results[0]
            ).text
            for one in (live, canary)
        }
        assert len(texts["live"]) <= 60 < len(texts["canary"])
        service.close()

    asyncio.run(case())
    assert len(set(asked)) == 5 == len(asked)  # 1, 2 and 3 as the live one has them, 1 and 3 as the canary

    async def again() -> None:
        service = Service(run, tmp_path, live)
        await service.releases.follow()
        assert await service.found(canary, "13") == ["1", "3"]
        assert service.releases.error == ""
        service.close()

    asyncio.run(again())
    assert len(asked) == 5, "what was prepared is kept"


def test_a_document_that_a_canary_cannot_prepare_is_put_all_the_same(tmp_path: Path, run: RunConfig) -> None:
    out = tmp_path / "out"
    made(run, out)
    steps = (StepConfig(path=f"{__name__}:refuse"),)
    live, canary = release(run, "live", out), release(run, "canary", out, steps=steps)

    async def case() -> None:
        service = Service(run, tmp_path, live)
        await service.canary(canary)
        await service.variants.put([NewDocument(id="1", text="harbour1 takes no step"), NewDocument(id="d1", text="x")])
        assert await service.found(live, "1") == ["1"]
        assert await service.found(canary, "1") == []
        await service.put("1", "2")
        assert await service.found(canary, "12") == ["1", "2"]
        await service.variants.put([NewDocument(id="3", text="harbour3 takes no step")])
        service.close()

    asyncio.run(case())

    async def again() -> None:
        service = Service(run, tmp_path, live)
        await service.releases.follow()
        assert "documents that were put cannot be prepared: step" in service.releases.error
        assert "canary" not in service.releases
        service.close()
        (tmp_path / "traffic.json").unlink()
        service = Service(run, tmp_path, canary)  # live at once: it must have all before anybody asks it
        with pytest.raises(InputError, match="cannot be prepared"):
            await service.releases.start()
        service.close()

    asyncio.run(again())


def test_what_a_process_put_that_does_not_know_a_release_is_prepared_before_it_is_acknowledged(
    tmp_path: Path, run: RunConfig
) -> None:
    """As of replicas beside an index in a process of its own, which has opened the release already."""
    out = tmp_path / "out"
    made(run, out)
    live, canary = release(run, "live", out), release(run, "canary", out, chunk=WHOLE)

    async def case() -> None:
        service = Service(run, tmp_path, live)
        await service.canary(canary)
        service.opener.preparers.remove("canary")
        await service.put("1")
        assert await service.found(canary, "1") == ["1"]
        service.close()

    asyncio.run(case())


def test_a_deployment_does_not_change_whether_documents_are_taken(tmp_path: Path, run: RunConfig) -> None:
    out = tmp_path / "out"
    made(run, out)
    one = release(run, "live", out)
    compare(one, one, force=False)
    with pytest.raises(InputError, match=r"serve\.live_documents is 0 in one"):
        compare(one, one.model_copy(update={"live": None}), force=True)


def test_another_process_reads_what_is_put_and_takes_over(tmp_path: Path, run: RunConfig) -> None:
    out = tmp_path / "out"
    made(run, out)
    live = release(run, "live", out)
    owner = LiveStore(live_folder(run))  # of the process before

    async def case() -> None:
        service = Service(run, tmp_path, live)
        with pytest.raises(ApiError, match="takes its documents until it ends") as refused:
            await service.put("1")
        assert (refused.value.type, refused.value.code, refused.value.headers) == (
            "unavailable",
            "not_owner",
            {"Retry-After": "1"},
        )
        for id_ in "12":
            owner.write(await prepared(live, id_))
            assert await service.found(live, "12") == [*"12"[: int(id_)]]
            assert (await service.variants.document(id_)).text == f"harbour{id_}"  # type: ignore[union-attr]
        owner.write(["1"])
        assert await service.found(live, "12") == ["2"]
        owner.write(await prepared(live, "3"))
        owner.close()
        assert await service.put("4") == 5
        assert await service.found(live, "1234") == ["2", "3", "4"]
        service.close()

    asyncio.run(case())


def test_releases_of_a_process_share_one_file(tmp_path: Path, run: RunConfig) -> None:
    """One file and one lock however many releases are open, and the lock is free when the last is closed."""
    out = tmp_path / "out"
    made(run, out)

    async def case() -> None:
        service = Service(run, tmp_path, release(run, "live", out))
        await service.canary(release(run, "canary", out, chunk=WHOLE))
        assert not LiveStore(live_folder(run)).owned
        service.releases["canary"].close()
        assert not LiveStore(live_folder(run)).owned
        service.releases["live"].close()
        last = LiveStore(live_folder(run))
        assert last.owned
        last.close()

    asyncio.run(case())
    assert (live_folder(run) / FILE).is_file()
    assert list((live_folder(run) / "parts").iterdir()) == []
