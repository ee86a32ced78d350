"""infinity's engines: the graph that one of them reads, and what is reported of those that do not start."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.embed.infinity import row_of, seconds_of
from benchmarks.embed.infinity_model import OUTPUT, lay_out
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.onnx.encoder import open_session
from data.encoders.transformer.encoder import SentenceEncoder


def test_the_graph_that_is_laid_out_gives_the_models_states_before_pooling(small_model: Path, tmp_path: Path) -> None:
    folder = lay_out(str(small_model), tmp_path / "model")
    assert {"model.onnx", "config.json", "tokenizer.json"} <= {file.name for file in folder.iterdir()}
    encoder = load_encoder(TransformerConfig(model=str(small_model), device="cpu", precision="fp32"))
    assert isinstance(encoder, SentenceEncoder)
    tokens = encoder.batches.tokenise(["the moon", "the pilot reads the wind and the sea"], "").numbers
    numbers = np.zeros((2, max(map(len, tokens))), np.int64)
    mask = np.zeros_like(numbers)
    for row, text in enumerate(tokens):
        numbers[row, : len(text)], mask[row, : len(text)] = text, 1
    (states,) = open_session(folder / "model.onnx", "cpu").run([OUTPUT], {"input_ids": numbers, "attention_mask": mask})
    np.testing.assert_allclose(states[mask == 1], encoder.states(tokens).detach().numpy()[mask == 1], atol=1e-3)


def test_an_engine_that_does_not_start_is_named_in_the_row() -> None:
    vectors = np.zeros((1, 4), np.float32)
    with pytest.raises(RuntimeError, match="No module named 'infinity_emb'") as raised:
        seconds_of(Path(sys.executable), "torch", "model", ["text"], vectors)
    row = row_of({"optimum": [(1.0, 3.0), (1.0, 2.0)], "torch": [(1.0, 4.0)]}, {"x": str(raised.value)}, "10 texts", 10)
    assert row.value == 2.5 and "optimum; documents/s: optimum 4.0, torch 2.5; ours 10.0" in row.peer
    assert row.peer.endswith("; x did not run: ModuleNotFoundError: No module named 'infinity_emb'")
    with pytest.raises(RuntimeError, match=r"no engine of infinity .* started"):
        row_of({}, {"torch": "reason"}, "texts", 1)
