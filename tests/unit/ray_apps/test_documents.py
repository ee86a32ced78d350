"""``catena documents``: a real application behind a port of this machine, and the file it leaves."""

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from ray_apps.cli import main
from ray_apps.config import RunConfig
from ray_apps.live import fold, live_folder
from serving.live_store import LiveStore
from tests.unit.serving.live_writer import prepared
from tests.unit.serving.whole_application import whole_application


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(whole_application(tmp_path / "whole"), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_file_is_put_and_ids_are_deleted(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.csv").write_text("id,title,text,kind\nn1,One,a quiet harbour,k1\nn2,Two,at dawn,k2\n")
    put = result(capsys, "documents", "put", "--url", url, str(tmp_path / "new.csv"))
    assert (put["created"], put["live"]) == (2, 2)
    found = result(capsys, "search", "--url", url, "quiet harbour", "--filter", "kind=k1")["hits"]
    assert found[0]["document_id"] == "n1"  # type: ignore[index]
    deleted = result(capsys, "documents", "delete", "--url", url, "n1", "nobody")
    assert (deleted["deleted"], deleted["unknown"], deleted["live"]) == (1, 1, 1)
    monkeypatch.setattr("sys.stdin", io.StringIO("n2\n\n"))
    assert result(capsys, "documents", "delete", "--url", url)["live"] == 0


def test_a_row_that_is_wrong_is_named(tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.jsonl").write_text('{"id": "n1", "text": "fine"}\n{"id": "", "text": "no id"}\n')
    assert main(["documents", "put", "--url", url, str(tmp_path / "new.jsonl")]) == 2
    assert "new.jsonl, line 2: 'id' is empty" in capsys.readouterr().err


def test_status_counts_what_waits_for_the_next_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    run = {
        "name": "r",
        "workspace": str(tmp_path),
        "source": {"files": {"documents": {"path": str(tmp_path / "documents.jsonl")}}},
    }
    (tmp_path / "r.yaml").write_text(json.dumps(run))

    def status() -> list[object]:
        counts = result(capsys, "documents", "status", str(tmp_path / "r.yaml"))
        return [counts[name] for name in ("put", "deleted", "last_write", "in_corpus", "waiting")]

    assert status() == [0, 0, 0, 0, 0]
    config = RunConfig.model_validate(run)
    store = LiveStore(live_folder(config))
    store.write([prepared("x"), prepared("y"), "z"])
    assert status() == [2, 1, 3, 0, 3]
    fold(config)
    store.write(["x"])
    assert status() == [1, 2, 4, 3, 1]
    store.close()
