"""The rows of link learning, from a run's summary and from a small graph."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.link_gpu import epoch_rows, wide_flags
from benchmarks.link_kill import Kill, kill_rows
from benchmarks.link_seeds import seed_rows
from benchmarks.link_speed import scoring_rows, training_rows
from benchmarks.links import measure, rows_of
from benchmarks.whole_runs import RUNS
from data.errors import InputError
from data.graph.graph import load_graph
from ray_apps.config import load_run
from tests.link_graph import write_graph

SUMMARY: dict[str, Any] = {
    "links": {
        "model": {"mrr": 0.6, "auc": 0.94, "ap": 0.95, "ece": 0.02},
        "cosine": {"mrr": 0.3},
        "adamic_adar": {"mrr": 0.5},
        "model_without_states": {"mrr": 0.55},
    },
    "seconds": {"train": 60.0},
    "ingest": {"documents": 2000},
}


def test_rows_of_a_run() -> None:
    rows = {row.id: row for row in rows_of("demo", SUMMARY, 3.0)}
    assert rows["links.demo_mrr"].value == 0.6 and rows["links.demo_mrr"].met
    assert rows["links.demo_mrr_ratio"].value == 1.2 and "adamic_adar" in rows["links.demo_mrr_ratio"].what
    assert rows["links.demo_states_ratio"].value == pytest.approx(0.6 / 0.55)
    assert rows["links.demo_minutes"].met and rows["links.demo_ece"].value == 0.02
    found = {**SUMMARY["links"], "model": {**SUMMARY["links"]["model"], "hit@10": 0.33}}
    kjv = {row.id: row for row in rows_of("kjv", {**SUMMARY, "links": found}, 3.0)}
    assert (kjv["links.kjv_hit10"].value, kjv["links.kjv_hit10"].at_least, kjv["links.kjv_hit10"].met) == (
        0.33,
        0.36,
        False,
    )
    cora = {row.id: row for row in rows_of("cora", SUMMARY, 1.0)}
    assert cora["links.cora_auc"].met and cora["links.cora_ap"].value == 0.95


def test_some_parts_are_measured_and_others_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.links.whole_run", lambda name: (SUMMARY, 3.0))
    rows, missing = measure(parts="demo,cora")
    assert not missing and {row.id for row in rows} >= {"links.demo_mrr", "links.cora_auc"}
    with pytest.raises(InputError, match="bench links has no part 'kvj'; did you mean 'kjv'"):
        measure(parts="kvj")


def test_rows_of_seeds() -> None:
    worse: dict[str, Any] = {**SUMMARY["links"], "model": {"mrr": 0.5, "auc": 0.92, "ap": 0.95}}
    rows = {row.id: row for row in seed_rows("cora", "split seeds", [SUMMARY["links"], worse])}
    assert rows["links.cora_auc_split_seeds"].value == pytest.approx(0.93) and rows["links.cora_auc_split_seeds"].met
    assert "deviation 0.0141; each 0.9400, 0.9200" in rows["links.cora_auc_split_seeds"].peer
    assert rows["links.cora_mrr_ratio_split_seeds"].value == 1.0  # the ablation is no baseline


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_speed_is_measured_on_any_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.link_speed.BATCH", 64)
    monkeypatch.setattr("benchmarks.link_speed.PAIRS", 2000)
    graph = load_graph(write_graph(tmp_path / "graph"))
    (training,) = training_rows(graph, "small", batches=2)
    (scoring,) = scoring_rows(graph, "small")
    assert training.value > 0 and "links/s" in training.peer and scoring.value > 0


def test_rows_of_a_killed_worker() -> None:
    epochs = [{"epoch": float(number), "seconds": 2.0} for number in range(5)]
    rows = {row.id: row for row in kill_rows("demo", 0.574, 0.571, epochs, Kill(epochs[:3], 1.0))}
    lost, difference = rows["links.demo_kill_epochs_lost"], rows["links.demo_kill_mrr_difference"]
    assert lost.value == 0.5 and lost.met and "0 of them trained again" in lost.peer
    assert difference.value == pytest.approx(0.003) and difference.met
    slower = [{**row, "seconds": 3.0} for row in epochs]
    again = kill_rows("demo", 0.574, 0.55, slower, Kill(epochs[:3], 1.0))
    assert again[0].value == pytest.approx(3.33) and not again[0].met and not again[1].met


def test_rows_of_a_gpu_are_named_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    rows, missing = measure(parts="link_gpu")
    assert not rows and missing == {"link_gpu": "no CUDA device on this machine"}


def test_what_the_wide_model_is_told_are_keys_of_a_run() -> None:
    run = load_run(RUNS / "kjv.yaml", wide_flags())
    assert run.train.spread.use_gpu and run.finetune.spread.use_gpu and run.train.batch_links == 8192


def test_an_epoch_on_a_device_is_timed() -> None:
    rows = {row.id: row.value for row in epoch_rows(500, 2000, 500, "cpu", compiled=False)}
    assert rows.keys() == {"links.gpu_epoch_s", "links.gpu_bf16_ratio", "links.gpu_bandwidth_share"}
    assert all(0 < value for value in rows.values()) and rows["links.gpu_bandwidth_share"] < 1
