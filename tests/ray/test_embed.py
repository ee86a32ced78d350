"""Embedding on a real cluster: every passage once, in the encoder's own vectors, resumed by its files."""

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders import load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig, PluginConfig, TransformerConfig
from data.errors import InputError
from data.failures import input_error
from data.partitions import partition_name, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.text import passage_text
from data.schema import DOCUMENTS
from tests.tiny_model import tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
STUB = PluginConfig(model="benchmarks.embed.stub_encoder:load")


def make_passages(folder: Path, documents: int, partition_rows: int = 64) -> Path:
    rng = np.random.default_rng(0)
    words = "moon sea harbour sparse matrix inverse verse kernel graph pilot almanac column wind".split()
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 300, documents)]
    rows = [{"id": f"d{i}", "title": f"Title {i}", "text": text} for i, text in enumerate(texts)]
    (folder / "documents").mkdir(parents=True)
    write_partition(pa.Table.from_pylist(rows, schema=DOCUMENTS), folder / "documents" / partition_name(0))
    chunk(folder / "documents", ChunkConfig(partition_rows=partition_rows), folder)
    return folder / "passages"


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many as a real model embeds in a second or two."""
    return make_passages(tmp_path_factory.mktemp("few"), 60, 16)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_model(folder)
    return str(folder)


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_passages(tmp_path_factory.mktemp("corpus"), 200)


def test_vectors_are_the_encoders_own_and_the_manifest_holds(few: Path, tmp_path: Path) -> None:
    cut = TransformerConfig(max_length=64)
    result = embed(few, cut, EmbedConfig(), tmp_path)
    source, vectors = read_table(few), read_table(tmp_path / "vectors")
    assert vectors["id"].to_pylist() == source["id"].to_pylist()
    assert vectors["document_id"].to_pylist() == source["document_id"].to_pylist()
    assert vectors.schema.field("vector").type == pa.list_(pa.float32(), 384)
    assert vectors.schema.field("tokens").type == pa.int32()

    encoder = load_encoder(cut)
    texts = [passage_text(row["title"], row["text"]) for row in source.select(["title", "text"]).to_pylist()]
    stored = np.array(vectors["vector"].to_pylist(), dtype=np.float32)
    assert (stored * encoder.encode(texts)).sum(axis=1).min() > 0.9999

    assert result["documents"] == 60 and result["passages"] == len(texts) == source.num_rows
    assert result["tokens"] == sum(vectors["tokens"].to_pylist())
    assert result["truncated"] == sum(dropped > 0 for dropped in vectors["dropped"].to_pylist()) > 0
    assert result["dropped_tokens"] == sum(vectors["dropped"].to_pylist()) and result["oom_retries"] == 0
    assert result["fingerprint"] == encoder.fingerprint and result["dim"] == 384
    assert result["precision"] == encoder.precision and result["cosine_to_fp32"] >= 0.999
    assert min(result["documents_per_s"], result["passages_per_s"], result["tokens_per_s"]) > 0
    assert 0 <= result["padding_share"] < 0.2 and result["startup_seconds"] > 0

    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["fingerprint"] == encoder.fingerprint and manifest["dim"] == 384
    assert [part["name"] for part in manifest["partitions"]] == [path.name for path in sorted(few.glob("*"))]
    for part in manifest["partitions"]:
        path = tmp_path / "vectors" / part["name"]
        assert part["rows"] == pq.read_metadata(path).num_rows
        assert part["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_done_is_kept_and_what_was_cut_short_is_cleared(passages: Path, tmp_path: Path) -> None:
    first = embed(passages, STUB, EmbedConfig(), tmp_path)
    manifest = (tmp_path / "manifest.json").read_bytes()
    vectors = tmp_path / "vectors"
    (tmp_path / "manifest.json").unlink()
    (vectors / partition_name(1)).unlink()
    (vectors / f".{partition_name(1)}.unfinished").write_bytes(b"cut sh")
    kept = {path.name: path.stat().st_mtime_ns for path in vectors.glob("part-*")}

    second = embed(passages, STUB, EmbedConfig(), tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == manifest
    assert {name: (vectors / name).stat().st_mtime_ns for name in kept} == kept
    assert list(vectors.glob(".*")) == []
    assert second["kept_passages"] == second["passages"] - 64
    same = ("documents", "passages", "tokens", "fingerprint", "dim")
    assert {key: second[key] for key in same} == {key: first[key] for key in same}

    third = embed(passages, STUB, EmbedConfig(), tmp_path)
    assert third["kept_passages"] == third["passages"] and third["passages_per_s"] == 0.0


def test_several_actors_make_the_same_files_as_one(passages: Path, tmp_path: Path) -> None:
    embed(passages, STUB, EmbedConfig(actors=1, cores_per_actor=1), tmp_path / "one")
    embed(passages, STUB, EmbedConfig(actors=2, cores_per_actor=1), tmp_path / "two")
    assert (tmp_path / "one/manifest.json").read_bytes() == (tmp_path / "two/manifest.json").read_bytes()


def test_an_empty_table_gives_an_empty_table(tmp_path: Path) -> None:
    result = embed(make_passages(tmp_path / "corpus", 0), STUB, EmbedConfig(), tmp_path)
    assert result["documents"] == result["passages"] == 0 and result["dim"] == 384
    assert read_table(tmp_path / "vectors").schema.field("vector").type == pa.list_(pa.float32(), 384)


def test_vectors_of_two_encoders_are_not_mixed(passages: Path, tmp_path: Path) -> None:
    embed(passages, STUB, EmbedConfig(), tmp_path)
    (tmp_path / "vectors" / partition_name(2)).unlink()
    with pytest.raises(InputError, match="vectors of 2 encoders"):
        embed(passages, HashedEncoderConfig(hashed=HashedConfig(dim=384)), EmbedConfig(), tmp_path)


def test_an_unknown_model_starts_nothing(passages: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model folder"):
        embed(passages, TransformerConfig(model="/no/such/model"), EmbedConfig(), tmp_path)
    assert not (tmp_path / "vectors").exists()


def test_a_mistake_that_shows_in_the_actor_is_told_as_the_users(few: Path, tiny: str, tmp_path: Path) -> None:
    with pytest.raises(Exception) as raised:
        embed(few, TransformerConfig(model=tiny, max_length=4096), EmbedConfig(), tmp_path)
    error = input_error(raised.value)  # Ray wraps it several times
    assert error is not None and "encoder.max_length: 4096 is more than" in error.problem


def test_a_text_that_is_refused_is_told_with_its_partition(few: Path, tiny: str, tmp_path: Path) -> None:
    strict = TransformerConfig(model=tiny, truncate="error", precision="fp32", max_length=64)
    with pytest.raises(Exception) as raised:
        embed(few, strict, EmbedConfig(), tmp_path)
    error = input_error(raised.value)
    assert error is not None and "part-0" in error.problem and "the model reads 64" in error.problem

    given_back = time.monotonic() + 60  # while the error is kept: another embedding may follow in this process
    while ray.available_resources().get("CPU", 0) < ray.cluster_resources()["CPU"]:
        assert time.monotonic() < given_back, "an actor of the failed job keeps its cores"
        time.sleep(0.2)


def test_no_bar_where_nobody_watches(passages: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    embed(passages, STUB, EmbedConfig(), tmp_path)
    assert "passages" not in capfd.readouterr().err and not sys.stderr.isatty()
