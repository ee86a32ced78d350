"""What needs a GPU: the same vectors as on the CPU, and a training that learns there. Skipped without one."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from data.capabilities.catalogue import Catalogue
from data.capabilities.traces import Ragged, Traces
from data.encoders import load_encoder
from data.encoders.config import OnnxConfig, TransformerConfig
from data.encoders.onnx.export import export_model
from data.encoders.transformer.models import open_model
from data.graph.graph import GraphArtifact, GraphConfig
from data.graph.split import split_links
from evaluation.capability_split import CapabilitySplit, parts_of
from training.config import OptimizerConfig
from training.frame import fit
from training.links.config import NodesConfig, TrainConfig
from training.links.task import LinkTask
from training.ranking.config import LearnConfig
from training.ranking.driver import new_network
from training.ranking.experience import Experience
from training.ranking.past import Past
from training.ranking.task import CapabilityTask

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


def test_a_ranker_of_capabilities_learns_on_the_gpu() -> None:
    """Intents that the text misleads: only what was learned of the tools tells which capability answers them."""
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(12, 32)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    answers = rng.integers(0, 12, 600)
    intents = texts[(answers + 1) % 12] + rng.normal(scale=0.1, size=(600, 32)).astype(np.float32)
    intents /= np.linalg.norm(intents, axis=1, keepdims=True)
    names = [f"t{number}" for number in range(12)]
    catalogue = Catalogue(
        names, names, names, names, [None] * 12, np.arange(13), np.arange(12), np.full(12, -1, np.int64)
    )
    none, lists = np.full(600, np.nan), Ragged(np.zeros(601, np.int64), np.empty(0, np.int64))
    asked = [f"please do {number}" for number in range(600)]
    unknown = np.full(600, -1, np.int64)
    known, drawn = (np.ones(600), unknown, unknown, none, none), (lists, lists, lists, np.zeros(600, bool), lists)
    traces = Traces(asked, np.arange(600), answers, *known, *drawn)
    part = parts_of(asked, CapabilitySplit())
    past = Past.none(12, 600)
    experience = Experience(catalogue, traces, intents, texts, texts, "test", part, traces.reward, past)
    config = LearnConfig(optimizer=OptimizerConfig(learning_rate=0.01, epochs=15, patience=15), batch_traces=64)
    network, device = new_network(experience, config, None), torch.device("cuda")
    task = CapabilityTask(network, experience, config)
    progress = fit(task, config.optimizer, wrap=lambda model: model.to(device), device=device)
    assert progress.best_score > 0.9, "the cosine finds the wrong one nearly always"
