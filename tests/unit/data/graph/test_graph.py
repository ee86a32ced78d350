"""Graphs from links, the split that keeps both directions of a pair together, and the graph stage on a small corpus."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.graph.graph import KEPT_GRAPHS, Graph, GraphConfig, build_graph, describe, document_vectors, load_graph
from data.graph.split import linked_ids, split_links, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS

NO_TIME = np.iinfo(np.int64).min


def graph_of(pairs: list[tuple[int, int]], num_nodes: int) -> Graph:
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return Graph.from_pairs(array[:, 0], array[:, 1], num_nodes)


def neighbours(graph: Graph, node: int) -> list[int]:
    return graph.indices[graph.indptr[node] : graph.indptr[node + 1]].tolist()


def test_loops_and_repeats_vanish_and_isolated_nodes_stay() -> None:
    graph = graph_of([(0, 1), (1, 0), (0, 1), (2, 2), (1, 4)], 6)
    assert [neighbours(graph, node) for node in range(6)] == [[1], [0, 4], [], [], [1], []]
    assert graph.num_nodes == 6 and graph.degrees.tolist() == [1, 2, 0, 0, 1, 0]
    assert graph.indptr.dtype == np.int64 and graph.indices.dtype == np.int32


@pytest.mark.parametrize("num_nodes", [0, 3])
def test_a_graph_without_links(num_nodes: int) -> None:
    graph = graph_of([], num_nodes)
    assert graph.num_nodes == num_nodes and graph.indptr.tolist() == [0] * (num_nodes + 1)
    assert graph.adjacency.shape == (num_nodes, num_nodes) and graph.adjacency.nnz == 0


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=40))
def test_equals_networkx(pairs: list[tuple[int, int]]) -> None:
    graph = graph_of(pairs, 9)
    expected = nx.Graph([pair for pair in pairs if pair[0] != pair[1]])
    expected.add_nodes_from(range(9))
    assert [neighbours(graph, node) for node in range(9)] == [sorted(expected[node]) for node in range(9)]
    assert (graph.adjacency.toarray() == nx.to_numpy_array(expected, nodelist=range(9))).all()


def test_nodes_beyond_32_bits_of_pair_codes() -> None:
    graph = graph_of([(99_998, 99_999)], 100_000)
    assert neighbours(graph, 99_999) == [99_998]


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=80),
    st.floats(0.01, 0.49),
    st.floats(0.01, 0.49),
    st.integers(0, 3),
    st.sampled_from(["random", "time"]),
)
def test_split_deals_unordered_pairs(
    pairs: list[tuple[int, int]], valid: float, test: float, seed: int, how: str
) -> None:
    sources, targets = np.array(pairs, np.int64).reshape(-1, 2).T
    config = GraphConfig.model_validate({"split": how, "valid_fraction": valid, "test_fraction": test, "seed": seed})
    split = split_links(sources, targets, config, np.arange(len(pairs)))
    of_pair: dict[frozenset[int], set[int]] = {}
    for pair, part in zip(pairs, split.tolist(), strict=True):
        of_pair.setdefault(frozenset(pair), set()).add(part)
    assert all(len(parts) == 1 for parts in of_pair.values()), "a pair is on two sides"
    sizes = [sum(parts == {part} for parts in of_pair.values()) for part in range(3)]
    assert sizes[1:] == [round(valid * len(of_pair)), round(test * len(of_pair))]
    assert split.dtype == np.int8 and split.shape == (len(pairs),)


def test_the_seed_decides_the_random_split() -> None:
    sources, targets = np.random.default_rng(0).integers(0, 100, (2, 400))
    first, again, other = (split_links(sources, targets, GraphConfig(seed=seed)) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()


def test_time_split_holds_out_the_latest() -> None:
    rng = np.random.default_rng(0)
    sources, targets, time = np.arange(100), np.arange(100) + 100, rng.permutation(100)
    split = split_links(sources, targets, GraphConfig(split="time", valid_fraction=0.2, test_fraction=0.1), time)
    assert time[split == 2].min() == 90 and time[split == 1].min() == 70 and time[split == 0].max() == 69


def test_links_without_a_time_count_as_oldest() -> None:
    time = np.array([NO_TIME] * 5 + list(range(5)))
    config = GraphConfig(split="time", valid_fraction=0.2, test_fraction=0.2)
    split = split_links(np.arange(10), np.arange(10) + 10, config, time)
    assert split.tolist() == [0] * 5 + [0, 1, 1, 2, 2]


def test_a_pair_counts_from_its_first_link() -> None:
    sources, targets = np.array([0, 2, 4, 6, 1]), np.array([1, 3, 5, 7, 0])
    config = GraphConfig(split="time", valid_fraction=0.25, test_fraction=0.25)
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        split = split_links(sources[order], targets[order], config, np.array([0, 1, 2, 3, 9])[order])
        assert split[np.argsort(order)].tolist() == [0, 0, 1, 2, 0]


def test_time_split_without_times_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the time of each link"):
        split_links(np.array([0]), np.array([1]), GraphConfig(split="time"))


def write_vectors(folder: Path, owners: list[list[str]], vectors: list[list[list[float]]]) -> None:
    folder.mkdir(parents=True)
    for number, (names, rows) in enumerate(zip(owners, vectors, strict=True)):
        flat = pa.array(np.array(rows, np.float32).reshape(-1))
        columns = {"document_id": pa.array(names, pa.string()), "vector": pa.FixedSizeListArray.from_arrays(flat, 2)}
        write_partition(pa.table(columns), folder / partition_name(number))


def test_document_vectors_are_unit_means_over_partitions(tmp_path: Path) -> None:
    write_vectors(tmp_path / "v", [["b", "a"], ["b"]], [[[1, 0], [0, 1]], [[0, 1]]])
    document_vectors(tmp_path / "v", pa.array(["a", "none", "b"]), tmp_path / "vectors.npy")
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [[0, 1], [0, 0], [0.5**0.5, 0.5**0.5]])


def write_corpus(folder: Path, links: list[dict[str, object]]) -> tuple[Path, Path, Path]:
    documents = [{"id": name, "title": name.upper(), "text": "t"} for name in "abcdef"]
    for name, rows, schema in (("documents", documents, DOCUMENTS), ("links", links, LINKS)):
        (folder / name).mkdir()
        write_partition(pa.Table.from_pylist(rows, schema=schema), folder / name / partition_name(0))
    write_vectors(folder / "vectors", [list("abcdef")], [[[1, 0]] * 6])
    (folder / "out").mkdir()
    return folder / "documents", folder / "links", folder / "vectors"


def link(
    source: str, target: str, relation: str = "cites", time: datetime | None = None, split: str | None = None
) -> dict[str, object]:
    return {"source": source, "target": target, "relation": relation, "weight": 1.0, "time": time, "split": split}


def stages(
    tmp_path: Path, links: list[dict[str, object]], config: GraphConfig
) -> tuple[dict[str, int], dict[str, Any]]:
    """The split and the graph of a corpus; results of both, the graph in ``out``."""
    documents, table, vectors = write_corpus(tmp_path, links)
    (tmp_path / "split").mkdir()
    split = write_split(documents, table, config.held_out, tmp_path / "split")
    return split, build_graph(documents, tmp_path / "split", vectors, config.language, tmp_path / "out")


def test_the_graph_stage_on_a_small_corpus(tmp_path: Path) -> None:
    links = [link("a", "b"), link("b", "a", "answers"), link("a", "c"), link("a", "d"), link("e", "b")]
    config = GraphConfig(valid_fraction=0.25, test_fraction=0.25)
    counts, result = stages(tmp_path, links, config)
    degrees = {"degree_mean": 1.333, "degree_median": 1.0, "degree_max": 3}
    parts = {"isolated": 1, "components": 2, "largest_component": 5, "degree_histogram": {"1": 3, "2": 2}}
    expected = {"nodes": 6, "links": 5, **degrees, **parts}
    assert {key: result[key] for key in expected} == expected
    assert counts["train"] + counts["valid"] + counts["test"] == 5 and min(counts["valid"], counts["test"]) >= 1

    graph = load_graph(tmp_path / "out")
    assert graph.ids == list("abcdef") and graph.titles == list("ABCDEF") and graph.vectors.shape == (6, 2)
    assert graph.pairs.tolist() == [[0, 1], [1, 0], [0, 2], [0, 3], [4, 1]] and graph.split[0] == graph.split[1]
    names = [graph.relation_names[number] for number in graph.relation]
    assert names == ["cites", "answers", "cites", "cites", "cites"]
    assert graph.known_graph.degrees.tolist() == [3, 2, 1, 1, 1, 0]
    assert graph.training_graph.degrees.sum() == 4, "two of the four pairs are held out"
    assert len(graph.links("valid")[0]) == counts["valid"]
    for name in KEPT_GRAPHS:
        kept, computed = getattr(graph, name), getattr(replace(graph), name)
        assert isinstance(kept.indices, np.memmap) and not isinstance(computed.indices, np.memmap)
        assert kept.indptr.tolist() == computed.indptr.tolist() and kept.indices.tolist() == computed.indices.tolist()
    assert pq.read_table(tmp_path / "out/links.parquet").column_names == [
        "source", "target", "relation", "weight", "split",
    ]  # fmt: skip


def test_ids_of_a_split_are_those_of_its_links_without_loops(tmp_path: Path) -> None:
    links = [link("a", "b"), link("c", "c"), link("d", "e"), link("a", "c"), link("e", "f")]
    stages(tmp_path, links, GraphConfig(valid_fraction=0.2, test_fraction=0.2))
    dealt = [pair for part in ("train", "valid", "test") for pair in linked_ids(tmp_path / "split", part)]
    assert sorted(dealt) == [("a", "b"), ("a", "c"), ("d", "e"), ("e", "f")]


def test_the_graph_stage_by_time(tmp_path: Path) -> None:
    links = [link("a", other, time=datetime(2000 + year, 1, 1, tzinfo=UTC)) for year, other in enumerate("bcde")]
    config = GraphConfig(split="time", valid_fraction=0.25, test_fraction=0.25)
    stages(tmp_path, links, config)
    assert load_graph(tmp_path / "out").split.tolist() == [0, 0, 1, 2]


def test_links_without_times_cannot_be_split_by_time(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"graph\.split: 'time'"):
        stages(tmp_path, [link("a", "b")], GraphConfig(split="time"))


def test_the_graph_stage_by_the_split_that_is_given(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = {("b", "a"): "test", ("a", "b"): "train", ("c", "c"): "train", ("d", "e"): "valid"}
    links = [link(*ends, relation=ends[0], split=part) for ends, part in parts.items()]
    counts, _ = stages(tmp_path, links, GraphConfig(split="given"))
    graph = load_graph(tmp_path / "out")
    assert graph.split.tolist() == [2, 0, 0, 1] and (counts["train"], counts["test"]) == (2, 1)
    assert graph.triples("train").tolist() == [[0, graph.relation_names.index("a"), 1], [2, graph.relation[2], 2]]
    assert [end.tolist() for end in graph.links("train")] == [[0], [1]], "a loop is a triple and no link"
    assert not caplog.records


def test_a_split_that_is_given_is_complete_or_refused_and_not_ignored_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    links = [link("a", "b", split="train"), link("c", "d"), link("e", "f", split="test")]
    with pytest.raises(InputError, match=r"1 of 3 links have none, the first 'c' -> 'd'"):
        stages(tmp_path, links, GraphConfig(split="given"))
    (tmp_path / "random").mkdir()
    stages(tmp_path / "random", links, GraphConfig())
    assert "graph.split 'random' ignores" in caplog.text


@pytest.mark.parametrize("how", ["random", "time", "given"])
def test_a_corpus_without_links(tmp_path: Path, how: str) -> None:
    config = GraphConfig.model_validate({"split": how})
    _, result = stages(tmp_path, [], config)
    assert (result["links"], result["isolated"], result["components"]) == (0, 6, 6)
    graph = load_graph(tmp_path / "out")
    assert graph.pairs.shape == (0, 2) and graph.relation_names == [] and graph.training_graph.num_nodes == 6


def test_describe_equals_networkx() -> None:
    expected = nx.gnp_random_graph(60, 0.03, seed=1)
    found = describe(graph_of(list(expected.edges), 60))
    degrees = [degree for _, degree in expected.degree]
    assert found["degree_mean"] == pytest.approx(np.mean(degrees), abs=1e-3)
    assert found["degree_max"] == max(degrees) and found["isolated"] == degrees.count(0)
    sizes = [len(part) for part in nx.connected_components(expected)]
    assert (found["components"], found["largest_component"]) == (len(sizes), max(sizes))
    assert sum(found["degree_histogram"].values()) == 60 - degrees.count(0)


def test_describe_of_an_empty_graph() -> None:
    found = describe(graph_of([], 0))
    assert found["components"] == found["largest_component"] == found["degree_max"] == 0


def test_a_misspelt_language_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'english'"):
        GraphConfig(language="englsh")
