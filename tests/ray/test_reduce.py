"""The reduction on a real cluster: by its command, resumed by its files, and a search over what it made."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.embed.texts import write_passages
from data.embedding.config import ReduceConfig
from data.embedding.embed import EmbedConfig, embed
from data.embedding.reduce import reduce
from data.encoders.config import PluginConfig
from data.errors import InputError
from data.partitions import partition_name, partitions, read_table
from data.passages.text import passage_text
from data.vectors.read import matrix
from ray_apps.cli import main

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
PCA = ReduceConfig(method="pca", dim=64, storage="int8", sample_rows=3000)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 vectors of the stub encoder, in three partitions."""
    folder = tmp_path_factory.mktemp("embedded")
    passages = write_passages((f"text {i}" for i in range(5000)), 5000, folder / "passages")
    embed(passages, PluginConfig(model="benchmarks.embed.stub_encoder:load"), EmbedConfig(), folder)
    return folder


def checksums(folder: Path) -> dict[str, str]:
    files = [*folder.glob("*.safetensors"), *folder.glob("manifest.json"), *partitions(folder / "vectors")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_row_is_reduced_and_the_loss_is_told(embedded: Path, tmp_path: Path) -> None:
    result = reduce(embedded, PCA, tmp_path)
    before, after = read_table(embedded / "vectors"), read_table(tmp_path / "vectors")
    assert after.drop_columns("vector").equals(before.drop_columns("vector"))
    np.testing.assert_allclose(np.linalg.norm(matrix(after), axis=1), 1, atol=1e-5)
    assert (result["passages"], result["dim"], result["bytes_per_vector"]) == (5000, 64, 64)
    assert 0 < result["recall_at_10"] < result["recall_at_10_rescored"] < 1  # random vectors: nothing to compress
    assert 64 / 384 < result["kept_length"] < 0.5
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["dim"], manifest["storage"], manifest["fingerprint"]) == (64, "int8", result["fingerprint"])
    assert result["fingerprint"] != json.loads((embedded / "manifest.json").read_text())["fingerprint"]


def test_what_is_done_is_kept_and_the_rest_comes_out_the_same(embedded: Path, tmp_path: Path) -> None:
    reduce(embedded, PCA, tmp_path)
    whole = checksums(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "vectors" / partition_name(1)).unlink()
    (tmp_path / "vectors" / f".{partition_name(1)}.unfinished").write_bytes(b"cut sh")
    untouched = (tmp_path / "vectors" / partition_name(0)).stat().st_mtime_ns
    assert reduce(embedded, PCA, tmp_path)["kept_passages"] == 5000 - 2048
    assert checksums(tmp_path) == whole
    assert (tmp_path / "vectors" / partition_name(0)).stat().st_mtime_ns == untouched
    assert list(tmp_path.rglob(".*")) == []
    (tmp_path / "projection.safetensors").unlink()  # killed before it was saved: it is fitted again, and is the same
    reduce(embedded, PCA, tmp_path)
    assert checksums(tmp_path) == whole


def test_storage_alone_keeps_the_encoders_fingerprint(embedded: Path, tmp_path: Path) -> None:
    result = reduce(embedded, ReduceConfig(storage="float16"), tmp_path)
    assert result["fingerprint"] == "stub" and result["recall_at_10"] > 0.99
    assert "kept_length" not in result and not (tmp_path / "projection.safetensors").exists()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (ReduceConfig(method="random", dim=385), "385 is more than the 384 dimensions"),
        (ReduceConfig(method="pca", dim=64, sample_rows=63), "at least as many passages, there are 63"),
        (ReduceConfig(method="matryoshka", dim=30, storage="binary"), "30 is no multiple of 8"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(
    embedded: Path, tmp_path: Path, config: ReduceConfig, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        reduce(embedded, config, tmp_path)
    assert list(tmp_path.iterdir()) == []


RUN = """\
name: small
workspace: {folder}/workspace
source:
  pydocs: {{packages: [networkx], max_documents: 60}}
chunk: {{max_chars: null}}
encoder: {{hashed: {{dim: 384}}}}
embed: {{storage: float16}}
reduce: {{method: pca, dim: 24, storage: int8}}
train: {{optimizer: {{epochs: 1}}, scorer: {{folds: 1, epochs: 2}}}}
"""


def test_a_run_searches_and_links_by_what_it_reduced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(RUN.format(folder=tmp_path))

    def result(*words: str) -> dict[str, Any]:
        assert main([words[0], str(path), *words[1:], "--json"]) == 0
        parsed: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return parsed

    reduced = result("reduce")["reduce"]
    assert (reduced["method"], reduced["dim"], reduced["storage"]) == ("pca", 24, "int8")
    (stored,) = (tmp_path / "workspace" / "embed").glob("*/manifest.json")
    assert json.loads(stored.read_text())["storage"] == "float16"
    (passages,) = (tmp_path / "workspace" / "chunk").glob("*/passages")
    for row in read_table(passages).to_pylist()[:3]:  # a passage that is asked for by itself has the same vector
        hits = result("search", passage_text(row["title"], row["text"]), "--mode", "dense", "--top-k", "1")["hits"]
        assert hits[0]["document_id"] == row["document_id"] and hits[0]["score"] > 0.99
    (meta,) = (tmp_path / "workspace" / "index").glob("*/meta.json")
    assert json.loads(meta.read_text())["dim"] == 24
    own = passage_text(row["title"], row["text"])
    hits = result("search", own, "--mode", "dense", "--top-k", "1", "--index.rescore", "3")["hits"]
    assert hits[0]["document_id"] == row["document_id"] and hits[0]["score"] > 0.999
    (full,) = (tmp_path / "workspace" / "index").glob("*/full_vectors.npy")
    assert np.load(full, mmap_mode="r").shape[1] == 384

    text = "Returns the degree of each node of the graph."  # its vector has the few dimensions of the graph's
    links = result("link", "--text", text, "--top", "5")["proposals"]
    assert len(links) == 5 and all(0 <= link["probability"] <= 1 for link in links)

    path.write_text(path.read_text().replace("reduce: {method: pca, dim: 24, storage: int8}", ""))
    assert main(["reduce", str(path)]) == 2
    assert "nothing to reduce: reduce.method is none and reduce.storage float32" in capsys.readouterr().err
