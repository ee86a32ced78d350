"""kill -9 of the embedding actor, and of the driver in mid-run: the same rows at the end, each passage exactly once."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest

from data.embedding.actor import EmbedPartition
from data.embedding.config import EmbedConfig
from data.embedding.embed import embed
from data.encoders.config import PluginConfig
from data.partitions import count_rows, partition_name, partitions, read_table, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.schema import DOCUMENTS

REPOSITORY = Path(__file__).resolve().parents[2]
ACTOR = "EmbedPartition"  # in the title that Ray gives the actor's process
RUN = """
name: killed
workspace: {folder}/workspace
ray: {{num_cpus: 2, object_store_mb: 128}}
source:
  files:
    documents: {{path: {folder}/documents.jsonl}}
chunk: {{partition_rows: 40}}
encoder: {{model: "tests.ray.slow_encoder:load"}}
"""
SLOW = PluginConfig(model="tests.ray.slow_encoder:load")


@pytest.fixture(scope="module")
def corpus() -> list[dict[str, str]]:
    """Documents in 15 partitions or more, each of which takes a third of a second."""
    rng = np.random.default_rng(0)
    words = "moon sea harbour sparse matrix inverse verse kernel graph pilot almanac column wind".split()
    texts = [" ".join(rng.choice(words, rng.integers(80, 150))) for _ in range(600)]
    return [{"id": f"d{number}", "title": f"Title {number}", "text": text} for number, text in enumerate(texts)]


@pytest.fixture
def run_file(corpus: list[dict[str, str]], tmp_path: Path) -> Path:
    """A run over it."""
    with (tmp_path / "documents.jsonl").open("w") as file:
        file.writelines(json.dumps(document) + "\n" for document in corpus)
    (tmp_path / "run.yaml").write_text(RUN.format(folder=tmp_path))
    return tmp_path / "run.yaml"


def start(run_file: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ray_apps.embed", str(run_file), "--json"]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def finished(folder: Path) -> dict[str, str]:
    """Checksum of every partition that is there."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("vectors/part-*.parquet")}


def undisturbed(passages: Path, folder: Path) -> dict[str, str]:
    """Checksums of the partitions as they come out where nothing is killed, and no Ray is near."""
    (folder / "vectors").mkdir(parents=True)
    actor = EmbedPartition(
        PluginConfig(model="benchmarks.embed.stub_encoder:load"), EmbedConfig().batch_tokens, 2, folder / "vectors"
    )
    for path in partitions(passages):
        actor(path)
    return finished(folder)


def actors(of: int) -> list[psutil.Process]:
    """The processes among a process's descendants that embed."""
    everyone = psutil.Process(of).children(recursive=True)
    return [process for process in everyone if ACTOR in " ".join(process.cmdline())]


def test_a_killed_driver_started_again_ends_with_the_same_rows(run_file: Path, tmp_path: Path) -> None:
    workspace = run_file.parent / "workspace"
    driver = start(run_file)
    try:
        wait_for(lambda: driver.poll() is not None or len(finished(workspace)) >= 2)
        assert driver.poll() is None, driver.communicate()[1]
        embedding = actors(driver.pid)
        left_behind = psutil.Process(driver.pid).children(recursive=True)
    finally:
        driver.kill()
        driver.communicate()
    assert embedding
    assert psutil.wait_procs(embedding, timeout=60)[1] == [], "the killed driver's actor goes on embedding"
    for process in psutil.wait_procs(left_behind, timeout=1)[1]:  # Ray's own agents outlive a killed head for a while
        process.kill()
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("vectors/part-*.parquet")}

    again = start(run_file)
    out, err = again.communicate(timeout=180)
    assert again.returncode == 0, err
    result = json.loads(out.splitlines()[-1])["embed"]
    (passages,) = workspace.glob("chunk/*/passages")
    (vectors,) = workspace.glob("embed/*/vectors")
    assert result["kept_passages"] == 40 * len(before) > 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(before) < len(partitions(passages))
    assert read_table(vectors)["id"].to_pylist() == read_table(passages)["id"].to_pylist()
    assert list(vectors.glob(".*")) == []
    assert finished(vectors.parent) == undisturbed(passages, tmp_path / "undisturbed")


def test_a_killed_actor_is_replaced_and_the_rows_are_the_same(
    corpus: list[dict[str, str]], cluster: None, tmp_path: Path
) -> None:
    (tmp_path / "documents").mkdir()
    write_partition(pa.Table.from_pylist(corpus, schema=DOCUMENTS), tmp_path / "documents" / partition_name(0))
    chunk(tmp_path / "documents", ChunkConfig(partition_rows=40), tmp_path)
    passages, out, killed = tmp_path / "passages", tmp_path / "embedded", []

    def kill_actor() -> None:
        wait_for(lambda: len(finished(out)) >= 2)
        for process in actors(os.getpid()):
            process.kill()
            killed.append(process.pid)

    killer = threading.Thread(target=kill_actor)
    killer.start()
    result = embed(passages, SLOW, EmbedConfig(), out)
    killer.join()
    assert len(killed) == 1, "no actor was killed, or more than one"
    assert read_table(out / "vectors")["id"].to_pylist() == read_table(passages)["id"].to_pylist()
    assert result["passages"] == count_rows(passages) and result["documents"] == len(corpus)
    assert finished(out) == undisturbed(passages, tmp_path / "undisturbed")
