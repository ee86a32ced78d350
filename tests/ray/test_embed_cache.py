"""Embedding with caches on a real cluster: a changed document costs its own passages, and what comes out is exact."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts import Artifact, locate, materialise
from data.cache import CacheConfig
from data.cache.embedded import EmbeddedRedis
from data.cache.keys import from_arrow, text_hashes
from data.cache.redis import connect
from data.embedding.embed import EmbedConfig, embed
from data.encoders.config import PluginConfig
from data.partitions import partition_name, partitions, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
STUB = PluginConfig(model="benchmarks.embed.stub_encoder:load")  # its vectors do not depend on what is beside a text
COPYING = CacheConfig(stored=True)


def corpus(folder: Path, texts: Mapping[str, str]) -> Path:
    """Passages of documents, four of a long one, in partitions of 20."""
    (folder / "documents").mkdir(parents=True)
    rows = [{"id": id_, "title": id_, "text": text} for id_, text in texts.items()]
    write_partition(pa.Table.from_pylist(rows, schema=DOCUMENTS), folder / "documents" / partition_name(0))
    chunk(folder / "documents", ChunkConfig(max_chars=60, overlap_chars=0, partition_rows=20), folder)
    return folder / "passages"


@pytest.fixture
def texts() -> dict[str, str]:
    return {f"d{n}": " ".join(f"word{n} number {i} of it." for i in range(10)) for n in range(25)}


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Path, str, CacheConfig], Artifact]:
    """Embeds passages as an artifact of a name."""

    def make(passages: Path, name: str, cache: CacheConfig) -> Artifact:
        artifact = locate(tmp_path, "embed", {"name": name})
        return materialise(artifact, lambda out: embed(passages, STUB, EmbedConfig(actors=1), out, cache))

    return make


def vectors(artifact: Artifact) -> list[bytes]:
    return [path.read_bytes() for path in partitions(artifact.path / "vectors")]


def test_the_text_of_each_vector_is_hashed_beside_it(
    texts: dict[str, str], made: Callable[..., Artifact], tmp_path: Path
) -> None:
    passages = corpus(tmp_path / "corpus", texts)
    artifact = made(passages, "plain", CacheConfig())
    rows = read_table(passages, ["title", "text"]).to_pylist()
    expected = text_hashes([passage_text(row["title"], row["text"]) for row in rows])
    stored = read_table(artifact.path / "vectors", ["text_hash"])["text_hash"]
    assert (from_arrow(stored) == expected).all()
    assert "cache" not in artifact.result


def test_a_changed_document_costs_its_changed_passages_only(
    texts: dict[str, str], made: Callable[..., Artifact], tmp_path: Path
) -> None:
    first = made(corpus(tmp_path / "one", texts), "one", COPYING)
    assert first.result["passages"] > 60 and "cache" not in first.result
    changed = corpus(tmp_path / "two", {**texts, "d7": texts["d7"] + " One more.", "new": "A new document."})
    again = made(changed, "two", COPYING)
    computed = again.result["passages"] - again.result["copied_passages"]
    assert computed == 2, again.result
    stored = again.result["cache"]["stored"]
    assert (stored["lookups"], stored["hits"], stored["degraded"]) == (
        again.result["passages"],
        again.result["copied_passages"],
        0,
    )
    assert vectors(again) == vectors(made(changed, "undisturbed", CacheConfig()))


def test_a_job_that_goes_on_copies_from_what_it_began_with(
    texts: dict[str, str], made: Callable[..., Artifact], tmp_path: Path
) -> None:
    passages = corpus(tmp_path / "one", texts)
    first = made(passages, "one", COPYING)
    second = made(passages, "two", COPYING)
    began_with = json.loads((second.path / "copied_from.json").read_text())
    assert began_with == {"stub": [first.key]}
    whole = vectors(second)
    made(passages, "three", COPYING)
    (second.path / "_SUCCESS").unlink()  # as if it had been killed before its end
    (second.path / "vectors" / partition_name(1)).unlink()
    assert vectors(made(passages, "two", COPYING)) == whole
    assert json.loads((second.path / "copied_from.json").read_text()) == began_with


def test_jobs_share_a_redis_and_tell_it_of_texts_that_are_gone(
    texts: dict[str, str], made: Callable[..., Artifact], tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "redis", 64) as server:
        cache = CacheConfig(stored=True, documents=True, redis=server.url, timeout_ms=5000)
        one = made(corpus(tmp_path / "one", texts), "one", cache)
        assert one.result["cache"]["redis"]["hits"] == one.result["gone_texts"] == 0
        with connect(server.url, 5000) as client:
            assert client.dbsize() == one.result["passages"]
            rest = {id_: text for id_, text in texts.items() if id_ != "d3"}
            two = made(corpus(tmp_path / "two", rest), "two", cache)
            assert two.result["cache"]["redis"]["hits"] == two.result["passages"]
            assert two.result["gone_texts"] == one.result["passages"] - two.result["passages"] > 0
            assert client.dbsize() == two.result["passages"]
            sent = client.info("commandstats").keys()
            assert "cmdstat_publish" in sent and not {"cmdstat_keys", "cmdstat_scan"} & sent
        hashes = pq.read_table(partitions(two.path / "vectors")[0])["text_hash"]
        assert len(hashes) == 20
