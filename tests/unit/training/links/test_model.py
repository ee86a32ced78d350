"""The link model: shapes, no dependence on numbering, whole-graph inference equal to the plain forward."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from data.graph.graph import Graph
from training.links.config import TrainConfig
from training.links.features import FEATURES
from training.links.model import LinkModel, ModelShape, NodeEncoder, encode_all_nodes
from training.links.sampler import NeighborSampler

DIM = 12


def shape_of(dim: int | None = DIM, relations: tuple[str, ...] = ("cites", "answers"), layers: int = 2) -> ModelShape:
    return ModelShape(dim=dim, hidden=16, layers=layers, heads=4, views=2, dropout=0.3, relations=relations)


def encoder_of(layers: int = 2) -> NodeEncoder:
    torch.manual_seed(0)
    return NodeEncoder(shape_of(layers=layers)).eval()


def random_graph(num_nodes: int, links: int) -> Graph:
    return Graph.from_pairs(*np.random.default_rng(0).integers(0, max(num_nodes, 1), (2, links)), num_nodes)


def edges_of(graph: Graph) -> Tensor:
    rows = np.repeat(np.arange(graph.num_nodes), graph.degrees)
    return torch.from_numpy(np.stack([graph.indices.astype(np.int64), rows]))


def encode_all(encoder: NodeEncoder, text: Tensor, graph: Graph, chunk: int = 8192) -> Tensor:
    return encode_all_nodes(
        encoder, text, torch.from_numpy(graph.indptr), torch.from_numpy(graph.indices).long(), chunk
    )


@torch.no_grad()
def test_views_are_unit_vectors() -> None:
    views = encoder_of()(torch.randn(20, DIM), edges_of(random_graph(20, 40)))
    assert views.shape == (20, 2, 8)
    assert torch.allclose(views.norm(dim=2), torch.ones(20, 2), atol=1e-6)


@torch.no_grad()
def test_node_numbers_mean_nothing() -> None:
    encoder, text, edges = encoder_of(), torch.randn(20, DIM), edges_of(random_graph(20, 40))
    order = torch.randperm(20)
    place = torch.argsort(order)  # the old node i is the new node place[i]
    shuffled_edges = place[edges][:, torch.randperm(edges.shape[1])]
    assert torch.allclose(encoder(text[order], shuffled_edges), encoder(text, edges)[order], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 7, 30, 8192])
@pytest.mark.parametrize("layers", [1, 3])
def test_layer_by_layer_equals_the_plain_forward(chunk: int, layers: int) -> None:
    encoder, graph, text = encoder_of(layers), random_graph(30, 40), torch.randn(30, DIM)
    assert (graph.degrees == 0).any(), "isolated nodes are among them"
    plain = encoder(text, edges_of(graph))
    assert torch.allclose(encode_all(encoder, text, graph, chunk), plain, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_seeds_of_a_whole_neighbourhood_get_the_views_of_the_whole_graph(layers: int) -> None:
    """What lies beyond a layer's reach is not computed, and would have changed nothing."""
    encoder, graph, text = encoder_of(layers), random_graph(200, 220), torch.randn(200, DIM)
    found = NeighborSampler(graph, (200,) * layers, np.random.default_rng(0)).sample(np.array([3, 50, 51, 120]))
    nodes, edges = np.cumsum(found.num_sampled_nodes), np.cumsum([0, *found.num_sampled_edges])
    assert nodes[-1] < 200
    reach = tuple(zip(nodes.tolist(), edges.tolist(), strict=True))
    views = encoder(text[found.node], torch.stack([found.row, found.col]), reach)
    assert torch.allclose(views, encoder(text, edges_of(graph))[[3, 50, 51, 120]], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("num_nodes", [0, 1, 5])
def test_a_graph_without_links(num_nodes: int) -> None:
    encoder, graph, text = encoder_of(), random_graph(num_nodes, 0), torch.randn(num_nodes, DIM)
    views = encode_all(encoder, text, graph)
    assert views.shape == (num_nodes, 2, 8) and bool(torch.isfinite(views).all())
    assert torch.allclose(views, encoder(text, edges_of(graph)), atol=1e-5)


@torch.no_grad()
def test_an_isolated_node_depends_on_its_own_text_alone() -> None:
    encoder, graph, text = encoder_of(), Graph.from_pairs(np.array([0]), np.array([1]), 4), torch.randn(4, DIM)
    before = encode_all(encoder, text, graph)
    text[:2] = torch.randn(2, DIM)
    after = encode_all(encoder, text, graph)
    assert torch.equal(before[2:], after[2:]) and not torch.allclose(before[:2], after[:2])


@torch.no_grad()
def test_a_node_sees_as_many_steps_as_there_are_layers() -> None:
    path = Graph.from_pairs(np.arange(4), np.arange(4) + 1, 5)
    encoder, text = encoder_of(layers=2), torch.randn(5, DIM)
    before = encode_all(encoder, text, path)
    text[4] = torch.randn(DIM)
    changed = (encode_all(encoder, text, path) - before).abs().amax(dim=(1, 2)) > 1e-6
    assert changed.tolist() == [False, False, True, True, True]


@torch.no_grad()
@pytest.mark.parametrize("dim", [DIM, None])
def test_a_table_of_pairs_and_single_pairs_score_alike(dim: int | None) -> None:
    torch.manual_seed(1)
    model = LinkModel(shape_of(dim)).eval()
    model.feature_mean_F.normal_()
    model.feature_std_F.uniform_(0.5, 2)
    features = torch.randn(len(FEATURES), 3, 4)
    source, target = (torch.randn(3, 2, 8), torch.randn(4, 2, 8)) if dim else (None, None)
    table = model.score(source, target, features)
    assert table.shape == (3, 4)
    s, t = torch.meshgrid(torch.arange(3), torch.arange(4), indexing="ij")
    s, t = s.reshape(-1), t.reshape(-1)
    views = (source[s], target[t]) if source is not None and target is not None else (None, None)
    assert torch.allclose(model.score_pairs(*views, features[:, s, t]), table.reshape(-1), atol=1e-5)


def forward(model: LinkModel, nodes: int = 9) -> tuple[Tensor, Tensor | None]:
    sources, candidates = torch.arange(3), torch.arange(3, 8)
    features = torch.randn(len(FEATURES), 3, 5)
    edges = edges_of(random_graph(nodes, 12))
    logits, relation = model(torch.randn(nodes, DIM), edges, sources, candidates, torch.tensor([0, 4, 2]), features)
    return logits, relation


def test_a_training_step_reaches_every_weight() -> None:
    """Else data-parallel training would wait for a gradient for ever."""
    model = LinkModel(shape_of())
    logits, relation = forward(model)
    assert logits.shape == (3, 5) and relation is not None and relation.shape == (3, 2)
    (logits.square().sum() + relation.square().sum()).backward()
    assert [name for name, weights in model.named_parameters() if weights.grad is None] == []


def test_one_relation_needs_no_head() -> None:
    model = LinkModel(shape_of(relations=("cites",)))
    logits, relation = forward(model)
    assert relation is None
    logits.sum().backward()
    assert [name for name, weights in model.named_parameters() if weights.grad is None] == []


def test_the_feature_only_baseline_reads_features_alone() -> None:
    model = LinkModel(shape_of(dim=None))
    assert model.nodes is None and model.relation is None and model.view_weights_K is None
    logits, relation = forward(model)
    assert relation is None and logits.shape == (3, 5)
    logits.sum().backward()
    assert [name for name, weights in model.named_parameters() if weights.grad is None] == []


@torch.no_grad()
def test_relations_have_a_direction() -> None:
    model, a, b = LinkModel(shape_of()), torch.randn(1, 2, 8), torch.randn(1, 2, 8)
    assert not torch.allclose(model.relate(a, b), model.relate(b, a))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hidden": 30, "heads": 4, "views": 2}, r"hidden \(30\) must be a multiple of heads \(4\)"),
        ({"hidden": 32, "heads": 4, "views": 5}, r"hidden \(32\) must be a multiple of views \(5\)"),
        ({"layers": 3, "fan_out": (10, 5)}, "fan_out needs one number a layer"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        TrainConfig.model_validate(wrong)
