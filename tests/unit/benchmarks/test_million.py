"""The benchmark of a million documents: graphs with something to learn, and rows of what was measured."""

import os
from pathlib import Path

import numpy as np

from benchmarks.million import Measured, Peak, own_bytes, rows_of, write_graph, write_run
from data.graph.graph import load_graph
from ray_apps.config import load_run
from ray_apps.graph import no_links
from ray_apps.plan import Plan


def test_linked_documents_are_alike_and_the_stages_take_the_graph(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path))
    assert run.train.sampling.from_links == 0 and run.train.optimizer.epochs == 1
    graph = load_graph(write_graph(run, 1000, 10_000))
    assert graph.vectors.shape == (1000, 64) and len(graph.ids) == 1000 and len(graph.pairs) == 10_000
    u, v = graph.links("train")
    linked = np.einsum("pd,pd->p", graph.vectors[u], graph.vectors[v]).mean()
    assert linked > 0.2 > abs(float((graph.vectors[:500] @ graph.vectors[500:].T).mean()))
    assert not no_links(Plan(run))


def test_rows_say_what_grows() -> None:
    small, large = (
        Measured(
            seconds={"train": 60.0 * times, "evaluate_links": 30.0 * times, "discover": 30.0 * times, "graph": 2.0},
            reading=Peak(times * 2**28, 2**28),
            peak=Peak(times * 2**29, times * 2**30),
            mrr={"model": 0.5, "cosine": 0.25},
            rate=1000.0,
            candidates=10 * times,
        )
        for times in (1, 2)
    )
    rows = {row.id: row for row in rows_of(1000, 10_000, small, large)}
    assert rows["million.minutes"].value == 4 and rows["million.minutes"].met
    assert rows["million.driver_mb"].value == 1024 and "512 MiB" in rows["million.driver_mb"].peer
    assert rows["million.memory_gb"].value == 3 and rows["million.mrr"].value == 0.5


def test_memory_of_a_process() -> None:
    before = own_bytes(os.getpid())
    filled = np.ones(2**23)
    assert own_bytes(os.getpid()) - before > 0.9 * filled.nbytes
    assert own_bytes(2**30) == 0, "one that has ended"
