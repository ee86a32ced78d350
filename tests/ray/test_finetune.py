"""``catena encoder finetune`` on two workers, and the stages behind it: what it has made is what embeds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.encoders.transformer.models import open_model
from data.graph.split import linked_ids
from ray_apps.cli import main
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from tests.tiny_model import tiny_model
from training.encoders.examples import Corpus
from training.encoders.seen import pair_marks, seen_by

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def run_file(tmp_path: Path, workspace: Path) -> Path:
    """120 documents of ten themes; two of a theme are linked, and share its name alone."""
    tiny_model(tmp_path / "model")
    themes = [f"{a}{b}" for a in ("sea", "moon") for b in ("man", "light", "house", "bird", "field")]
    rows = [{"id": f"d{n}", "title": f"{n}", "text": f"{themes[n % 10]} {'abcdef'[n // 20]}"} for n in range(120)]
    u, v = np.triu_indices(120, 1)
    drawn = (u % 10 == v % 10) & (np.random.default_rng(0).random(len(u)) < 0.5)
    links = [{"source": f"d{a}", "target": f"d{b}"} for a, b in zip(u[drawn], v[drawn], strict=True)]
    for name, table in (("documents", rows), ("links", links)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    run = {
        "name": "along",
        "workspace": str(workspace),
        "source": {"files": {name: {"path": str(tmp_path / f"{name}.jsonl")} for name in ("documents", "links")}},
        "chunk": {"with_title": False},
        "encoder": {"model": str(tmp_path / "model"), "precision": "fp32"},
        "finetune": {
            "pairs": "links",
            "batch_pairs": 16,
            "cached_texts": 16,
            "near": 5,
            "frozen_layers": 1,
            "optimizer": {"learning_rate": 0.003, "epochs": 2},
            "spread": {"workers": 2},
        },
    }
    (tmp_path / "run.yaml").write_text(json.dumps(run))
    return tmp_path / "run.yaml"


def test_what_is_fine_tuned_on_two_workers_embeds_and_has_seen_no_held_out_link(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encoder", "finetune", str(run_file), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["encoder finetune"]
    assert figures["kept"] == "tuned" and figures["tuned"]["mrr"] > figures["frozen"]["mrr"]
    assert set(figures["tuned"]) == {"mrr", "hit@10", "cosine"} and figures["valid_pairs"] > 10

    plan = Plan(load_run(run_file))
    made = plan.artifact("finetune").path
    assert not (made / "checkpoints").exists()
    ours, frozen = (open_model(str(folder), "cpu", None) for folder in (made / "model", run_file.parent / "model"))
    moved = {n for n, w in ours.state_dict().items() if not torch.equal(w, frozen.state_dict()[n])}
    assert moved and all("layer.1." in name for name in moved)
    assert ours.max_seq_length == frozen.max_seq_length

    embedded = plan.bring("embed").result
    assert embedded["encoder"] == str(made / "model")
    plan.bring("graph")  # it refuses an encoder that has seen a held-out link
    (seen,) = seen_by(usable_encoder(plan)).values()
    split, texts = plan.artifact("split").path, Corpus(plan.artifact("ingest").path / "documents", made)
    for part in ("train", "valid", "test"):
        pairs = linked_ids(split, part)
        text = texts.texts(end for pair in pairs for end in pair)
        marks = pair_marks([text[a] for a, _ in pairs], [text[b] for _, b in pairs])
        assert np.isin(marks, seen).all() if part == "train" else not np.isin(marks, seen).any()
