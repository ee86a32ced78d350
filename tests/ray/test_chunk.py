"""Strategies and steps from a run file to an answer, by the commands."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import InputError
from data.partitions import partitions, read_table
from ray_apps.cli import main
from ray_apps.config import load_run
from ray_apps.plan import Plan
from tests.endpoint_server import Server
from tests.tiny_model import tiny_model

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("cluster")]

CATS = "The cat sleeps on a mat. A cat purrs when it is stroked. Cats dream of mice and birds. Kittens play with wool."
RATES = "The bank raised its interest rate. Inflation fell below target. Bond yields rose. Markets expect more of it."


SEMANTIC = "chunk: {strategy: semantic, min_chars: 50, max_chars: 500, percentile: 80}\n"


def write_run(
    folder: Path,
    rest: str = "",
    texts: tuple[str, ...] = (f"{CATS} {RATES}", RATES, "Short."),
    encoder: str = "{hashed: {dim: 256}}",
) -> Path:
    """A run on a few documents of two topics."""
    rows = [{"id": f"d{n}", "title": f"Title {n}", "text": text} for n, text in enumerate(texts)]
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "own.yaml"
    source = f"source: {{files: {{documents: {{path: {folder / 'documents.jsonl'}}}}}}}"
    path.write_text(f"name: own\nworkspace: {folder / 'workspace'}\n{source}\nencoder: {encoder}\n{rest}")
    return path


def hits(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    assert main(["search", *map(str, words), "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out.splitlines()[-1])["hits"]
    return found


def test_semantic_passages_part_two_topics(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, SEMANTIC, encoder="{precision: fp32}"))
    made = Plan(run).bring("chunk")
    assert Plan(run).artifact("sentences").result["sentences"] == 12
    passages = read_table(made.path / "passages").to_pylist()
    assert CATS in [row["text"] for row in passages]
    assert passages[-1]["text"] == "Short."
    other = run.model_copy(update={"encoder": run.encoder.model_copy(update={"max_length": 64})})
    assert Plan(other).artifact("chunk").key != made.key


def test_a_changed_document_costs_its_changed_sentences_only(tmp_path: Path, endpoint: Server) -> None:
    def asked(first: str) -> list[str]:
        """Sentences that the encoder was asked for when the corpus was cut."""
        endpoint.asked.clear()
        encoder = json.dumps(endpoint.config().model_dump(mode="json", exclude_defaults=True))
        keys = f"chunk: {{strategy: semantic, min_chars: 50, max_chars: 500}}\ncache: {{stored: true}}\n{rest}"
        path = write_run(tmp_path, keys, (first, RATES), encoder)
        plan = Plan(load_run(path))
        plan.bring("chunk")
        made = plan.artifact("sentences")
        sentences = [text for body in endpoint.asked for text in body["input"] if text != "dimension"]
        assert made.result["sentences"] - made.result["copied_sentences"] == len(sentences)
        assert (made.result["encoder"], made.result["link"]) == (endpoint.config().label, 0)
        return sentences

    rest = "embed: {storage: float16}\n"  # of the passages' vectors
    assert len(asked(CATS)) == 8
    assert asked(f"{CATS} Dogs bark.") == ["Dogs bark."]


def test_search_answers_with_the_parent_of_the_passage_it_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n\n".join([CATS, RATES, CATS.replace("at", "og")])
    keys = "chunk: {strategy: hierarchical, max_chars: 60, overlap_chars: 0, parent_chars: 120}\n"
    run_file = write_run(tmp_path, keys, (text, "Short."))
    (best, _) = hits(capsys, run_file, "interest rate of the bank")
    assert best["text"] == RATES == text[best["start"] : best["end"]]
    assert main(["search", str(run_file), "interest rate of the bank"]) == 0
    assert "Markets expect more of it" in capsys.readouterr().out


def test_windows_of_tokens_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model(tmp_path / "model")
    keys = "chunk: {strategy: fixed, max_tokens: 16, overlap_tokens: 4}\n"
    run_file = write_run(tmp_path, keys, encoder=f"{{model: {tmp_path / 'model'}, precision: fp32}}")
    (best, *_) = hits(capsys, run_file, "inflation target", "--mode", "bm25")
    assert "Inflation fell" in best["text"] and len(best["text"]) < 100


def test_steps_change_the_documents_that_are_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = tmp_path / "built"
    built.mkdir()
    count = f"{{path: 'tests.ray.own_steps:Count', arguments: {{folder: {built}}}, workers: 1}}"
    rest = f"steps: ['tests.ray.own_steps:shout', {count}]\n"
    run_file = write_run(tmp_path, rest)
    (best,) = hits(capsys, run_file, "stroked", "--mode", "bm25", "--filter", "words>40")
    assert (best["title"], best["metadata"]) == ("TITLE 0", {"words": 41})
    assert len(list(built.iterdir())) == 1

    run = load_run(run_file)
    stepped = Plan(run).artifact("steps")
    (partition,) = partitions(stepped.path / "documents")
    (stepped.path / "_SUCCESS").unlink()  # killed before the end: what exists is kept, what is missing made again
    before = partition.read_bytes()
    shutil.copy(partition, tmp_path / "kept")
    partition.unlink()
    assert Plan(run).bring("steps").path / "documents" == partition.parent
    assert partition.read_bytes() == before

    plain = load_run(write_run(tmp_path))
    assert Plan(plain).artifact("chunk").key != Plan(run).artifact("chunk").key
    assert main(["run", str(run_file), "--dry-run", "--json"]) == 0
    assert "steps" not in json.loads(capsys.readouterr().out)["artifacts"]


def test_a_step_that_fails_ends_the_command_with_the_document_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_file = write_run(tmp_path, "steps: ['tests.ray.own_steps:no']\n")
    assert main(["ingest", str(run_file)]) == 2
    assert "error: step tests.ray.own_steps:no failed on document 'd0': ValueError: no (" in capsys.readouterr().err
    assert main(["ingest", str(run_file), "--steps", '["tests.ray.own_steps:noo"]']) == 2
    assert "no function or class 'noo'; did you mean 'no'" in capsys.readouterr().err
    with pytest.raises(InputError, match="steps"):
        load_run(run_file, ["--steps", '["no colon"]'])
