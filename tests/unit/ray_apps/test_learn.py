"""The learn stage without Ray, from files to the registry; killed at each step, it goes on and adds nothing twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.artifacts import Artifact
from data.capabilities.catalogue import Catalogue
from data.capabilities.ingest import ingest_catalogue
from data.capabilities.traces import Traces
from data.capabilities.vectors import embed_catalogue
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.errors import InputError
from data.sources.catalogue_source import CatalogueSource
from data.spread import here
from ray_apps import learn
from ray_apps.learn import TurnConfig
from training.config import OptimizerConfig
from training.ranking import champion, driver, workers
from training.ranking.config import LearnConfig, NetworkConfig
from training.registry import Registry

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
SLANG = ("uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho")  # asked for, and in no description


class Killed(Exception):
    """Stands for the death of the process."""


def traces(count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(WORDS), count)
    return [
        {
            "id": f"{seed}-{n}",
            "intent": f"please {SLANG[c]} {WORDS[rng.integers(8)]} {seed} {n}",
            "chosen": WORDS[c],
            "outcome": "success",
        }
        for n, c in enumerate(chosen.tolist())
    ]


def made_of(rows: list[dict[str, Any]], folder: Path) -> dict[str, Artifact]:
    """The artifacts that the stage reads."""
    folder.mkdir()
    for name, records in (("tools", [{"id": w, "description": f"does {w}"} for w in WORDS]), ("traces", rows)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    source = CatalogueSource.model_validate(
        {name: {"path": str(folder / f"{name}.jsonl")} for name in ("tools", "traces")}
    )
    ingest_catalogue(source, folder / "catalogue", here)
    catalogue = Catalogue.open(folder / "catalogue")
    intents = Traces.open(folder / "catalogue", catalogue).intents
    texts = {"tools": catalogue.tool_texts, "capabilities": catalogue.texts, "intents": intents}
    encoder = HashedEncoderConfig(hashed=HashedConfig(dim=64))
    (folder / "intents").mkdir()
    embed_catalogue(texts, encoder, folder / "intents", here)
    return {name: Artifact(name, f"{name}-{folder.name}", folder / name, {}) for name in ("catalogue", "intents")}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return made_of(traces(500), tmp_path_factory.mktemp("inputs") / "one")


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "on_workers", lambda read, on_row: driver.train_here)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Making its tables takes seconds."""
    return tmp_path_factory.mktemp("mlflow") / "mlflow.db"


def config(store: Path, name: str) -> TurnConfig:
    asked = LearnConfig(
        network=NetworkConfig(heads=1), optimizer=OptimizerConfig(learning_rate=1e-2, epochs=4), batch_traces=64
    )
    return TurnConfig(learn=asked, name=name, store=store)


def registry(asked: TurnConfig) -> Registry:
    return Registry(f"sqlite:///{asked.store}", asked.name)


def test_killed_at_each_step_a_turn_goes_on_and_the_next_one_is_compared_with_it(
    inputs: dict[str, Artifact], store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = config(store, "killed"), tmp_path / "first"
    out.mkdir()
    trained = []

    def counted(*words: Any) -> None:  # noqa: ANN401
        trained.append(1)
        driver.train_here(*words)

    monkeypatch.setattr(workers, "on_workers", lambda read, on_row: counted)

    def kill_in(module: Any, name: str, after: bool) -> None:  # noqa: ANN401
        whole: Callable[..., Any] = getattr(module, name)

        def killed(*words: Any, **named: Any) -> None:  # noqa: ANN401
            if after:
                whole(*words, **named)
            raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(module, name, killed)
            with pytest.raises(Killed):
                learn._learn(asked, inputs, out)

    kill_in(driver, "choose", after=False)
    kill_in(driver, "open_network", after=False)
    kill_in(driver, "table_of", after=False)
    kill_in(champion, "registered", after=False)
    kill_in(champion, "registered", after=True)
    kill_in(champion, "promoted", after=True)
    result = learn._learn(asked, inputs, out)
    assert len(trained) == 1 and len(registry(asked).versions()) == 1
    assert result.champion and result.version == 1 and result.against_champion is None
    assert result.kind != "cosine" and result.table["centroid"]["mrr"] > result.table["cosine"]["mrr"]
    told = learn.shown({"learn": result.model_dump(), "run": "points", "report": str(out / "report.html")})
    assert told.endswith("report.html") and (out / "report.html").exists()
    assert "probabilities are of the first 10 places" in told and "ece@1" in told
    assert "is served" in told and "no estimate: no propensities were logged" in told and "first, and champion" in told

    later = made_of([*traces(500), *traces(300, seed=1)], tmp_path / "two")
    (tmp_path / "second").mkdir()
    second = learn._learn(asked, later, tmp_path / "second")
    assert second.against_champion is not None and second.against_champion["version"] == 1
    assert not second.lost and second.version == 2 and second.champion


def test_a_champion_of_another_encoder_is_refused_before_anything_is_trained(
    inputs: dict[str, Artifact], store: Path, tmp_path: Path
) -> None:
    asked = config(store, "refused")
    (tmp_path / "first").mkdir()
    learn._learn(
        asked.model_copy(update={"learn": asked.learn.model_copy(update={"network": None})}), inputs, tmp_path / "first"
    )
    other = made_of(traces(500), tmp_path / "one")
    (tmp_path / "one" / "intents" / "manifest.json").write_text(json.dumps({"dim": 64, "fingerprint": "another"}))
    (tmp_path / "second").mkdir()
    with pytest.raises(InputError, match="takes intents of the encoder"):
        learn._learn(asked, other, tmp_path / "second")
    assert not (tmp_path / "second" / "network").exists()


AGAINST = {"version": 1.0, "difference": 0.01, "difference_low": -0.01, "difference_high": 0.03, "p_value": 0.4}


@pytest.mark.parametrize(
    ("lost_by", "crowned", "words"),
    [
        ("mrr", False, "version 2 loses and stays challenger: +0.0100 MRR against version 1"),
        ("calibration", False, "version 2 stays challenger, as its scores are not calibrated and the champion's are"),
        (None, False, "version 2 is challenger, ready for a canary"),
        (None, True, "version 2 is champion: +0.0100 MRR"),
    ],
)
def test_the_verdict_says_who_is_champion_and_why(lost_by: str | None, crowned: bool, words: str) -> None:
    made = {"against_champion": AGAINST, "lost": lost_by is not None, "lost_by": lost_by}
    assert learn._verdict(made, 2, crowned).startswith(words)


@pytest.mark.parametrize("count", [0, 30])
def test_before_there_are_traces_enough_the_cosine_is_registered_and_then_beaten(
    store: Path, tmp_path: Path, inputs: dict[str, Artifact], count: int
) -> None:
    asked = config(store, f"few-{count}")
    asked = asked.model_copy(update={"learn": asked.learn.model_copy(update={"network": None})})
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    few = made_of(traces(count), tmp_path / "few")
    first = learn._learn(asked, few, folders[0])
    assert first.kind == "cosine" and first.champion and first.verdict == "version 1 is the first, and champion"
    assert "too few to learn from" in learn.shown(
        {"learn": first.model_dump(), "report": "report.html", "service": None}
    )
    assert "too few to learn from" in (folders[0] / "report.html").read_text()
    second = learn._learn(asked, few, folders[1])
    assert (second.version, second.champion, second.verdict) == (2, True, "version 2 is champion")
    third = learn._learn(asked, inputs, folders[2])
    assert third.kind == "centroid" and third.champion and third.against_champion is not None
    assert third.against_champion["difference"] > 0
