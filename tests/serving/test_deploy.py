"""A new index taken up, tried and rolled back: no request fails, and no document that was put is lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from benchmarks.serving.load import free_port
from ray_apps.cli import main
from ray_apps.plan import Plan
from ray_apps.serve import service_of
from serving.client import Client
from serving.listener import Listener
from tests.services import outcomes_around, planned, run_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

PORT = free_port()
URL = f"http://127.0.0.1:{PORT}"


@pytest.fixture(scope="module", params=["compact", "spread"])
def folder(
    request: pytest.FixtureRequest, services_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A service of twenty documents that runs, and beside it the run files of twenty and of forty."""
    from ray import serve
    from ray.serve.config import HTTPOptions

    from serving.app import build

    tmp_path = tmp_path_factory.mktemp("shop")
    for documents in (40, 20):
        plan = written(services_folder, f"shop-{request.param}", documents, tmp_path, layout=request.param)
    if request.param == "compact":
        with Listener("127.0.0.1", PORT) as listener:
            serve.run(build(service_of(plan).model_copy(update={"listener": listener.path})), name="shop")
            yield tmp_path
            serve.shutdown()
        return
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=PORT))
    serve.run(build(service_of(plan)), name="shop")
    yield tmp_path
    serve.shutdown()


def written(folder: Path, name: str, documents: int, files: Path, **serve: str) -> Plan:
    """A run of some documents whose artifacts are there, and its run file among some files."""
    run = run_of(folder, name, documents, **serve)
    (files / f"{documents}.yaml").write_text(yaml.safe_dump(run))
    return planned(run)


def deploy(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main(["deploy", *words, "--json"]) == 0
    traffic: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])["traffic"]
    return traffic


# First: while a service runs there are no cores left to make artifacts.
def test_what_is_much_smaller_is_not_deployed(
    services_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = written(services_folder, "small", 20, tmp_path)
    written(services_folder, "small", 3, tmp_path)
    assert main(["deploy", "status", str(tmp_path / "20.yaml")]) == 2
    assert "small was never served" in capsys.readouterr().err
    service_of(plan)
    assert main(["deploy", "promote", str(tmp_path / "3.yaml")]) == 2
    said = capsys.readouterr().err
    assert "has 3 passages in its index, the live" in said and "has 20" in said and "--force" in said
    assert main(["deploy", "promote", str(tmp_path / "20.yaml")]) == 2
    assert "is live already" in capsys.readouterr().err
    assert main(["deploy", "rollback", str(tmp_path / "20.yaml")]) == 2
    assert "no release was live before" in capsys.readouterr().err
    assert main(["deploy", "canary", str(tmp_path / "3.yaml"), "--after", "5000"]) == 2
    assert "--after: Input should be less than or equal to 2000, got 5000" in capsys.readouterr().err
    promoted = deploy(capsys, "promote", str(tmp_path / "3.yaml"), "--force")
    assert promoted["live"] != promoted["previous"] is not None
    assert main(["deploy", "status", str(tmp_path / "3.yaml")]) == 0
    assert "previous" in capsys.readouterr().out


def passages_become(count: int) -> bool:
    """Whether the service comes to answer from an index of so many passages."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if httpx.get(f"{URL}/readyz", timeout=30).json().get("passages") == count:
            return True
        time.sleep(0.2)
    return False


def test_an_index_is_promoted_and_rolled_back_under_load(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[bool] = []

    def promoted_and_back() -> None:
        deploy(capsys, "promote", str(folder / "40.yaml"))
        seen.append(passages_become(40))
        deploy(capsys, "rollback", str(folder / "20.yaml"))
        seen.append(passages_become(20))

    outcomes = outcomes_around(URL, promoted_and_back, retries=0)
    assert seen == [True, True]
    assert set(outcomes) == {"right"}, outcomes


def test_a_canary_answers_its_share_until_it_is_ended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traffic = deploy(capsys, "canary", str(folder / "40.yaml"), "--share", "0.5")
    end = time.monotonic() + 30
    while httpx.get(f"{URL}/v1/releases").json()["canary"] is None and time.monotonic() < end:
        time.sleep(0.2)

    def asked() -> set[str]:
        body = {"query": "number 33", "top_k": 1}
        answers = [httpx.post(f"{URL}/v1/search", json=body, headers={"x-user": f"u{n}"}) for n in range(20)]
        for answer in answers:
            found = answer.json()["results"][0]["document_id"] == "d33"
            assert found == (answer.headers["x-catena-release"] != traffic["live"])
        return {answer.headers["x-catena-release"] for answer in answers}

    assert len(asked()) == 2
    deploy(capsys, "stop", str(folder / "40.yaml"))
    end = time.monotonic() + 30
    while httpx.get(f"{URL}/v1/releases").json()["canary"] is not None and time.monotonic() < end:
        time.sleep(0.2)
    assert asked() == {traffic["live"]}


def releases_become(live: str, canary: str | None) -> None:
    """Wait until the service has these."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        state = httpx.get(f"{URL}/v1/releases", timeout=30).json()
        if (state["live"], state["canary"]) == (live, canary):
            return
        time.sleep(0.2)
    raise AssertionError(state)


def indexed(run_file: str, *flags: str) -> None:
    """Make the index of a run on the one core that the service leaves."""
    assert main(["index", run_file, "--embed.cores-per-actor", "1", *flags]) == 0


def found_by_all(id_: str) -> set[str]:
    """The releases of twenty callers, each of whom finds the document by its word, once."""
    body = {"query": id_, "mode": "bm25"}
    answers = [httpx.post(f"{URL}/v1/search", json=body, headers={"x-user": f"u{n}"}, timeout=30) for n in range(20)]
    for answer in answers:
        assert [one["document_id"] for one in answer.json()["results"]] == [id_]
    return {answer.headers["x-catena-release"] for answer in answers}


def test_documents_are_kept_through_a_canary_a_new_index_and_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file = str(folder / "20.yaml")
    with Client(URL, retries=8) as client:
        client.put_documents([{"id": "harbour1", "text": "harbour1"}])
        client.delete_documents(["d3"])
        indexed(run_file, "--chunk.max-chars", "400")
        traffic = deploy(capsys, "canary", run_file, "--chunk.max-chars", "400", "--share", "0.5")
        canary: dict[str, str] = traffic["canary"]  # type: ignore[assignment]
        old = str(traffic["live"])
        releases_become(old, canary["release"])
        client.put_documents([{"id": "harbour2", "text": "harbour2"}])
        for id_ in ("harbour1", "harbour2"):
            assert found_by_all(id_) == {old, canary["release"]}
        deploy(capsys, "stop", run_file)

        indexed(run_file)
        client.put_documents([{"id": "harbour3", "text": "harbour3"}])
        new = str(deploy(capsys, "promote", run_file)["live"])
        assert new != old
        releases_become(new, None)
        assert client.put_documents([{"id": "harbour4", "text": "harbour4"}]).live == 2, "the others are in the index"
        for id_ in ("harbour1", "harbour2", "harbour3", "harbour4"):
            assert found_by_all(id_) == {new}
        deploy(capsys, "rollback", run_file)
        releases_become(old, None)
        for id_ in ("harbour1", "harbour2", "harbour3", "harbour4"):
            assert found_by_all(id_) == {old}
        assert "d3" not in [hit.document_id for hit in client.search("number 3", mode="bm25", top_k=100).results]
