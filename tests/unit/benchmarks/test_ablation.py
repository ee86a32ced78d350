"""The ablation measures each choice that a corpus has inputs for, once, and tells gains from the noise of seeds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.ablation import SCORERS, ablate, measure, settings
from benchmarks.ablation_rows import rows_of, spread, verdict
from data.errors import InputError
from data.graph.graph import load_graph
from tests.link_graph import write_graph
from training.config import OptimizerConfig
from training.links.config import NodesConfig, ScorerConfig, TrainConfig

SMALL = TrainConfig(
    model=NodesConfig(width=8, words=4),
    scorer=ScorerConfig(units=4, members=1, links=50, folds=0, shortlist=5, random=5, epochs=1),
    optimizer=OptimizerConfig(epochs=1, precision="bf16"),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_choices_are_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.ablation.STATES", {"default": {}, "bpr": {"negatives.loss": "bpr"}})
    path, kept = write_graph(tmp_path / "graph"), tmp_path / "kept.jsonl"
    found = ablate(path, "circles", SMALL, 1, kept)
    assert [(row.part, row.choice) for row in found] == [
        ("states", "default"),
        *(("scorer", choice) for choice in SCORERS),
        ("states", "bpr"),
    ]
    assert all(0 < row.valid <= 1 and 0 < row.test <= 1 and row.epochs == 1 for row in found)
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:3]) + "\n")  # as after a kill: the default is trained again for its other scorers
    assert [row.choice for row in ablate(path, "circles", SMALL, 1, kept)] == [row.choice for row in found]
    before = kept.read_text()
    ablate(path, "circles", SMALL, 1, kept)
    assert kept.read_text() == before
    assert [row.choice for row in ablate(path, "circles", SMALL, 1, kept, ["bpr"])] == ["bpr"]
    longer = SMALL.model_copy(update={"optimizer": SMALL.optimizer.model_copy(update={"epochs": 2})})
    assert {row.epochs for row in ablate(path, "circles", longer, 1, kept)} == {2}


def test_a_choice_that_a_corpus_has_no_inputs_for_is_left_out(tmp_path: Path) -> None:
    graph = load_graph(write_graph(tmp_path / "graph"))
    found = settings(graph, SMALL)
    assert {"words alone", "rgcn", "node2vec", "hard negatives"} <= found.keys()
    assert "no table of words" in found and "table of words" not in found  # which is the default here
    bare = replace(graph, words=None, relation_names=["cites"])
    assert not {"words alone", "texts alone", "no table of words", "rgcn"} & settings(bare, SMALL).keys()


def test_rows_tell_what_paid() -> None:
    seeds = {"default": [0.20, 0.21, 0.20], "more": [0.30, 0.31, 0.30], "same": [0.20, 0.22, 0.20], "less": [0.1] * 3}
    measured = [
        {"corpus": "circles", "part": "states", "choice": choice, "epochs": 5, "valid": mrr, "test": mrr / 2}
        for choice, values in seeds.items()
        for mrr in values
    ]
    rows = {row.id: row for row in rows_of(measured)}
    more = rows["ablation.circles_states_more"]
    assert more.value == pytest.approx(np.mean(seeds["more"]) / 2, abs=1e-4)
    assert "better than the default (+0.1000)" in more.peer and "3 seeds of at most 5 epochs" in more.peer
    assert "level with the default" in rows["ablation.circles_states_same"].peer
    assert "worse than the default" in rows["ablation.circles_states_less"].peer
    assert "the default" not in rows["ablation.circles_states_default"].peer
    assert verdict([0.3], [0.2]) == "+0.1000, one seed" and spread([0.5]) == "0.5000"


def test_an_unknown_corpus() -> None:
    with pytest.raises(InputError, match="no run 'demos'; did you mean 'demo'"):
        measure("demos")
    with pytest.raises(InputError, match="no choice 'gat'; did you mean 'gatv2'"):
        measure(choices="default,gat")
