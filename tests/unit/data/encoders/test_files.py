"""Files that an encoder's config names are part of what an artifact is: other weights under the same path change it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from data.encoders.config import TransformerConfig, read_encoder
from data.encoders.files import contents
from ray_apps.config import load_run
from ray_apps.plan import Plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file larger than what is read of it."""
    model = tmp_path / "model"
    (model / "1_Pooling").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "1_Pooling" / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    return model


def test_a_copy_is_the_same_and_other_weights_are_not(folder: Path) -> None:
    config = TransformerConfig(model=str(folder))
    before = contents(config)
    assert list(before) == ["0.0"]
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes())  # a new time, the same bytes
    (folder / "README.md").write_text("described")
    assert contents(config) == before
    moved = shutil.copytree(folder, folder.parent / "elsewhere")
    assert contents(TransformerConfig(model=str(moved))) == before
    weights.write_bytes(np.random.default_rng(1).bytes(3_000_000))
    other = contents(config)
    assert other != before
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert contents(config) != other


def test_files_of_members_and_fallbacks_count_and_names_do_not(tmp_path: Path, folder: Path) -> None:
    idf = tmp_path / "idf.safetensors"
    hashed = {"hashed": {"dim": 64, "idf": str(idf)}}
    config = read_encoder({"ensemble": {"members": [{"model": str(folder)}, {"hashed": {}}]}, "fallback": [hashed]})
    assert list(contents(config)) == ["0.0"]  # the other file is not there yet
    idf.write_bytes(b"1")
    one = contents(config)
    idf.write_bytes(b"2")
    assert set(one) == {"0.0", "3.0"} and contents(config) != one
    assert contents(TransformerConfig()) == {}


def test_other_weights_are_another_artifact(tmp_path: Path, folder: Path) -> None:
    run_file = tmp_path / "run.yaml"
    documents = tmp_path / "documents.jsonl"
    documents.write_text('{"id": "a", "text": "b"}\n')
    run_file.write_text(
        f"name: r\nworkspace: {tmp_path}/ws\nsource: {{files: {{documents: {{path: {documents}}}}}}}\n"
        f"encoder: {{model: {folder}}}\n"
    )
    run, before = load_run(run_file), Plan(load_run(run_file))
    chunked, embedded = before.artifact("chunk").path, before.artifact("embed").path
    (folder / "config.json").write_text('{"layers": 2}')
    assert before.artifact("embed").path == embedded  # a plan is made of what it found
    assert Plan(run).artifact("embed").path != embedded and Plan(run).artifact("chunk").path == chunked
