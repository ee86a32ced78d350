"""What needs a GPU: the same vectors as on the CPU, and a training that learns there. Skipped without one."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from data.encoders import load_encoder
from data.encoders.config import OnnxConfig, TransformerConfig
from data.encoders.onnx.export import export_model
from data.encoders.transformer.models import open_model
from data.graph.graph import GraphArtifact, GraphConfig
from data.graph.split import split_links
from training.config import OptimizerConfig
from training.frame import fit
from training.links.config import NodesConfig, TrainConfig
from training.links.task import LinkTask

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def test_vectors_are_those_of_the_cpu() -> None:
    texts = ["invert a sparse matrix", "", "the face of the waters " * 200, "שלום עולם"]
    on_cpu = load_encoder(TransformerConfig(device="cpu", precision="fp32")).encode(texts)
    on_gpu = load_encoder(TransformerConfig(device="cuda")).encode(texts)
    assert (on_cpu * on_gpu).sum(axis=1).min() >= 0.999


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_many_batches_in_flight_keep_their_texts(precision: Literal["fp32", "fp16"]) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["moon", "sea", "matrix"], size)) for size in rng.integers(1, 200, 2000)]
    on_cpu = load_encoder(TransformerConfig(device="cpu", precision="fp32")).encode(texts)
    on_gpu = load_encoder(TransformerConfig(device="cuda", precision=precision), batch_tokens=8192).encode(texts)
    assert (on_cpu * on_gpu).sum(axis=1).min() >= 0.999


def test_a_compiled_model_gives_the_same_vectors() -> None:
    texts = ["invert a sparse matrix", "the face of the waters " * 40, "moon"]
    plain = load_encoder(TransformerConfig(device="cuda")).encode(texts)
    compiled = load_encoder(TransformerConfig(device="cuda", compile=True)).encode(texts)
    assert (plain * compiled).sum(axis=1).min() >= 0.999


def test_training_on_the_gpu_learns() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(120) // 12
    u, v = rng.integers(0, 120, (2, 6000))
    pairs = np.unique(np.sort(np.column_stack([u, v])[(group[u] == group[v]) & (u != v)], axis=1), axis=0)
    split = split_links(pairs[:, 0], pairs[:, 1], GraphConfig())
    vectors = rng.normal(size=(120, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [str(number) for number in range(120)]
    graph = GraphArtifact(names, names, vectors, pairs, split, np.zeros(len(pairs), np.int32), ["same"])
    config = TrainConfig(
        model=NodesConfig(width=16), optimizer=OptimizerConfig(epochs=10, patience=10, learning_rate=0.01)
    )
    device = torch.device("cuda")
    progress = fit(LinkTask(graph, config), config.optimizer, wrap=lambda model: model.to(device), device=device)
    assert progress.best_score > 0.1, "chance is about 0.05"


def test_onnx_runtime_computes_where_torch_holds_the_tokens(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider: install onnxruntime-gpu")
    exact = TransformerConfig(device="cpu", precision="fp32")
    plain = load_encoder(exact)
    export_model(open_model(exact.model, "cpu", None), plain.fingerprint, tmp_path)
    config = OnnxConfig(device="cuda", exported=tmp_path)
    texts = ["invert a sparse matrix", "", "the face of the waters " * 200, "שלום עולם"]
    assert (load_encoder(config).encode(texts) * plain.encode(texts)).sum(axis=1).min() >= 0.999
