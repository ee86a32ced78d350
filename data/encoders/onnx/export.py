"""A sentence-transformers model as one ONNX graph, from token numbers to unit vectors, in a folder with a description.

The graph on disk is the exporter's own: ONNX Runtime fuses it when a session opens, for the processor it opens on.
Opset 20 has GELU and layer normalisation as operators, and eager attention leaves 5 operators a layer where the
decomposed SDPA leaves 9: 1,067 against 1,237 ms on a batch of 8 by 240 tokens.
"""

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from data.errors import InputError
from data.files import whole_or_absent

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from data.encoders.transformer.encoder import SentenceEncoder

MODEL, DESCRIPTION = "model.onnx", "export.json"
INPUTS, OUTPUT = ("input_ids", "attention_mask"), "sentence_embedding"
OPSET = 20
MISSING = "Install what exports and runs ONNX models: pip install 'catena[onnx]'."


class Export(BaseModel):
    """Description of an exported model; written last, so that its presence means that the folder is complete."""

    model_config = ConfigDict(frozen=True)

    model: str  # fingerprint of the model in fp32
    precision: str
    dim: int
    sha256: str  # of model.onnx: of int8, it covers the calibration
    calibration_passages: int = 0
    quantised: int = 0  # matrix products in int8
    left_in_fp32: tuple[str, ...] = ()


def export_model(model: "SentenceTransformer", fingerprint: str, folder: Path) -> Export:
    """Write ``model.onnx`` in fp32 and, last, ``export.json``.

    Args:
        model: on the CPU, in fp32.
        fingerprint: of the model.
        folder: exists.

    Raises:
        InputError: if ONNX is not installed, or the model cannot be exported.
    """
    graph = trace(model)
    described = Export(model=fingerprint, precision="fp32", dim=_dim(model), sha256="")
    return write_export(folder, described, lambda path: path.write_bytes(graph.SerializeToString()))


def write_export(folder: Path, described: Export, write_model: Callable[[Path], object]) -> Export:
    """Write a model, and its description when the model is whole.

    Args:
        folder: of the export.
        described: the description; its checksum is filled in.
        write_model: writes ``model.onnx`` to the path that it is called with.

    Returns:
        The description as written.
    """
    with whole_or_absent(folder / MODEL) as unfinished:
        write_model(unfinished)
        whole = described.model_copy(update={"sha256": _sha256(unfinished)})
    with whole_or_absent(folder / DESCRIPTION) as unfinished:
        unfinished.write_text(whole.model_dump_json(indent=2))
    return whole


def read_export(folder: Path) -> Export:
    """Read the description of an exported model and check the model's bytes.

    Raises:
        InputError: if the folder has no exported model, or a damaged one.
    """
    path = folder / DESCRIPTION
    try:
        described = Export.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(
            f"encoder.exported: {folder} holds no exported model: {path.name} cannot be read ({type(error).__name__})",
            "Remove the folder, so that the run exports the model again, or name a folder that a run has made.",
        ) from error
    if not (folder / MODEL).is_file() or _sha256(folder / MODEL) != described.sha256:
        raise InputError(
            f"encoder.exported: {folder / MODEL} is missing or damaged: it is not what {path.name} describes",
            "Remove the folder: the run exports the model again.",
        )
    return described


def trace(model: "SentenceTransformer") -> Any:  # noqa: ANN401 - an onnx.ModelProto; onnx is optional
    """The model's graph: int64 ``input_ids`` and ``attention_mask`` (batch, tokens) to float32 (batch, dim).

    Raises:
        InputError: if ONNX is not installed, or the model cannot be exported.
    """
    import torch

    require("onnx", "onnxscript", "onnxruntime")
    numbers = torch.arange(3 * 17).reshape(3, 17) % min(50, len(model.tokenizer))
    mask = torch.ones_like(numbers)
    mask[1, 9:] = 0  # no length is special: a mask of ones alone could be folded away
    sizes = {0: "batch", 1: "tokens"}
    try:
        with _eager_attention(model), _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                _as_module(model),
                (numbers, mask),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_shapes=(sizes, sizes),
                verbose=False,
            )
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:  # OnnxExporterError is a RuntimeError
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"encoder.backend: onnx: the model cannot be exported: {type(error).__name__}: {reason.strip()[:300]}",
            "Use backend: torch, which runs any sentence-transformers model.",
        ) from error
    assert program is not None
    return program.model_proto


def batches_of(
    encoder: "SentenceEncoder", texts: Sequence[str], size: int = 8
) -> Iterator[dict[str, npt.NDArray[np.int64]]]:
    """Inputs of an exported model for some documents, int64 (texts, longest) each.

    Args:
        encoder: of the model, in torch on a CPU.
        texts: in the order in which they are put together.
        size: texts in a batch.
    """
    tokens = encoder.batches.tokenise(texts, encoder.batches.prompts.document).numbers
    for start in range(0, len(tokens), size):
        features = encoder.batches.features(tokens[start : start + size])
        yield {name: features[name].numpy() for name in INPUTS}


def require(*modules: str) -> None:
    """Check that optional libraries are installed.

    Raises:
        InputError: if one is not.
    """
    import importlib

    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise InputError(f"encoder.backend: onnx needs {module}, which is not installed", MISSING) from error


def _as_module(model: "SentenceTransformer") -> "torch.nn.Module":
    import torch

    class Whole(torch.nn.Module):
        """All modules of the model in a row, and the division by the length."""

        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(list(model))

        def forward(self, input_ids: "torch.Tensor", attention_mask: "torch.Tensor") -> "torch.Tensor":
            features: dict[str, Any] = {"input_ids": input_ids, "attention_mask": attention_mask}
            for part in self.parts:
                features = part(features)
            return torch.nn.functional.normalize(features["sentence_embedding"], dim=1)

    return Whole().eval()


@contextlib.contextmanager
def _eager_attention(model: "SentenceTransformer") -> Iterator[None]:
    transformer: Any = model[0].auto_model
    before = transformer.config._attn_implementation
    transformer.set_attn_implementation("eager")
    try:
        yield
    finally:
        transformer.set_attn_implementation(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of what it does itself: names of axes, deprecated calls, a torchvision that is not there."""
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(before)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dim(model: "SentenceTransformer") -> int:
    return int(model.get_embedding_dimension() or 0)
