"""A model as infinity's engine ``optimum`` reads it: the folder's own files, and its transformer as an ONNX graph."""

import json
import shutil
import warnings
from pathlib import Path

import torch

from data.encoders.onnx.export import INPUTS, MODEL, require
from data.encoders.transformer.models import find_model, open_model

OUTPUT = "last_hidden_state"  # infinity pools and normalises itself
OPSET = 17


def lay_out(name: str, folder: Path) -> Path:
    """Write the folder.

    The graph is TorchScript's with eager attention, since that is what ONNX Runtime's optimiser, which infinity calls,
    knows how to fuse: of MiniLM all six attentions, and none in a graph of the newer exporter.

    Args:
        name: of a sentence-transformers model of which a folder is on this machine.
        folder: is made.

    Returns:
        The folder.

    Raises:
        InputError: if there is no such model, or ONNX is not installed.
        RuntimeError: if the model cannot be exported.
    """
    require("onnx")
    model = open_model(name, "cpu", None)
    shutil.copytree(find_model(name), folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "*.onnx"))
    config = folder / "config.json"  # infinity cuts texts by this file, not by sentence-transformers'
    limits = {"max_position_embeddings": int(model.max_seq_length or 512)}
    config.write_text(json.dumps(json.loads(config.read_text()) | limits))
    _export(model[0].auto_model, folder / MODEL)
    return folder


def _export(transformer: torch.nn.Module, path: Path) -> None:
    class States(torch.nn.Module):
        """The transformer's output for each token."""

        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.transformer(input_ids=input_ids, attention_mask=attention_mask)[0]
            return states

    transformer.set_attn_implementation("eager")  # type: ignore[operator]
    numbers = torch.arange(3 * 17).reshape(3, 17)
    mask = torch.ones_like(numbers)
    mask[1, 9:] = 0
    sizes = {0: "batch", 1: "tokens"}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the exporter is the old one, and traces
        torch.onnx.export(
            States().eval(),
            (numbers, mask),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes=dict.fromkeys((*INPUTS, OUTPUT), sizes),
        )
