"""Sources by URL: read whole and in order, whether the storage serves parts of a file or not, and what goes wrong."""

import gzip
import http.server
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import InputError
from data.sources import SourceConfig, fingerprint, read_tasks, remote
from data.sources.remote import RemoteFile
from data.sources.rows import Document, Link

ROWS = [{"id": f"d{n}", "title": f"Title {n}", "text": f"text of number {n} " * 5} for n in range(2000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


class Whole(http.server.SimpleHTTPRequestHandler):
    """Serves files whole, whatever part is asked for, as Python's own server does."""

    def log_message(self, *args: object) -> None:
        pass


class Parts(Whole):
    """Serves parts of files; says how many were asked for at once, and fails each first time where asked to."""

    asked: list[str]
    at_once = most_at_once = 0
    failing: set[str]
    lock = threading.Lock()

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            return super().do_GET()
        with self.lock:
            self.asked.append(wanted[0])
            Parts.at_once += 1
            Parts.most_at_once = max(Parts.at_once, Parts.most_at_once)
        start, end = int(wanted[1]), min(int(wanted[2]), path.stat().st_size - 1)
        try:
            time.sleep(0.02)  # long enough for requests at once to meet
            if wanted[0] in self.failing:
                self.failing.remove(wanted[0])
                return self.send_error(503)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{path.stat().st_size}")
            self.send_header("Content-Length", str(end - start + 1))
            self.end_headers()
            self.wfile.write(path.read_bytes()[start : end + 1])
        finally:
            with self.lock:
                Parts.at_once -= 1


def served(folder: Path, handler: type[Whole]) -> Iterator[str]:
    """The address of a server of a folder."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path, Whole)


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(remote, "FIRST", 1000)
    monkeypatch.setattr(remote, "BLOCK", 20_000)
    Parts.asked, Parts.failing, Parts.most_at_once = [], set(), 0
    yield from served(tmp_path, Parts)


def ids(**tables: object) -> list[str]:
    tasks = read_tasks(SourceConfig.model_validate({"files": tables}))
    return [row.id for task in tasks for _, row in task.read() if isinstance(row, Document)]


EXPECTED = [row["id"] for row in ROWS]


def test_a_server_without_parts_is_read_from_beginning_to_end(whole: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(LINES)
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(LINES))
    assert ids(documents={"path": f"{whole}/d.jsonl"}) == EXPECTED
    assert ids(documents={"path": f"{whole}/d.jsonl.gz?signed=x"}) == EXPECTED


def test_parts_are_fetched_several_at_a_time_in_order_and_a_failing_one_again(parts: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(LINES)
    Parts.failing = {"bytes=21000-40999"}
    assert ids(documents={"path": f"{parts}/d.jsonl"}) == EXPECTED
    assert Parts.failing == set() and Parts.asked.count("bytes=21000-40999") == 2
    assert 2 <= Parts.most_at_once <= remote.AHEAD


def test_who_reads_only_the_beginning_fetches_only_that(parts: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(LINES)
    with RemoteFile(f"{parts}/d.jsonl").open() as file:
        assert file.readline() == LINES.splitlines(keepends=True)[0]
    assert Parts.asked[-1] == "bytes=0-999"


def test_a_part_that_never_comes_is_an_error_that_names_the_file(
    parts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.jsonl").write_bytes(LINES)
    monkeypatch.setattr(remote, "ATTEMPTS", 1)
    Parts.failing = {"bytes=21000-40999"}
    with pytest.raises(OSError, match="503") as raised:
        ids(documents={"path": f"{parts}/d.jsonl"})
    assert raised.value.filename == f"{parts}/d.jsonl"


def test_parquet_by_row_groups(parts: str, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet", row_group_size=500)
    config = SourceConfig.model_validate({"files": {"documents": {"path": f"{parts}/d.parquet"}}})
    assert len(read_tasks(config)) == 4
    assert ids(documents={"path": f"{parts}/d.parquet"}) == EXPECTED


def test_parquet_from_a_server_without_parts_says_why_not(whole: str, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    with pytest.raises(InputError, match="does not serve parts of a file"):
        ids(documents={"path": f"{whole}/d.parquet"})


def test_beir_and_patterns_in_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("set/corpus.jsonl", LINES.replace(b'"id"', b'"_id"'))
        packed.writestr("set/queries.jsonl", '{"_id": "q1", "text": "which"}\n{"_id": "q2", "text": "none"}\n')
        packed.writestr("set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
        packed.writestr("set/parts/a.jsonl", LINES)
        packed.writestr("set/parts/b.jsonl", LINES)
    config = SourceConfig.model_validate({"beir": {"folder": f"zip://set::{archive}"}})
    rows = [row for task in read_tasks(config) for _, row in task.read()]
    assert len(rows) == len(ROWS) + 3
    assert all("CRC" in stamp for stamp in fingerprint(config).values())
    assert ids(documents={"path": f"zip://set/parts/*.jsonl::{archive}"}) == EXPECTED * 2


def test_verses_and_references_in_memory() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe(
        "/bible/v.jsonl", b'{"id": "Gen.1.1", "book": "Gen", "chapter": 1, "verse": 1, "text": "In the beginning"}\n'
    )
    fs.pipe("/bible/c.tsv", b"source\ttarget\ttarget_end\tvotes\nGen.1.1\tJohn.1.1\t\t9\n")
    bible = {"verses": "memory://bible/v.jsonl", "crossrefs": "memory://bible/c.tsv"}
    tasks = read_tasks(SourceConfig.model_validate({"bible": bible}))
    (document, link) = [row for task in tasks for _, row in task.read()]
    assert isinstance(document, Document) and document.title == "Gen 1:1"
    assert link == Link("Gen.1.1", "John.1.1", "cross_reference", 9.0)


@pytest.mark.parametrize(
    ("url", "problem", "remedy"),
    [
        ("s3://bucket/d.jsonl", "reading s3:// needs the package s3fs", "pip install s3fs"),
        ("sftp://host/d.jsonl", "reading sftp:// needs the package paramiko", "pip install paramiko"),
        ("nosuch://host/d.jsonl", "nosuch", "s3"),
        ("memory://nowhere/d.jsonl", "file not found: memory://nowhere/d.jsonl", "Check the address"),
        ("http://127.0.0.1:9/d.jsonl", "cannot be reached: http://127.0.0.1:9/d.jsonl: ClientConnect", "server is up"),
    ],
)
def test_what_cannot_be_reached_is_told_in_one_message(url: str, problem: str, remedy: str) -> None:
    with pytest.raises(InputError, match=problem) as raised:
        read_tasks(SourceConfig.model_validate({"files": {"documents": {"path": url}}}))
    assert remedy in raised.value.remedy


@pytest.mark.parametrize(
    ("status", "problem"), [(404, "^file not found: http"), (403, "^http.*: ClientResponseError: 403")]
)
def test_only_a_file_that_is_missing_is_not_found(status: int, problem: str) -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=problem):
            remote.find_remote(f"http://127.0.0.1:{server.server_port}/d.jsonl")
        server.shutdown()


def test_the_fingerprint_follows_the_content(whole: str, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(LINES)
    config = SourceConfig.model_validate({"files": {"documents": {"path": f"{whole}/d.jsonl"}}})
    before = fingerprint(config)
    assert f"{len(LINES)} bytes, Last-Modified" in before[f"{whole}/d.jsonl"]
    remote._info.cache_clear()
    assert fingerprint(config) == before
    (tmp_path / "d.jsonl").write_bytes(LINES * 2)
    assert fingerprint(config) == before, "one process sees one corpus"
    remote._info.cache_clear()
    assert fingerprint(config) != before
