"""``catena ranker train`` on two workers, what it leaves, and how evaluation takes it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder

from ray_apps.cli import main
from ray_apps.config import load_run
from ray_apps.plan import Plan
from retrieval.blend import read_blend
from tests.tiny_model import tiny_model
from training.encoders.seen import marks_in, pair_marks

pytestmark = pytest.mark.usefixtures("cluster")

THEMES = ("sea", "moon", "rock", "tree", "bird")


@pytest.fixture
def run_file(tmp_path: Path, workspace: Path) -> Path:
    """Documents of five themes, of which a few say that they are good; these answer, and words do not tell which."""
    tiny_model(tmp_path / "model")
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = [
        {"_id": f"d{n}", "title": "", "text": f"{THEMES[n % 5]} {'good' if n % 4 == 0 else 'poor'} number {n}"}
        for n in range(100)
    ]
    asked = [{"_id": f"q{n}", "text": f"{THEMES[n % 5]} thing {n}"} for n in range(60)]
    for name, table in (("corpus", rows), ("queries", asked)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    answers = {n: [m for m in range(100) if m % 4 == 0 and m % 5 == n % 5] for n in range(60)}
    for split, numbers in (("train", range(48)), ("test", range(48, 60))):
        lines = [f"q{n}\td{m}\t1\n" for n in numbers for m in answers[n]]
        (folder / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    run = {
        "name": "ranked",
        "workspace": str(workspace),
        "source": {"beir": {"folder": str(folder)}},
        "encoder": {"model": str(tmp_path / "model"), "precision": "fp32"},
        "ranker": {
            "base": str(tmp_path / "model"),
            "depth": 20,
            "max_length": 32,
            "list_documents": 6,
            "batch_questions": 2,
            "valid_share": 0.3,
            "optimizer": {"learning_rate": 0.005, "epochs": 8, "patience": 8, "accumulate": 1},
            "spread": {"workers": 2},
        },
        "evaluate": {"resamples": 200},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(run))
    return tmp_path / "run.yaml"


def result(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert main([*words, "--json"]) == 0
    told: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_two_workers_train_a_ranker_that_evaluation_takes(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = result(capsys, "ranker", "train", str(run_file))["ranker"]
    assert isinstance(told, dict)
    assert told["learned_from"] == "judgments of split train"
    assert told["training_questions"] + told["valid_questions"] == 48 and told["valid_questions"] > 3
    assert told["ndcg"]["reranked"] > told["ndcg"]["first"] and told["beats"] is True

    plan = Plan(load_run(run_file))
    folder = plan.artifact("ranker").path / "trained"
    assert told["model"] == str(folder) and not (folder.parent / "checkpoints").exists()
    scores = CrossEncoder(str(folder)).predict(
        [("moon thing", "moon good number 8"), ("moon thing", "moon poor number 3")], activation_fn=torch.nn.Identity()
    )
    assert scores[0] > scores[1]
    assert read_blend(str(folder), "k").weight == told["weight"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| as found | {told['ndcg']['first']:.4f} |" in card and "better than the first stage" in card
    seen = marks_in(folder)
    assert np.isin(pair_marks(["moon thing 1"], ["moon good number 16"]), seen).all()
    assert not np.isin(pair_marks(["tree thing 48"], ["tree good number 8"]), seen).any(), "a test question"

    retrieval = result(capsys, "evaluate", str(run_file), "--ranker.model", "trained")["retrieval"]
    assert isinstance(retrieval, dict) and set(retrieval) == {"bm25", "dense", "hybrid", "reranked"}
    assert retrieval["reranked"]["ndcg@10"] > retrieval["hybrid"]["ndcg@10"]
    details = Plan(load_run(run_file, ["--ranker.model", "trained"])).artifact("evaluate_search").result["details"]
    assert details["queries"] == 12 and details["seen_questions"] == 0

    own = ["--ranker.split", "none", "--ranker.learn-share", "0.7", "--ranker.valid-share", "0.4"]
    own += ["--ranker.spread.workers", "1", "--ranker.batch-questions", "1", "--ranker.optimizer.epochs", "1"]
    told = result(capsys, "evaluate", str(run_file), "--ranker.model", "trained", *own)
    plan = Plan(load_run(run_file, ["--ranker.model", "trained", *own]))
    trained, judged = plan.artifact("ranker").result, plan.artifact("evaluate_search").result["details"]
    learned = trained["training_questions"] + trained["valid_questions"]
    assert trained["learned_from"] == "70% of the run's own questions" and 2 < learned < 12
    assert judged["seen_questions"] >= learned and judged["queries"] == 12 - judged["seen_questions"]
