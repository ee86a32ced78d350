"""Rankers in the registry: the first is champion, a later one unless it loses, and a killed turn adds nothing twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.config import SpreadConfig, TrackingConfig
from training.fingerprints import Fingerprints
from training.ranking.champion import MODEL, champion_of, promoted, registered
from training.ranking.driver import ranker_of_keys, write_model
from training.ranking.experience import Experience
from training.registry import Registry
from training.tracking import Tracker

MADE = Fingerprints(data="d", split="by-intent-0", encoder="of-the-test", code="c")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


def run_in(store: str) -> str:
    return Tracker(TrackingConfig(uri=store), Path("unused"), "turn", SpreadConfig()).end({"mrr": 0.5})


def turn(experience: Experience, folder: Path, kind: str) -> Path:
    folder.mkdir(exist_ok=True)
    write_model(folder, ranker_of_keys(kind, experience, experience.capabilities, folder.name, {}), None, experience)
    return folder


def test_the_loop_over_a_registry(small: Experience, store: str, tmp_path: Path) -> None:
    registry = Registry(store, "points-capabilities")
    first = turn(small, tmp_path / "one", "cosine")
    assert champion_of(registry, first) is None
    version = registered(registry, run_in(store), first, MADE, np.array([1.0, 0.5]), "one")
    assert promoted(registry, version, lost=False, promote=True) and version.mrr == 0.75

    again = registered(registry, run_in(store), first, MADE, np.array([1.0, 0.5]), "one")
    assert again.version == version.version and len(registry.versions()) == 1
    assert champion_of(registry, first) is None, "a resumed turn starts from what it started from"

    second = turn(small, tmp_path / "two", "centroid")
    champion = champion_of(registry, second)
    assert champion is not None and champion.version == 1 and champion.ranker.kind == "cosine"
    worse = registered(registry, run_in(store), second, MADE, np.array([0.5, 0.5]), "two")
    assert not promoted(registry, worse, lost=True, promote=True)
    assert {v.version: v.aliases for v in registry.versions()} == {1: ("champion",), 2: ("challenger",)}

    third = turn(small, tmp_path / "three", "centroid")
    assert champion_of(registry, third) and json.loads((third / "champion.json").read_text())["version"] == 1
    better = registered(registry, run_in(store), third, MADE, np.array([1.0, 1.0]), "three")
    assert not promoted(registry, better, lost=False, promote=False), "it stays ready for a canary"
    assert promoted(registry, better, lost=False, promote=True) and promoted(registry, better, lost=False, promote=True)
    assert registry.rollback() == (3, 1)
    assert (third / MODEL / "ranker.safetensors").exists()
