"""The benchmark of growth on small graphs: its rows, and graphs in which there is something to find."""

import numpy as np

from benchmarks.discovery import measure, synthetic


def test_rows_have_their_figures() -> None:
    rows = {row.id: row for row in measure((300, 600), (300, 600))}
    assert set(rows) == {"evaluation.growth", "discovery.growth", "discovery.pairs_per_s"}
    assert all(row.value > 0 for row in rows.values())
    assert rows["discovery.growth"].at_most == 2.5
    assert "600: " in rows["discovery.growth"].peer and "pairs" in rows["discovery.growth"].peer


def test_linked_documents_are_alike() -> None:
    graph = synthetic(800, seed=1)
    u, v = graph.pairs.T
    linked = np.einsum("pd,pd->p", graph.vectors[u], graph.vectors[v]).mean()
    assert linked > 0.15 > abs(float((graph.vectors[:400] @ graph.vectors[400:].T).mean()))
    assert graph.words is not None and graph.words[u].multiply(graph.words[v]).sum() > 0
