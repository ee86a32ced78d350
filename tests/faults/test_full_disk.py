"""The disk full in mid-partition: one message, nothing half-written under its name, and the job goes on afterwards."""

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts import locate, materialise
from data.cache.stored import FOLDER, _create
from data.encoders.transformer.token_vectors import TokenVectors
from data.errors import InputError
from data.files import report_full_disk
from data.partitions import partition_name, read_table, write_partition
from data.vectors.multivectors import multivector_table, write_multivectors
from ray_apps.cli import main
from tests.results import AnyResult

FULL = Path("/dev/full")  # the kernel answers every write to it as a full disk does
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full on this system")


def test_a_partition_is_not_half_there(tmp_path: Path) -> None:
    path = tmp_path / partition_name(0)
    (tmp_path / f".{path.name}.{os.getpid()}.unfinished").symlink_to(FULL)
    with pytest.raises(InputError, match=f"the disk is full: {path} could not be written"):
        write_partition(pa.table({"id": ["a"] * 10_000}), path)
    assert list(tmp_path.iterdir()) == []


def test_a_partition_of_multivectors_is_not_half_there(tmp_path: Path) -> None:
    path = tmp_path / partition_name(0)
    (tmp_path / f".{path.name}.{os.getpid()}.unfinished").symlink_to(FULL)
    vectors = np.random.default_rng(0).normal(size=(500, 16)).astype(np.float32)
    table = multivector_table(["a"], ["a"], TokenVectors(vectors, np.array([0, 500])), "float32")
    with pytest.raises(InputError, match=f"the disk is full: {path} could not be written"):
        write_multivectors([table] * 50, path)
    assert list(tmp_path.iterdir()) == []


SMALL = Path("/dev/shm")  # a file system in memory of a fixed size: more than all of it is refused at once


@pytest.mark.skipif(not SMALL.is_dir() or not os.statvfs(SMALL).f_blocks, reason="no /dev/shm of a fixed size here")
def test_an_index_of_hashes_that_does_not_fit_is_told_and_no_bus_error() -> None:
    size = os.statvfs(SMALL).f_blocks * os.statvfs(SMALL).f_frsize
    with tempfile.TemporaryDirectory(dir=SMALL) as folder:
        (Path(folder) / FOLDER).mkdir()
        with pytest.raises(InputError, match="the disk is full"), report_full_disk(Path(folder)):
            _create(Path(folder), "head", size // 4)  # twice as large


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_whatever_a_stage_writes_is_told_alike_and_the_stage_is_not_done(tmp_path: Path, number: int) -> None:
    artifact = locate(tmp_path, "embed", {})

    def work(out: Path) -> Mapping[str, Any]:
        raise OSError(number, "no room", str(out))

    with pytest.raises(InputError, match="the disk is full"):
        materialise(artifact, work)
    assert not artifact.done
    assert materialise(artifact, lambda out: AnyResult(rows=1)).result["rows"] == 1


@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_a_disk_that_is_full_at_the_first_or_the_last_file_is_the_same_error(tmp_path: Path, name: str) -> None:
    artifact = locate(tmp_path, "embed", {})
    artifact.path.mkdir(parents=True)
    (artifact.path / name).symlink_to(FULL)
    with pytest.raises(InputError, match="the disk is full"):
        materialise(artifact, lambda out: AnyResult(rows=1))
    assert not artifact.done


def test_embedding_stops_with_one_message_and_goes_on_when_there_is_space(
    tmp_path: Path, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    documents, run_file = tmp_path / "documents.jsonl", tmp_path / "run.yaml"
    full = tmp_path / "full"
    full.touch()
    rows = [{"id": f"d{n}", "title": "", "text": str(full) if n == 25 else f"text {n}"} for n in range(40)]
    documents.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_file.write_text(
        f"name: full\nworkspace: {tmp_path}/workspace\nsource: {{files: {{documents: {{path: {documents}}}}}}}\n"
        "chunk: {partition_rows: 10}\nencoder: {model: 'tests.faults.full_disk_encoder:load'}\n"
    )

    assert main(["embed", str(run_file)]) == 2
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "the disk is full" in errors[0] and partition_name(2) in errors[0]
    assert "Traceback" not in said
    (vectors,) = tmp_path.glob("workspace/embed/*/vectors")
    assert not (vectors / partition_name(2)).exists() and not (vectors.parent / "_SUCCESS").exists()
    done = {path: path.stat().st_mtime_ns for path in vectors.glob("part-*")}

    full.unlink()
    assert main(["embed", str(run_file), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["embed"]
    assert result["kept_passages"] == 10 * len(done) and result["passages"] == 40
    assert {path: path.stat().st_mtime_ns for path in done} == done
    (passages,) = tmp_path.glob("workspace/chunk/*/passages")
    assert read_table(vectors)["id"].to_pylist() == read_table(passages)["id"].to_pylist()
    assert list(vectors.glob(".*")) == []
