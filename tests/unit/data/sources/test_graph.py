"""Graphs without text: every form of links and features, and what is wrong with a file, named."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from data.errors import InputError
from data.partitions import read_table
from data.schema import FEATURES_FILE
from data.sources import SourceConfig, read_tasks
from data.sources.ingest import ingest
from data.sources.rows import Document, Link, Reject
from data.spread import here

EDGES = np.array([[0, 1], [1, 2], [3, 0]])


def read(**graph: object) -> list[Any]:
    return [row for task in read_tasks(SourceConfig.model_validate({"graph": graph})) for _, row in task.read()]


def ends(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row.source, row.target) for row in rows if isinstance(row, Link)]


def titles(rows: list[Any]) -> list[str]:
    return [row.title for row in rows if isinstance(row, Document)]


def adjacency() -> sp.csr_matrix:
    return sp.csr_matrix(sp.coo_matrix((np.ones(3), EDGES.T), shape=(5, 5)))


FORMS: dict[str, Callable[[Path], None]] = {
    "edges": lambda path: np.savez(path, edges=EDGES, num_nodes=5),
    "edge_index": lambda path: np.savez(path, edge_index=EDGES.T.astype(np.int32), num_nodes=np.int64(5)),
    "compressed": lambda path: np.savez(
        path,
        adj_data=adjacency().data,
        adj_indices=adjacency().indices,
        adj_indptr=adjacency().indptr,
        adj_shape=np.array([5, 5]),
    ),
    "scipy": lambda path: sp.save_npz(path, adjacency()),
}


@pytest.mark.parametrize("form", FORMS)
def test_links_of_a_numpy_file(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / "g.npz")
    rows = read(links=[str(tmp_path / "g.npz")], relation="cites")
    assert titles(rows) == ["0", "1", "2", "3", "4"]  # the last has no link
    assert sorted(ends(rows)) == [("0", "1"), ("1", "2"), ("3", "0")]
    assert {row.relation for row in rows if isinstance(row, Link)} == {"cites"}


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("g.txt", "# SNAP\n10 9\n9   a\n\n% KONECT\n10\ta\n", ["source", "target"]),
        ("g.csv", "10,9,1.5\n9,a,2\n10,a,1\n", ["source", "target", "weight"]),
        ("g.tsv", "x\t10\t9\nx\t9\ta\nx\t10\ta\n", ["-", "source", "target"]),
        ("g.edges", "10 9 cites\n9 a cites\n10 a cites\n", ["source", "target", "relation"]),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_links_of_text_files(tmp_path: Path, name: str, text: str, columns: list[str], packed: bool) -> None:
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    rows = read(links=[str(path)], columns=columns)
    assert titles(rows) == ["10", "9", "a"]
    assert ends(rows) == [("10", "9"), ("9", "a"), ("10", "a")]
    assert [row.weight for row in rows if isinstance(row, Link)] == ([1.5, 2, 1] if "weight" in columns else [1, 1, 1])


def test_numbers_are_put_in_order_and_a_header_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("from,to\n10,9\n9,2\n")
    rows = read(links=[str(tmp_path / "g.csv")], header=True)
    assert titles(rows) == ["2", "9", "10"]


def test_nodes_have_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "nodes.txt").write_text("a\tAlpha\nb\nc\n")
    (tmp_path / "g.txt").write_text("a b\n")
    rows = read(links=[str(tmp_path / "g.txt")], nodes=str(tmp_path / "nodes.txt"))
    assert rows[:3] == [Document("a", "Alpha", ""), Document("b", "b", ""), Document("c", "c", "")]


def ingested(tmp_path: Path, **graph: object) -> dict[str, Any]:
    out = tmp_path / "out"
    out.mkdir()
    return ingest(SourceConfig.model_validate({"graph": graph}), out, here)


def test_bad_links_are_rejected_each_with_its_reason(tmp_path: Path) -> None:
    """Of seven links two are good: the others are to itself, twice there, out of range, or no link."""
    edges = np.array([[0, 1], [1, 1], [1, 0], [0, 1], [2, 9], [-1, 2], [1, 2]])
    np.savez(tmp_path / "g.npz", edges=edges, num_nodes=3)
    result = ingested(tmp_path, links=[str(tmp_path / "g.npz")])
    assert (result["documents"], result["links"]) == (3, 2)
    assert (result["self_links"], result["duplicate_links"], result["rejects"]) == (1, 2, 2)
    assert result["reject_reasons"] == {"link to unknown document": 2}
    assert read_table(tmp_path / "out" / "rejects")["place"].to_pylist() == ["edge 5", "edge 6"]


def test_a_line_of_another_width_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text("0 1\n1\n1 2 3\n")
    rejected = [row for row in read(links=[str(tmp_path / "g.txt")]) if isinstance(row, Reject)]
    assert [row.reason for row in rejected] == ["1 fields, 2 expected", "3 fields, 2 expected"]


@pytest.mark.parametrize("form", ["dense", "compressed", "npy"])
def test_features_become_vectors_of_unit_length(tmp_path: Path, form: str) -> None:
    features = np.array([[3, 4, 0], [0, 0, 0], [0, 0, 2], [1, 0, 0]], np.float64)
    path = tmp_path / ("f.npy" if form == "npy" else "f.npz")
    if form == "npy":
        np.save(path, features)
    elif form == "dense":
        np.savez(path, x=features)
    else:
        csr = sp.csr_matrix(features)
        np.savez(path, x_data=csr.data, x_indices=csr.indices, x_indptr=csr.indptr, x_shape=np.array(csr.shape))
    (tmp_path / "g.txt").write_text("0 1\n")
    result = ingested(tmp_path, links=[str(tmp_path / "g.txt")], features=str(path))
    assert (result["documents"], result["feature_dim"]) == (4, 3)
    vectors = np.load(tmp_path / "out" / FEATURES_FILE)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [[0.6, 0.8, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]], rtol=1e-6)


def test_many_features_are_reduced_and_stay_near_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.sources.features.WIDEST", 50)
    monkeypatch.setattr("data.sources.features.REDUCED", 10)
    topics = sp.random_array((8, 300), density=0.2, rng=np.random.default_rng(0))
    rows = sp.csr_matrix(sp.random_array((60, 8), density=0.3, rng=np.random.default_rng(1)) @ topics)
    sp.save_npz(tmp_path / "f.npz", rows)
    (tmp_path / "g.txt").write_text("0 1\n")
    assert ingested(tmp_path, links=[str(tmp_path / "g.txt")], features=str(tmp_path / "f.npz"))["feature_dim"] == 10
    reduced = np.load(tmp_path / "out" / FEATURES_FILE)
    whole = rows.toarray()
    whole /= np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(reduced @ reduced.T, whole @ whole.T, atol=1e-4)  # of eight directions nothing is lost


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"edges": EDGES.astype(float)}, "edges holds float64"),
        ({"edges": np.zeros((3, 3), int)}, r"edges has shape \(3, 3\)"),
        ({"label": EDGES}, "no links: it holds label"),
        ({"edges": np.array([[{}, {}]])}, "no NumPy file of numbers"),
        (
            {"adj_data": np.ones(1), "adj_indices": np.array([7]), "adj_indptr": np.array([0, 1]), "adj_shape": (1, 2)},
            "adj is not a matrix in compressed rows",
        ),
    ],
)
def test_what_is_wrong_with_links_is_named(tmp_path: Path, arrays: dict[str, Any], problem: str) -> None:
    np.savez(tmp_path / "g.npz", **arrays)
    with pytest.raises(InputError, match=rf"g\.npz: {problem}"):
        read(links=[str(tmp_path / "g.npz")])


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        (np.ones(4), r"features have shape \(4,\)"),
        (np.array([["a"]]), "features have shape"),
        (np.array([[1.0, 2], [np.nan, 1]]), "a feature of row 1 is not a finite number"),
    ],
)
def test_what_is_wrong_with_features_is_named(tmp_path: Path, features: np.ndarray, problem: str) -> None:
    np.save(tmp_path / "f.npy", features)
    (tmp_path / "g.txt").write_text("0 1\n")
    with pytest.raises(InputError, match=problem):
        read(links=[str(tmp_path / "g.txt")], features=str(tmp_path / "f.npy"))


def test_features_for_another_number_of_nodes_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", edges=EDGES, num_nodes=5, x=np.ones((4, 2)))
    with pytest.raises(InputError, match=r"disagree on how many nodes there are .*: 5, .*: 4"):
        read(links=[str(tmp_path / "g.npz")], features=str(tmp_path / "g.npz"))
    (tmp_path / "nodes.txt").write_text("0\n1\n2\n3\n3\n")
    with pytest.raises(InputError, match="5 rows of features for 4 nodes"):
        np.save(tmp_path / "f.npy", np.ones((5, 2)))
        ingested(
            tmp_path,
            links=[str(tmp_path / "g.npz")],
            features=str(tmp_path / "f.npy"),
            nodes=str(tmp_path / "nodes.txt"),
        )


def test_a_text_is_no_numpy_file_and_columns_need_both_ends(tmp_path: Path) -> None:
    (tmp_path / "g.npz").write_text("0 1\n")
    with pytest.raises(InputError, match="no NumPy file"):
        read(links=[str(tmp_path / "g.npz")])
    with pytest.raises(InputError, match="source and target are needed"):
        read(links=[str(tmp_path / "g.npz")], columns=["source", "weight"])


@pytest.mark.parametrize("edges", [np.zeros((0, 2), int), np.array([[0, 0]])])
def test_one_node_and_no_links(tmp_path: Path, edges: np.ndarray) -> None:
    np.savez(tmp_path / "g.npz", edges=edges, num_nodes=1)
    result = ingested(tmp_path, links=[str(tmp_path / "g.npz")])
    assert (result["documents"], result["links"], result["feature_dim"]) == (1, 0, 0)


def test_cora(data_root: Path) -> None:
    cora = str(data_root / "planetoid" / "cora.npz")
    rows = read(links=[cora], features=cora)
    assert len(titles(rows)) == 2708 and len(ends(rows)) == 5278
