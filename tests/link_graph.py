"""A small corpus of links, as the graph stage writes it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from data.graph.graph import GraphConfig, finish_graph
from data.graph.split import split_links


def write_graph(folder: Path) -> Path:
    """300 documents in 25 circles, most links within one; two relations."""
    rng = np.random.default_rng(0)
    circle = np.repeat(np.arange(25), 12)
    u, v = np.triu_indices(300, 1)
    linked = rng.random(len(u)) < np.where(circle[u] == circle[v], 0.4, 0.001)
    u, v = u[linked], v[linked]
    vectors = (rng.normal(size=(25, 8))[circle] + rng.normal(size=(300, 8))).astype(np.float32)
    folder.mkdir()
    np.save(folder / "vectors.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    sp.save_npz(folder / "words.npz", sp.random(300, 50, 0.1, "csr", np.float32, 0))
    ids = [f"d{number}" for number in range(300)]
    pq.write_table(pa.table({"id": ids, "title": ids}), folder / "nodes.parquet")
    columns = {
        "source": u,
        "target": v,
        "relation": pa.array(np.where(rng.random(len(u)) < 0.5, "cites", "answers"), pa.string()),
        "weight": np.ones(len(u), np.float32),
        "split": split_links(u, v, GraphConfig()),
    }
    pq.write_table(pa.table(columns), folder / "links.parquet")
    finish_graph(folder)
    return folder
