"""kill -9 of a worker that fine-tunes an encoder: it goes on from the last epoch, as if undisturbed."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.transformer.models import open_model
from data.graph.split import SplitConfig, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS
from tests.faults.killed_workers import killed_worker
from tests.tiny_model import tiny_model
from training.encoders.config import MatryoshkaConfig
from training.encoders.examples import Corpus
from training.encoders.matryoshka import MatryoshkaTask
from training.encoders.matryoshka_driver import tune_encoder
from training.encoders.pairs import read_pairs
from training.encoders.seen import seen_by
from training.frame import fit

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]
CONFIG = MatryoshkaConfig(dims=(16, 4), epochs=4, batch_pairs=16, learning_rate=1e-3, max_length=16, valid_share=0.2)
TIMES = ("seconds", "valid_seconds", "pairs_per_s")


def write_corpus(root: Path) -> Corpus:
    """Documents linked where they speak of the same thing."""
    words = [f"{a}{b}" for a in ("sea", "moon", "rock", "tree", "fire") for b in ("man", "light", "house", "bird")]
    documents = [{"id": f"d{i}", "title": "", "text": f"the {words[i % 20]} of number {i}"} for i in range(200)]
    links = [
        {"source": f"d{i}", "target": f"d{(i + 20 * j) % 200}", "relation": "like", "weight": 1.0}
        for i in range(200)
        for j in (1, 2)
    ]
    for name, schema, rows in (("documents", DOCUMENTS, documents), ("links", LINKS, links)):
        (root / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(rows, schema), root / name / partition_name(0))
    (root / "split").mkdir()
    write_split(root / "documents", root / "links", SplitConfig(), root / "split")
    return Corpus(root / "documents", root, root / "split")


def write_model(folder: Path) -> str:
    """A tiny model as a sentence-transformers folder."""
    tiny_model(folder).save(str(folder), create_model_card=False)
    return str(folder)


def plain(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What does not depend on how busy the machine is."""
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history]


def test_a_killed_worker_is_replaced_and_the_model_is_as_if_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often it notes checkpoints: two seconds else
    corpus, model, out = write_corpus(tmp_path / "tables"), write_model(tmp_path / "base"), tmp_path / "tuned"
    out.mkdir()
    with killed_worker(out) as kept:
        result = tune_encoder(corpus, model, CONFIG, out)
    assert len(kept) <= CONFIG.epochs, "the worker was killed too late"
    # Rows carry the rate they were made at: equal rows were not trained a second time.
    assert result["history"][: len(kept)] == kept
    assert {path.name for path in out.iterdir()} == {"model", "pairs.parquet", "progress.json"}

    torch.set_num_threads(1)  # as fast with a model this small, and no quarrel over cores
    undisturbed = open_model(model, "cpu", None)
    progress = fit(MatryoshkaTask(undisturbed, read_pairs(out / "pairs.parquet"), CONFIG), CONFIG.optimizer)
    assert result["best_epoch"] == progress.best_epoch
    for one, other in zip(plain(result["history"]), plain(progress.history), strict=True):
        assert one == pytest.approx(other, rel=0.02)
    assert [row["dim"] for row in result["dims"]] == [16, 4]
    assert all(row["after"] > row["before"] for row in result["dims"])

    config = TransformerConfig(model=result["model"], precision="fp32", device="cpu")
    (marks,) = seen_by(config).values()
    pairs = read_pairs(out / "pairs.parquet")
    assert len(marks) == len({frozenset(pair) for pair in zip(pairs.anchor_ids, pairs.positive_ids, strict=True)})
    encoder = load_encoder(config)
    texts = ["the seaman of number 3", "the treebird of number 9"]
    theirs = undisturbed.encode(texts, normalize_embeddings=True)
    assert (encoder.encode(texts) * theirs).sum(axis=1).min() > 0.99


def test_two_workers_tune_one_model(tmp_path: Path) -> None:
    corpus, model, out = write_corpus(tmp_path / "tables"), write_model(tmp_path / "base"), tmp_path / "tuned"
    out.mkdir()
    result = tune_encoder(corpus, model, CONFIG.model_copy(update={"workers": 2, "epochs": 2, "batch_pairs": 8}), out)
    assert len(result["history"]) == 3 and result["history"][2]["loss"] < result["history"][1]["loss"]
    assert load_encoder(TransformerConfig(model=result["model"], precision="fp32", device="cpu")).dim == 16
