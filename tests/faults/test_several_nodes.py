"""Machines that are lost and machines that come, in the middle of an embedding: the same rows, and figures to watch."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.embedding.actor import EmbedPartition
from data.encoders.config import PluginConfig
from data.partitions import partition_name, partitions, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.schema import DOCUMENTS

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS, PARTITION_ROWS = 600, 20

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Passages in 30 partitions, and their vectors as they come out where nothing happens."""
    folder = tmp_path_factory.mktemp("nodes")
    rows = [{"id": f"d{n}", "title": "", "text": f"text number {n}"} for n in range(ROWS)]
    (folder / "documents").mkdir()
    write_partition(pa.Table.from_pylist(rows, schema=DOCUMENTS), folder / "documents" / partition_name(0))
    chunk(folder / "documents", ChunkConfig(partition_rows=PARTITION_ROWS), folder)
    (folder / "undisturbed/vectors").mkdir(parents=True)
    actor = EmbedPartition(
        PluginConfig(model="benchmarks.embed.stub_encoder:load"), 1, 1, folder / "undisturbed/vectors"
    )
    for path in partitions(folder / "passages"):
        actor(path)
    return folder


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    """What the script saw of its jobs."""
    script = Path(__file__).with_name("several_nodes.py")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(script), str(folder / "passages"), str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def checksums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("vectors/part-*")}


def test_a_job_that_loses_a_machine_ends_with_the_same_rows(folder: Path, seen: dict[str, Any]) -> None:
    assert 8 <= seen["lost"]["acted_at"] < ROWS // PARTITION_ROWS, "the machine was not lost in mid-run"
    assert seen["lost"]["result"]["passages"] == ROWS
    assert checksums(folder / "lost") == checksums(folder / "undisturbed")
    assert list((folder / "lost/vectors").glob(".*")) == []


def test_a_pool_grows_beyond_its_first_actor_while_partitions_wait(seen: dict[str, Any]) -> None:
    assert 2 <= seen["lost"]["actors"] <= 3


def test_a_gpu_is_waited_for_and_shared_by_two_encoders(folder: Path, seen: dict[str, Any]) -> None:
    assert seen["gpu"]["actors"] == 2 and seen["gpu"]["gpu_left"] == 0.0
    assert checksums(folder / "gpu") == checksums(folder / "undisturbed")


def test_metrics_are_exported_while_the_job_runs(seen: dict[str, Any]) -> None:
    for job in ("lost", "gpu"):
        metrics = seen[job]["metrics"]
        assert 0 < metrics["catena_embed_passages"] <= ROWS
        assert 3 * metrics["catena_embed_passages"] == metrics["catena_embed_tokens"]
        assert metrics["catena_embed_partition_seconds_count"] == metrics["catena_embed_passages"] / PARTITION_ROWS
        assert metrics["catena_embed_padding_share"] == 0.0
