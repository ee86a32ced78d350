"""Which release answers whom, and the file that says so."""

import threading
from pathlib import Path

import pytest

from data.encoders.config import read_encoder
from data.errors import InputError
from serving.artifacts import CapabilityArtifacts, LiveConfig
from serving.traffic import (
    Canary,
    Release,
    Shadow,
    Traffic,
    change_traffic,
    read_traffic,
    with_live,
    without,
)

HASHED = read_encoder({"hashed": {"dim": 64}})


def release(id_: str) -> Release:
    return Release(id=id_, index=Path(f"/{id_}"), lookup=Path(f"/{id_}"), encoder=HASHED, passages=10)


def traffic(canary: float = 0.0, shadow: float = 0.0) -> Traffic:
    return Traffic(
        live="old",
        canary=Canary(release="new", share=canary) if canary else None,
        shadow=Shadow(release="new", share=shadow) if shadow else None,
        releases={"old": release("old"), "new": release("new")},
    )


def test_each_caller_stays_with_its_release_and_the_share_is_kept() -> None:
    callers = [f"user {n}" for n in range(4000)]
    tenth, half = traffic(0.1), traffic(0.5)
    given = [tenth.chosen(caller) for caller in callers]
    assert given == [tenth.chosen(caller) for caller in callers]
    assert 0.08 < given.count("new") / len(given) < 0.12
    # Who had the canary before keeps it as its share grows.
    assert all(half.chosen(caller) == "new" for caller, before in zip(callers, given, strict=True) if before == "new")
    assert {traffic().chosen(caller) for caller in callers} == {"old"}


def test_a_share_of_requests_is_shadowed() -> None:
    asked = [traffic(shadow=0.25).shadowed(f"request {n}") for n in range(4000)]
    assert 0.22 < sum(asked) / len(asked) < 0.28
    assert not traffic().shadowed("request 1") and traffic(shadow=1.0).shadowed("request 1")


def test_the_release_of_a_run_becomes_live_and_the_one_before_stays_for_a_rollback() -> None:
    first = with_live(None, release("a"))
    assert (first.live, first.previous) == ("a", None) and with_live(first, release("a")) is first
    third = with_live(with_live(first, release("b")), release("c"))
    assert (third.live, third.previous, set(third.releases)) == ("c", "b", {"c", "b"})


def ranking(ranker: str, catalogue: str, traces: str) -> Release:
    of_run = CapabilityArtifacts(
        ranker=Path(f"/learn/{ranker}/model"), catalogue=Path(f"/catalogue/{catalogue}"), traces=traces, version=1
    )
    return release("").model_copy(update={"capabilities": of_run}).identified()


def test_a_catalogue_of_the_same_traces_is_no_other_release() -> None:
    first = ranking("one", "a", "t1")
    assert first.id == ranking("one", "b", "t1").id != ranking("one", "a", "t2").id
    assert first.id != ranking("two", "a", "t1").id
    assert ranking("one", "a", "").id != ranking("one", "b", "").id  # tables of before they had a digest


def test_a_release_that_only_knows_of_more_traces_takes_the_place_of_the_live_one() -> None:
    old, new, later = ranking("one", "a", "t1"), ranking("two", "b", "t2"), ranking("two", "c", "t3")
    before = with_live(with_live(None, old), new)
    after = with_live(before, later)
    assert (after.live, after.previous, set(after.releases)) == (later.id, old.id, {later.id, old.id})
    assert with_live(with_live(None, old), ranking("one", "b", "t2")).previous is None
    back = with_live(before.changed(previous=None), later).changed(
        previous=new.id, releases={one.id: one for one in (new, later)}
    )
    assert with_live(back, new).previous == later.id  # never to itself


def test_a_canary_that_is_stopped_leaves_its_reason() -> None:
    both = traffic(canary=0.1, shadow=0.5)
    assert without(both, "other", "slow") is both
    stopped = without(both, "new", "slow")
    assert (stopped.canary, stopped.shadow, stopped.stopped) == (None, None, "new: slow")
    assert set(stopped.releases) == {"old"}


def test_the_file_is_changed_by_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "traffic" / "demo.json"
    assert read_traffic(path) is None
    change_traffic(path, lambda before: with_live(before, release("r0")))

    def change(number: int) -> None:
        change_traffic(path, lambda before: with_live(before, release(f"r{number}")))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = read_traffic(path)
    assert after is not None and after.number == 8 and len(after.releases) == 2
    change_traffic(path, lambda before: before)
    assert read_traffic(path) == after


@pytest.mark.parametrize("text", ["{}", "no", '{"live": "a", "releases": {}}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "traffic.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is not a file of releases"):
        read_traffic(path)


def test_what_is_served_decides_the_id(tmp_path: Path) -> None:
    release = Release(index=tmp_path / "a", lookup=tmp_path / "b", encoder=HASHED, passages=1)

    def id_of(**changes: object) -> str:
        return release.model_copy(update=changes).identified().id

    live = [LiveConfig(folder=tmp_path, folded=folded, limit=9) for folded in (1, 2)]
    others = [
        {"lookup": tmp_path / "c"},
        {"encoder": read_encoder({"hashed": {"dim": 32}})},
        {"bundles": tmp_path / "d"},
        *({"live": each} for each in live),
    ]
    ids = {id_of(), *(id_of(**changes) for changes in others)}
    assert len(ids) == 1 + len(others) and all(len(id_) == 8 for id_ in ids)
    assert id_of(passages=2, made="later", found=0.5, id="x") == id_of()
