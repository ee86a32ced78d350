"""The stage that makes vectors smaller, without a cluster: its config, one partition, its place in a run."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.cache.keys import text_hashes
from data.embedding.config import ReduceConfig
from data.embedding.reduce import ReducePartition
from data.encoders.protocol import Encoded
from data.errors import InputError
from data.partitions import partition_name, read_table
from data.vectors.projection import truncation
from data.vectors.quantise import STORAGES, Storage, decode, encode
from data.vectors.read import matrix
from data.vectors.table import describe, write_vectors
from ray_apps.config import RunConfig, load_run
from ray_apps.plan import Plan

DIM = 16


class Maker:
    """What an encoder leaves in the files it makes."""

    fingerprint, dim, precision, cosine_to_fp32 = "made", DIM, "bf16", 0.9997


@pytest.fixture
def source(tmp_path: Path) -> Path:
    raw = np.random.default_rng(0).standard_normal((9, DIM))
    vectors = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    ids, documents = (pa.chunked_array([[f"{kind}{i}" for i in range(9)]]) for kind in "pd")
    path = tmp_path / partition_name(0)
    hashes = text_hashes([str(number) for number in range(9)])
    write_vectors(ids, documents, hashes, Encoded(vectors, np.arange(9, dtype=np.int32), 0.0), Maker(), path)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dim", [None, 8])
def test_a_partition_keeps_everything_but_the_size_of_its_vectors(
    source: Path, tmp_path: Path, storage: Storage, dim: int | None
) -> None:
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / source.name
    projection = None if dim is None else truncation("made", DIM, dim)
    ReducePartition(projection, storage, out.parent)(source)
    before, after = (read_table(path.parent) for path in (source, out))
    assert after.drop_columns("vector").equals(before.drop_columns("vector"))
    assert after.schema.names == before.schema.names
    full = matrix(before) if projection is None else projection(matrix(before))
    np.testing.assert_array_equal(matrix(after), decode(encode(full, storage), storage))
    described = describe(out)
    assert (described.storage, described.dim) == (storage, dim or DIM)
    assert described.fingerprint == ("made" if projection is None else projection.fingerprint)
    assert (described.precision, described.cosine_to_fp32, described.tokens) == ("bf16", 0.9997, 36)
    first = out.read_bytes()
    ReducePartition(projection, storage, out.parent)(source)
    assert out.read_bytes() == first


def test_config_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="method 'pca' needs `dim`"):
        ReduceConfig(method="pca")
    with pytest.raises(ValueError, match="method 'none' takes no `dim`"):
        ReduceConfig(dim=64)
    assert not ReduceConfig().active
    assert ReduceConfig(storage="int8").active and ReduceConfig(method="random", dim=3).active


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(f"name: small\nworkspace: {tmp_path / 'w'}\nsource: {{pydocs: {{packages: [networkx]}}}}\n")
    return path


def needs(run: RunConfig, stage: str) -> set[str]:
    return {made.stage for made in Plan(run).inputs(stage).values()}


def test_a_run_without_it_has_no_such_stage_and_reads_the_encoders_vectors(run_file: Path) -> None:
    run = load_run(run_file)
    assert "reduce" not in Plan(run).names()
    assert needs(run, "index") == {"ingest", "chunk", "embed"} and needs(run, "graph") == {"ingest", "split", "embed"}
    tuned = load_run(run_file, ["--reduce.seed", "3"])  # says nothing as long as nothing is reduced
    assert Plan(tuned).artifact("index") == Plan(run).artifact("index")


def test_a_run_with_it_builds_on_the_smaller_vectors(run_file: Path) -> None:
    plain, run = load_run(run_file), load_run(run_file, ["--reduce.method", "pca", "--reduce.dim", "64"])
    assert Plan(run).names()[3:6] == ["embed", "reduce", "index"]
    assert needs(run, "reduce") == {"embed"}
    assert needs(run, "index") == {"ingest", "chunk", "reduce"} and needs(run, "graph") == {"ingest", "split", "reduce"}
    assert Plan(run).artifact("embed") == Plan(plain).artifact("embed")
    for stage in ("index", "graph", "train", "evaluate_search", "evaluate_links", "discover"):
        assert Plan(run).artifact(stage) != Plan(plain).artifact(stage)


def test_rescoring_is_refused_where_nothing_is_reduced(run_file: Path) -> None:
    with pytest.raises(InputError, match="index: rescore 4 puts in order") as raised:
        load_run(run_file, ["--index.rescore", "4"])
    assert "set reduce.storage or reduce.method, or rescore: 0" in raised.value.problem
    smaller = ["--reduce.storage", "binary"]
    plain, run = load_run(run_file, smaller), load_run(run_file, [*smaller, "--index.rescore", "4"])
    assert Plan(run).artifact("reduce") == Plan(plain).artifact("reduce") and Plan(run).artifact("index") != Plan(
        plain
    ).artifact("index")
