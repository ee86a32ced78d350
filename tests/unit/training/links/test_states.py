"""States of documents: what passes along links, what does not; nothing depends on how documents are numbered."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from data.errors import InputError
from data.graph.graph import Graph
from training.links.config import NodesConfig
from training.links.inputs import Inputs, LinkTensors, words_map
from training.links.nodes import LinkModel, Shape, all_states, inputs_of, load_model, save_model
from training.links.propagation import Links, Words, propagate, root_degrees, sum_words

N, TEXT, TERMS = 30, 6, 20
ENCODERS = ("linear", "gatv2", "sage", "rgcn", "none")
rng = np.random.default_rng(0)
WORDS = sp.random(N, TERMS, 0.3, "csr", np.float32, 1)
VECTORS = rng.normal(size=(N, TEXT)).astype(np.float32)


def random_graph(probability: float = 0.2, nodes: int = N) -> Graph:
    u, v = np.triu_indices(nodes, 1)
    linked = np.random.default_rng(2).random(len(u)) < probability
    return Graph.from_pairs(u[linked], v[linked], nodes)


def model_of(encoder: str = "linear", nodes: int = N, **changes: object) -> LinkModel:
    config = NodesConfig.model_validate({"encoder": encoder, "width": 8, "table": False, "word_table": True, **changes})
    torch.manual_seed(0)
    words = words_map(WORDS, 4, 0)
    sizes = {"nodes": nodes, "text": TEXT, "words": 4, "terms": TERMS, "walked": config.node2vec}
    model = LinkModel(Shape.model_validate({**sizes, "relations": ("cites", "קשור ל"), "config": config}))
    model.words_map_TV.copy_(torch.from_numpy(words))
    return model.eval()


def states(model: LinkModel, graph: Graph, vectors: np.ndarray = VECTORS, words: sp.csr_matrix = WORDS) -> np.ndarray:
    return all_states(model, inputs_of(model, vectors, words), LinkTensors(graph)).numpy()


def test_steps_are_of_the_normalised_adjacency_without_the_batchs_links_and_so_are_their_gradients() -> None:
    graph = random_graph()
    links = LinkTensors(graph)
    gone = np.array([[0, int(graph.indices[0])]])
    kept = torch.ones(len(links.indices_E))
    kept[Links(graph).entries(gone[:, 0], gone[:, 1]).ravel()] = 0
    matrix = graph.adjacency.toarray()
    matrix[gone[0, 0], gone[0, 1]] = matrix[gone[0, 1], gone[0, 0]] = 0
    degrees = torch.from_numpy(matrix.sum(1))
    root = root_degrees(degrees).double()
    step = root * torch.from_numpy(matrix).double() * root.T
    x, mix = torch.from_numpy(VECTORS).requires_grad_(), torch.tensor([0.5, 0.9, -0.3], requires_grad=True)
    exact_x, exact_mix = (each.detach().double().requires_grad_() for each in (x, mix))
    weights = torch.randn(N, TEXT)
    (propagate(x, mix, kept, degrees, links) * weights).sum().backward()
    exact = exact_mix[0] * exact_x + exact_mix[1] * (step @ exact_x) + exact_mix[2] * (step @ (step @ exact_x))
    (exact * weights.double()).sum().backward()
    np.testing.assert_allclose(propagate(x, mix, kept, degrees, links).detach(), exact.detach(), atol=1e-5)
    np.testing.assert_allclose(x.grad, exact_x.grad, atol=1e-5)
    np.testing.assert_allclose(mix.grad, exact_mix.grad, rtol=1e-4)


def test_sums_of_words_and_their_gradient() -> None:
    vectors = torch.randn(TERMS, 5, requires_grad=True)
    summed = sum_words(vectors, Words(WORDS))
    np.testing.assert_allclose(summed.detach().numpy(), WORDS @ vectors.detach().numpy(), atol=1e-5)
    weights = torch.randn(N, 5)
    (summed * weights).sum().backward()
    np.testing.assert_allclose(vectors.grad, WORDS.T @ weights.numpy(), atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_states_do_not_depend_on_the_order_of_documents(encoder: str) -> None:
    graph, model = random_graph(), model_of(encoder)
    order = np.random.default_rng(3).permutation(N)
    place = np.argsort(order)
    row = np.repeat(np.arange(N), graph.degrees)
    turned = Graph.from_pairs(place[row], place[graph.indices], N)
    found = states(model, turned, VECTORS[order], WORDS[order])
    np.testing.assert_allclose(found, states(model, graph)[order], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_isolated_document_and_a_graph_without_links(encoder: str) -> None:
    model = model_of(encoder)
    empty = Graph.from_pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), N)
    assert np.isfinite(states(model, empty)).all()
    one = Graph.from_pairs(np.array([1]), np.array([2]), N)
    np.testing.assert_allclose(states(model, one)[5], states(model, empty)[5], atol=1e-5)
    if encoder != "none":
        assert np.abs(states(model, one)[1] - states(model, empty)[1]).max() > 1e-3


def test_documents_beyond_the_table_have_states_from_text_and_links() -> None:
    model = model_of(table=True, nodes=N - 5)
    graph = random_graph()
    assert np.isfinite(states(model, graph)).all()
    assert np.isfinite(states(model_of(table=True, nodes=4, width=8), graph)).all()


def test_a_table_alone() -> None:
    model = model_of(table=True, text=False, words=0, word_table=False)
    model = LinkModel(model.shape.model_copy(update={"words": 0}))
    assert model.enter is None and np.isfinite(states(model.eval(), random_graph())).all()


def test_documents_that_no_walk_met_have_states_and_walks_come_back_with_the_model(tmp_path: Path) -> None:
    model = model_of(node2vec=3, nodes=N - 5)
    assert model.walked_ND is not None
    walked = torch.randn(N - 5, 3)
    model.walked_ND.copy_(walked)
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    inputs = inputs_of(again, VECTORS, WORDS)
    assert torch.equal(inputs.dense_NI[: N - 5, -3:], walked) and not inputs.dense_NI[N - 5 :, -3:].any()
    assert np.isfinite(states(again, random_graph())).all()


def test_no_input_at_all() -> None:
    with pytest.raises(ValueError, match="needs an input"):
        NodesConfig(text=False, words=0, word_table=False, table=False)
    with pytest.raises(ValueError, match="multiple of heads"):
        NodesConfig(encoder="gatv2", width=10, heads=4)


def test_words_map_keeps_what_documents_share() -> None:
    directions = words_map(WORDS, 10, 0)
    assert directions.shape == (TERMS, 10)
    assert np.linalg.norm(WORDS @ directions, axis=1).mean() == pytest.approx(1, abs=0.2)
    assert words_map(None, 10, 0).shape == (0, 0) and words_map(sp.csr_matrix((3, 0)), 4, 0).shape == (0, 0)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_model_comes_back_whole(tmp_path: Path, encoder: str) -> None:
    model = model_of(encoder)
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.shape == model.shape
    np.testing.assert_array_equal(states(again, random_graph()), states(model, random_graph()))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is not a link model"):
        load_model(tmp_path / "other.safetensors")


def test_inputs_are_on_the_device_asked_for() -> None:
    inputs = Inputs(torch.zeros(2, 3), WORDS[:2], "cpu")
    assert inputs.dense_NI.shape == (2, 3) and inputs.words is not None
