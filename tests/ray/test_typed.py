"""Typed links from their files to figures and proposals, by the commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ray_apps.cli import main

pytestmark = pytest.mark.usefixtures("cluster")

RUN = """\
name: ring
workspace: {folder}/workspace
source:
  triples:
    train: [{folder}/train.tsv]
    valid: [{folder}/valid.tsv]
    test: [{folder}/test.tsv]
    texts: {folder}/texts.tsv
  undirected: false
  self_links: true
encoder:
  kind: hashed
  hashed: {{dim: 256}}
graph:
  split: given
train:
  task: typed
  typed: {{width: 16, text_width: 16, n3: 0.01, initial_scale: 0.1, batch_triples: 64}}
  optimizer: {{kind: adagrad, learning_rate: 0.3, weight_decay: 0, epochs: 6}}
evaluate:
  resamples: 100
discover:
  keep: 20
"""
COLOURS = ("amber", "blue", "coral", "green", "ivory", "jade")


def write_corpus(folder: Path) -> Path:
    """Things of six colours; each precedes things of the next colour, and one is before itself."""
    rng, things = np.random.default_rng(0), [(colour, n) for colour in COLOURS for n in range(7)]
    texts = [f"{colour}{n}\t{colour} thing, number {n} of the {colour} ones" for colour, n in things]
    (folder / "texts.tsv").write_text("\n".join(texts) + "\n")
    triples = {"\t".join(("amber0", "precedes", "amber0"))}
    for colour, n in things:
        following = COLOURS[(COLOURS.index(colour) + 1) % len(COLOURS)]
        triples |= {f"{colour}{n}\tprecedes\t{following}{m}" for m in rng.choice(7, 3, replace=False)}
        triples |= {f"{colour}{n}\tequals\t{colour}{m}" for m in rng.choice(7, 2, replace=False) if m != n}
    ordered = rng.permutation(sorted(triples))
    for name, part in zip(("valid", "test", "train"), np.split(ordered, [20, 50]), strict=True):
        (folder / f"{name}.tsv").write_text("\n".join(part) + "\n")
    (folder / "ring.yaml").write_text(RUN.format(folder=folder))
    return folder / "ring.yaml"


def result(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """The JSON object that a command ends with."""
    assert main([str(word) for word in (*words, "--json")]) == 0
    parsed: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return parsed


def test_typed_links_are_trained_judged_and_proposed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_corpus(tmp_path)
    judged = result(capsys, "evaluate", run)
    links = judged["links"]
    assert set(links) == {"model", "decoder_alone", "relation_frequency", "cosine"}
    assert links["model"]["mrr"] > 1.3 * links["relation_frequency"]["mrr"]
    assert (
        set(judged["seconds"]) >= {"split", "graph", "train", "evaluate_links"} and "baselines" not in judged["seconds"]
    )
    ranks = np.load(next((tmp_path / "workspace" / "evaluate_links").glob("*/ranks.npz")))
    assert ranks["ranks/model"].shape == (2, 30), "a test triple was not ranked"
    proposals = result(capsys, "discover", run)["proposals"]
    assert proposals and {proposal["relation"] for proposal in proposals} <= {"precedes", "equals"}
