"""A model on ONNX Runtime gives the model's vectors; in int8, near ones; and what cannot be run is refused."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.encoders import load_encoder
from data.encoders.config import OnnxConfig, TransformerConfig, read_encoder
from data.encoders.forms import reference_encoder
from data.encoders.model_config import in_form
from data.encoders.onnx.encoder import fingerprint_of, open_session
from data.encoders.onnx.export import DESCRIPTION, MODEL, batches_of, export_model, read_export, trace
from data.encoders.onnx.int8 import quantise
from data.encoders.transformer.models import open_model
from data.encoders.transformer.precision import TEXTS
from data.errors import InputError


@pytest.fixture(scope="module")
def exact(small_model: Path) -> TransformerConfig:
    return TransformerConfig(model=str(small_model), precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def exported(small_model: Path, exact: TransformerConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp32")
    export_model(open_model(str(small_model), "cpu", None), load_encoder(exact).fingerprint, folder)
    return folder


@pytest.fixture(scope="module")
def quantised(exact: TransformerConfig, exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    quantise(exported, list(batches_of(reference_encoder(exact), TEXTS, size=4)), len(TEXTS), folder)
    return folder


def on_onnx(exact: TransformerConfig, folder: Path, precision: str = "fp32") -> OnnxConfig:
    on_onnx = in_form(exact, f"onnx {precision}", folder)
    assert isinstance(on_onnx, OnnxConfig)
    return on_onnx


def test_vectors_are_those_of_torch_in_any_batch(exact: TransformerConfig, exported: Path) -> None:
    texts = [*TEXTS, "", "\ud800", "word " * 2000]
    encoder = load_encoder(on_onnx(exact, exported), batch_tokens=512, threads=2)
    encoded = encoder.encode_counted(texts)
    plain = load_encoder(exact).encode_counted(texts)
    assert (encoded.vectors * plain.vectors).sum(axis=1).min() > 0.99999
    assert encoded.vectors.dtype == np.float32 and encoded.tokens.tolist() == plain.tokens.tolist()
    assert encoder.precision == "fp32" and encoder.fingerprint == load_encoder(exact).fingerprint


def test_int8_is_near_and_bears_a_fingerprint_of_its_calibration(
    exact: TransformerConfig, exported: Path, quantised: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(on_onnx(exact, quantised, "int8"))
    cosine = (encoder.encode(TEXTS) * load_encoder(exact).encode(TEXTS)).sum(axis=1)
    assert 0.99 < cosine.min() < 0.99999
    assert encoder.cosine_to_fp32 == pytest.approx(cosine.min(), abs=1e-3)
    other = quantise(exported, list(batches_of(reference_encoder(exact), ["moon", "a sparse matrix"])), 2, tmp_path)
    assert len({encoder.fingerprint, fingerprint_of(other), other.model}) == 3


def test_int8_is_in_the_graph_and_only_in_products_with_weights(quantised: Path) -> None:
    import onnx

    nodes = onnx.load(quantised / MODEL).graph.node
    described = read_export(quantised)
    assert described.quantised + len(described.left_in_fp32) == 12  # 6 a layer
    assert described.quantised >= 8 and described.calibration_passages == len(TEXTS)
    rounded = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    products = [node for node in nodes if node.op_type == "MatMul"]
    assert sum(set(node.input) <= rounded for node in products) == described.quantised
    assert {node.op_type for node in nodes} >= {"LayerNormalization", "Gelu", "Softmax"}


def test_moving_size_into_the_weights_makes_the_error_smaller(exact: TransformerConfig, exported: Path) -> None:
    import onnx

    from data.encoders.onnx.int8 import _calibrate, _weighted_inputs

    graph = onnx.load(exported / MODEL)
    inputs = _weighted_inputs(graph)
    _calibrate(graph, inputs, list(batches_of(reference_encoder(exact), TEXTS)))
    large = max(inputs.values(), key=lambda found: found.largest_K.max() / np.median(found.largest_K))
    assert large.error(large.scales(0.5)) < 0.5 * large.error(large.scales(0.0))


def test_a_damaged_file_is_told(exact: TransformerConfig, exported: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported, tmp_path / "copy"))
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:5000])
    with pytest.raises(InputError, match=r"model\.onnx is missing or damaged"):
        load_encoder(on_onnx(exact, folder))
    with pytest.raises(InputError, match=r"model\.onnx: ONNX Runtime cannot open it"):
        open_session(folder / MODEL, "cpu")
    (folder / DESCRIPTION).write_text("{")
    with pytest.raises(InputError, match=r"holds no exported model: export\.json cannot be read"):
        load_encoder(on_onnx(exact, folder))


def test_a_folder_of_another_model_or_precision_is_told(exact: TransformerConfig, exported: Path) -> None:
    with pytest.raises(InputError, match=r"in fp32; .* is .*, in int8"):
        load_encoder(on_onnx(exact, exported, "int8"))
    with pytest.raises(InputError, match="holds model"):
        load_encoder(on_onnx(exact.model_copy(update={"max_length": 16}), exported))
    with pytest.raises(InputError, match="backend onnx runs an exported model, and none is named"):
        load_encoder(in_form(exact, "onnx fp32"))


def test_a_prompt_that_pooling_leaves_out_is_told(
    exact: TransformerConfig, exported: Path, tiny: Callable[..., Path]
) -> None:
    model = {"model": str(tiny(include_prompt=False))}
    with pytest.raises(InputError, match="leaves the prompt out"):
        load_encoder(on_onnx(exact.model_copy(update=model), exported))


@pytest.mark.parametrize(("backend", "precision"), [("torch", "int8"), ("onnx", "bf16")])
def test_a_precision_that_a_backend_lacks_is_told(backend: str, precision: str) -> None:
    with pytest.raises(ValueError, match=f"backend {backend} has no precision {precision}"):
        read_encoder({"backend": backend, "precision": precision})


def test_a_missing_library_is_told(
    exact: TransformerConfig, exported: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"needs onnxruntime, which is not installed\n  .*catena\[onnx\]"):
        load_encoder(on_onnx(exact, exported))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match="needs onnxscript, which is not installed"):
        trace(open_model(str(small_model), "cpu", None))


def test_a_model_that_cannot_be_exported_is_told(small_model: Path) -> None:
    opened = open_model(str(small_model), "cpu", None)

    class DependsOnValues(torch.nn.Module):
        """Which way it goes is not known before it runs."""

        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            if features["sentence_embedding"].sum() > 0:
                features["sentence_embedding"] = -features["sentence_embedding"]
            return features

    opened.append(DependsOnValues())
    with pytest.raises(InputError, match=r"the model cannot be exported: .*\n  Use backend: torch"):
        trace(opened)


def test_a_device_that_onnx_runtime_lacks_is_told(exported: Path) -> None:
    with pytest.raises(InputError, match="does not compute on mps"):
        open_session(exported / MODEL, "mps")
