"""``catena encoder idf`` and ``fuse``: from a run file to the file it names, and back into the encoder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.encoders import load_encoder
from ray_apps.cli import main
from ray_apps.config import load_run

pytestmark = pytest.mark.usefixtures("cluster")

WORDS = "moon sea harbour matrix inverse verse kernel graph pilot almanac column wind river stone cloud tower".split()
Catena = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def run_file(tmp_path: Path, workspace: Path) -> Path:
    """A BEIR folder whose questions share rare words with their answers, and an ensemble over it."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "corpus"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "title": "", "text": " ".join([*rng.choice(WORDS, 8), f"w{n}"])} for n in range(60)]
    queries = [{"_id": f"q{n}", "text": f"{rng.choice(WORDS)} w{n}"} for n in range(40)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    rows = "".join(f"q{n}\td{n}\t1\n" for n in range(40))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}")
    members = [{"hashed": {"dim": 256, "idf": str(tmp_path / "idf.safetensors")}}, {"hashed": {"dim": 64}}]
    run = {
        "name": "fitted",
        "workspace": str(workspace),
        "source": {"beir": {"folder": str(folder), "split": "test"}},
        "encoder": {
            "ensemble": {"members": members, "fusion": "attention", "attention": str(tmp_path / "fusion.safetensors")}
        },
        "fuse": {"epochs": 4},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(run))
    return tmp_path / "run.yaml"


@pytest.fixture
def catena(run_file: Path, capsys: pytest.CaptureFixture[str]) -> Catena:
    """A command on the run: exit code, result, what was said."""

    def command(*words: str) -> tuple[int, dict[str, Any], str]:
        name, *rest = words
        action = [rest.pop(0)] if name == "encoder" else []
        code = main([name, *action, str(run_file), *rest, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out.splitlines()[-1]) if code == 0 else {}, err

    return command


def test_files_are_made_in_turn_and_the_encoder_reads_them(catena: Catena, run_file: Path) -> None:
    code, _, said = catena("embed")
    assert code == 2 and "encoder.hashed.idf: there is no file" in said and "catena encoder idf" in said
    code, result, _ = catena("encoder", "idf")
    assert code == 0 and result["encoder"]["terms"] > 60 and (run_file.parent / "idf.safetensors").is_file()
    code, _, said = catena("embed")
    assert code == 2 and "catena encoder fuse" in said
    code, result, _ = catena("encoder", "fuse")
    figures = result["encoder"]
    assert code == 0 and figures["pairs"] == 40 and figures["test_questions"] == 6
    assert 0 < figures["ndcg@10 hashed TF-IDF (64 dimensions)"] <= 1
    assert figures["ndcg@10 attention"] > 0.5 and Path(figures["file"]).is_file()
    code, result, _ = catena("embed")
    assert code == 0 and result["embed"]["dim"] == 320
    assert result["embed"]["fingerprint"] == load_encoder(load_run(run_file).encoder).fingerprint


def test_what_cannot_be_learned_is_told(catena: Catena, run_file: Path) -> None:
    assert catena("encoder", "idf")[0] == 0
    code, _, said = catena("encoder", "fuse", "--fuse.learn-from", "links")
    assert code == 2 and "40 answers to questions and 0 training links, and fuse.learn_from is links" in said
    plain = json.loads(run_file.read_text()) | {"encoder": {"hashed": {}}}
    run_file.write_text(json.dumps(plain))
    assert "no hashed encoder of this run names a file" in catena("encoder", "idf")[2]
    assert "no ensemble with fusion: attention" in catena("encoder", "fuse")[2]
    assert "unknown command 'encoder bake'" in catena("encoder", "bake")[2]
