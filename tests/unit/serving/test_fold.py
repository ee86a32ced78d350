"""The next index has in it what was put; what it finds is what the index before found with that beside it."""

import asyncio
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from data.partitions import partitions, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.sources import SourceConfig
from data.sources.ingest import ingest
from data.spread import here
from ray_apps.config import RunConfig
from ray_apps.live import FOLDED, fold, live_folder, source_of
from retrieval.build import build_index
from retrieval.config import IndexConfig, Mode
from retrieval.hits import SearchHit
from retrieval.open import read_meta
from retrieval.query import SearchQuery
from serving.artifacts import LiveConfig
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.index import IndexActor
from serving.live_rows import PutDocument
from serving.lookup import write_lookup
from serving.prepare import Preparer
from serving.schemas.documents import NewDocument

DIM = 64
ENCODER = read_encoder({"hashed": {"dim": DIM}})
CHUNK = ChunkConfig(max_chars=60, overlap_chars=10)
WORDS = "sea harbour ship anchor tide matrix inverse pivot row column rain cloud storm wind calm".split()
QUESTIONS = ["a ship in the harbour", "inverse of a matrix", "storm and rain", "tide row wind", "calm"]


def text_of(number: int, words: int = 40) -> str:
    return " ".join(WORDS[(number * (n + 3) + n * n) % len(WORDS)] for n in range(words))


@pytest.fixture
def run(tmp_path: Path) -> RunConfig:
    rows = [{"id": f"d{n}", "title": f"Title {n}", "text": text_of(n), "kind": f"k{n % 3}"} for n in range(30)]
    (tmp_path / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = SourceConfig.model_validate({"files": {"documents": {"path": str(tmp_path / "documents.jsonl")}}})
    return RunConfig(name="r", workspace=tmp_path / "workspace", source=source)


def made(run: RunConfig, out: Path) -> int:
    """The stages from the corpus to index and look-up; the last write that is in them."""
    result = ingest(source_of(run), out, here)
    chunk(out / "documents", CHUNK, out)
    encoder = load_encoder(ENCODER)
    (out / "vectors").mkdir()
    for path in partitions(out / "passages"):
        rows = pq.read_table(path, columns=["id", "title", "text"]).to_pylist()
        vectors = encoder.encode([passage_text(row["title"], row["text"]) for row in rows])
        table = pa.table(
            {
                "id": [row["id"] for row in rows],
                "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), DIM),
            }
        )
        write_partition(table, out / "vectors" / path.name)
    manifest = {"dim": DIM, "fingerprint": encoder.fingerprint, "precision": "fp32"}
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "index").mkdir()
    build_index(out / "documents", out / "passages", out, IndexConfig(), out / "index")
    write_lookup(out, out / "documents", out / "links", None)
    writes: int = result["live_writes"]
    return writes


def opened(run: RunConfig, out: Path, folded: int) -> IndexActor:
    return IndexActor(out / "index", live_of(run, folded), out)


def live_of(run: RunConfig, folded: int) -> LiveConfig:
    return LiveConfig(folder=live_folder(run), folded=folded, limit=100, chunk=CHUNK)


async def change(index: IndexActor, out: Path, put: list[NewDocument], deleted: list[str]) -> None:
    meta = read_meta(out / "index")
    config = live_of(RunConfig.model_construct(workspace=out, name="r"), 0)
    preparer = Preparer(config, ENCODER, meta, Embedder(ENCODER, meta, ServeConfig()))
    if put:
        made = await preparer.prepare(put)
        await index.change([PutDocument(one.id, one.source, {preparer.form: one}) for one in made])
    await index.change(deleted)


def answers(index: IndexActor, mode: Mode, **filter_: str) -> list[list[SearchHit]]:
    from retrieval.filters import parse_filter

    vectors = load_encoder(ENCODER).encode_queries(QUESTIONS)

    async def ask() -> list[list[SearchHit]]:
        return [
            await index.search(SearchQuery(text, mode, 50, parse_filter(filter_)), vector)
            for text, vector in zip(QUESTIONS, vectors, strict=True)
        ]

    return asyncio.run(ask())


PUT = [
    NewDocument(id="d3", title="Another", text=text_of(77, 30), metadata={"kind": "k1"}),
    NewDocument(id="new", text=text_of(91, 50), metadata={"kind": "k0"}),
    NewDocument(id="d9", title="d9", text=text_of(5, 10)),
]
LATER = [NewDocument(id="later", text="a ship in a storm"), NewDocument(id="new", text="calm")]


def test_an_index_of_everything_finds_the_same(tmp_path: Path, run: RunConfig) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    assert made(run, before) == 0
    index = opened(run, before, 0)
    original = answers(index, "dense")
    asyncio.run(change(index, before, PUT, ["d5", "d9", "nobody"]))
    live, filtered = answers(index, "dense"), answers(index, "dense", kind="k1")
    assert live != original
    assert fold(run) == 6  # three were put, three deleted
    assert made(run, after) == 6
    asyncio.run(change(index, before, LATER, ["d7"]))  # while the next index is made
    with_later = answers(index, "dense")
    index.close()

    folded = opened(run, after, 10**6)  # nothing beside it
    assert answers(folded, "dense") == live
    assert answers(folded, "dense", kind="k1") == filtered
    folded.close()
    following = opened(run, after, 6)
    assert asyncio.run(following.standing(["d3", "d5", "new", "later", "d7"])) == {
        "new": True,
        "later": True,
        "d7": False,
    }
    assert answers(following, "dense") == with_later
    for mode in ("bm25", "hybrid"):  # words weigh differently: other documents are counted
        assert answers(following, mode)  # type: ignore[arg-type]
    following.close()

    again = opened(run, before, 0)  # rolled back
    assert answers(again, "dense") == with_later
    again.close()


def test_the_same_writes_are_brought_in_once(tmp_path: Path, run: RunConfig) -> None:
    assert (fold(run), source_of(run)) == (0, run.source)  # it was never served
    before = tmp_path / "before"
    made(run, before)
    index = opened(run, before, 0)
    asyncio.run(change(index, before, PUT, []))
    assert fold(run) == 3
    written = (live_folder(run) / FOLDED).stat().st_mtime_ns
    assert fold(run) == 3
    assert (live_folder(run) / FOLDED).stat().st_mtime_ns == written
    asyncio.run(change(index, before, [], ["d5"]))
    assert fold(run) == 4
    assert source_of(run).live == live_folder(run).resolve() / FOLDED
    index.close()


def test_a_file_that_the_run_names_is_taken_as_it_is(tmp_path: Path, run: RunConfig) -> None:
    named = run.model_copy(update={"source": run.source.model_copy(update={"live": tmp_path / "mine.jsonl"})})
    live_folder(run).mkdir(parents=True)
    (live_folder(run) / FOLDED).touch()
    assert source_of(named).live == tmp_path / "mine.jsonl"
