"""A Triton model repository is read back as it was written, and nothing else is read."""

from pathlib import Path

import pytest

from data.encoders.onnx.triton import TritonModel, model_name, read_repository, write_repository
from data.errors import InputError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    return write_repository(tmp_path / "model.onnx", "minilm-fp32", 384, tmp_path / "repository")


def test_what_is_written_is_what_triton_documents(place: Path) -> None:
    assert (place / "1" / "model.onnx").read_bytes() == b"graph"
    assert sorted(path.name for path in place.iterdir()) == ["1", "config.pbtxt"]
    text = (place / "config.pbtxt").read_text()
    for line in (
        'name: "minilm-fp32"',
        'backend: "onnxruntime"',
        "max_batch_size: 64",
        "data_type: TYPE_INT64",
        "data_type: TYPE_FP32",
        "dims: 384",
        "dynamic_batching {",
        "max_queue_delay_microseconds: 2000",
    ):
        assert line in text
    assert read_repository(place) == TritonModel(
        "minilm-fp32", ("input_ids", "attention_mask"), "sentence_embedding", 384
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("max_batch_size: 64", "max_batch_sise: 64"),
        ("max_batch_size: 64", 'max_batch_size: "many"'),
        ("TYPE_INT64", "TYPE_FP32"),
        ("TYPE_INT64", "TYPE_INT46"),
        ("dynamic_batching {", "dynamic_batching"),
    ],
)
def test_a_configuration_of_another_form_is_refused(place: Path, before: str, after: str) -> None:
    path = place / "config.pbtxt"
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(InputError, match=r"config\.pbtxt: .*\n  Export the model again"):
        read_repository(place)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        write_repository(tmp_path / "model.onnx", "minilm", 384, tmp_path / "file")


def test_names_are_ones_that_triton_takes() -> None:
    assert model_name("org/e5-small-v2.1", "int8") == "e5-small-v2-1-int8"
