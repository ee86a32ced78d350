"""PageRank and degrees of training links, and the newest date of a corpus."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from data.graph.split import linked_ids
from data.partitions import read_table
from retrieval.facts import Dates, DocumentFacts
from tests.boosted_corpus import write_corpus
from training.boosted.facts import find_dates, pagerank, write_link_facts


def test_pagerank_is_that_of_networkx() -> None:
    rng = np.random.default_rng(0)
    sources, targets = rng.integers(0, 60, 150), rng.integers(0, 70, 150)  # some hand nothing on, some get nothing
    graph = nx.DiGraph()
    graph.add_nodes_from(range(70))
    graph.add_edges_from((int(a), int(b)) for a, b in zip(sources, targets, strict=True) if a != b)
    theirs = nx.pagerank(graph, alpha=0.85, tol=1e-12)
    ours = pagerank(np.concatenate([sources, sources]), np.concatenate([targets, targets]), 70)  # each link twice
    np.testing.assert_allclose(ours, [70 * theirs[n] for n in range(70)], atol=1e-5)
    assert ours.mean() == pytest.approx(1)


def test_without_links_all_are_alike() -> None:
    none = np.empty(0, np.int64)
    np.testing.assert_allclose(pagerank(none, none, 4), np.ones(4))
    np.testing.assert_allclose(pagerank(np.array([1]), np.array([1]), 4), np.ones(4), atol=1e-9)


def test_only_training_links_are_counted(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", links=200)
    assert corpus.split is not None and linked_ids(corpus.split, "test")
    assert write_link_facts(corpus.split, tmp_path)
    ids = read_table(corpus.documents, ["id"])["id"].to_pylist()
    neighbours: dict[str, set[str]] = {id_: set() for id_ in ids}
    for a, b in linked_ids(corpus.split, "train"):
        neighbours[a].add(b)
        neighbours[b].add(a)
    facts = DocumentFacts.open(tmp_path)
    assert facts is not None
    np.testing.assert_array_equal(facts.of(ids)[0], [len(neighbours[id_]) for id_ in ids])


def test_a_corpus_without_links_has_no_facts(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    assert corpus.split is not None and not write_link_facts(corpus.split, tmp_path)
    assert DocumentFacts.open(tmp_path) is None


def test_the_newest_date_is_found(tmp_path: Path) -> None:
    documents = write_corpus(tmp_path).documents
    assert find_dates(documents, None) is None
    dates = find_dates(documents, "year")
    assert isinstance(dates, Dates) and dates.path == ("year",)
    np.testing.assert_allclose(dates.ages([{"year": 2099}, {"year": "2098"}]), [0, 365])
