"""One turn of learning and the next: what is chosen, what is kept when killed, what is refused."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.errors import InputError
from training.config import OptimizerConfig
from training.ranking.champion import Champion, check_champion
from training.ranking.config import LearnConfig, NetworkConfig
from training.ranking.driver import learn, open_network, train_here
from training.ranking.experience import Experience
from training.ranking.judging import score_of
from training.ranking.served import CapabilityRanker
from training.ranking.task import scores_of

CONFIG = LearnConfig(
    network=NetworkConfig(heads=2),
    optimizer=OptimizerConfig(learning_rate=5e-3, epochs=8, patience=8),
    batch_traces=64,
)


@pytest.fixture(scope="module")
def turn(small: Experience, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    out = tmp_path_factory.mktemp("turn")
    return out, learn(small, CONFIG, out, None, "1", train_here)


def test_a_turn_has_every_baseline_in_its_table_and_serves_what_gains(
    small: Experience, turn: tuple[Path, dict[str, object]]
) -> None:
    out, result = turn
    table = result["table"]
    assert isinstance(table, dict)
    assert list(table) == [
        "popularity",
        "random projection",
        "bm25",
        "cosine",
        "cosine x success rate",
        "centroid",
        "lambdamart",
        "hypergraph",
    ]
    assert table["centroid"]["mrr"] > table["cosine"]["mrr"] > table["popularity"]["mrr"]
    assert 0 <= table["hypergraph"]["ece"] < 0.2 and table["hypergraph"]["coverage"] > 0.5
    assert result["kind"] in ("centroid", "hypergraph") and "is served" in str(result["sentence"])
    ranker = CapabilityRanker.open(out / "model")
    assert ranker.kind == result["kind"] and ranker.fingerprint == "of-the-test"


def test_the_folded_ranker_scores_as_the_network_does(small: Experience, turn: tuple[Path, dict[str, object]]) -> None:
    out, _ = turn
    network = open_network(small, CONFIG, out / "network")
    folded = network.ranker(small, "1", {})
    asked = np.arange(50)
    np.testing.assert_allclose(score_of(folded, small)(asked), scores_of(network, small)(asked), rtol=1e-4, atol=1e-4)


def test_a_killed_turn_goes_on_from_the_trained_network(
    small: Experience, turn: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    out, result = turn
    shutil.copytree(out / "network", tmp_path / "network")

    def never(*_: object) -> None:
        raise AssertionError("trained twice")

    again = learn(small, CONFIG, tmp_path, None, "1", never)
    assert again["table"] == result["table"] and again["kind"] == result["kind"]


def test_the_next_turn_starts_from_the_champion_and_is_compared_with_it(
    small: Experience, turn: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    out, _ = turn
    champion = Champion(1, out / "model", CapabilityRanker.open(out / "model"))
    result = learn(small, CONFIG, tmp_path, champion, "2", train_here)
    against = result["against_champion"]
    assert against["version"] == 1 and "champion (version 1)" in result["table"]
    assert not result["lost"] and against["difference"] > -0.05


def test_a_champion_of_another_encoder_or_with_other_features_is_refused(
    small: Experience, turn: tuple[Path, dict[str, object]]
) -> None:
    out, _ = turn
    ranker = CapabilityRanker.open(out / "model")
    with pytest.raises(InputError, match="encoder another"):
        check_champion(Champion(3, out, replace(ranker, fingerprint="another")), small)
    with pytest.raises(InputError, match="weighs the features clicks, and this run has none"):
        check_champion(Champion(3, out, replace(ranker, features=("clicks",))), small)


def test_of_too_few_traces_the_cosine_is_served_and_a_learned_champion_stays(
    small: Experience, turn: tuple[Path, dict[str, object]], make: Callable[..., Experience], tmp_path: Path
) -> None:
    few = make(count=60)
    made = learn(few, CONFIG, tmp_path, None, "1", train_here)
    assert made["kind"] == "cosine" and "too few to learn from" in made["sentence"] and made["table"] == {}
    ranker = CapabilityRanker.open(tmp_path / "model")
    intents = np.arange(10)
    cosine = np.asarray(few.intents[:10] @ few.capabilities.T)
    cosine[:, ~few.catalogue.can_run] = -np.inf
    np.testing.assert_allclose(score_of(ranker, few)(intents), cosine, atol=1e-5)
    (tmp_path / "again").mkdir()
    again = learn(few, CONFIG, tmp_path / "again", Champion(1, tmp_path, ranker), "2", train_here)
    assert again["kind"] == "cosine", "nothing was learned that could be lost"
    learned = Champion(3, turn[0], CapabilityRanker.open(turn[0] / "model"))
    assert learned.ranker.kind != "cosine"
    with pytest.raises(InputError, match="too few to learn from") as refused:
        learn(few, CONFIG, tmp_path / "lost", learned, "4", train_here)
    assert "Version 3, the champion, stays" in refused.value.remedy


def test_without_propensities_nothing_is_estimated_and_with_them_the_log_is(
    make: Callable[..., Experience], turn: tuple[Path, dict[str, object]], tmp_path: Path
) -> None:
    _, result = turn
    assert result["counterfactual"]["challenger"]["dr"] == {"refused": "no propensities were logged"}  # type: ignore[index]
    logged = make(count=1200, logged=True)
    without = CONFIG.model_copy(update={"network": None})
    found = learn(logged, without, tmp_path, None, "1", train_here)["counterfactual"]["challenger"]
    assert found["dr"]["low"] <= 1 and found["snips"]["value"] > 0.75 and found["snips"]["effective"] > 30


def test_one_capability_is_learned_of_without_a_promise(make: Callable[..., Experience], tmp_path: Path) -> None:
    """There is nothing to choose: cosine serves, and as nothing ever failed no probability can be fitted."""
    result = learn(make(count=300, there=1), CONFIG, tmp_path, None, "1", train_here)
    assert result["kind"] == "cosine" and result["table"]["cosine"]["mrr"] == 1.0
    assert "ece" not in result["table"]["cosine"]
