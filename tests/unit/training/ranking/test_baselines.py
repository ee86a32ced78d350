"""Baselines, and the centroid step that may never be worse than not moving by what it has seen."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from evaluation.capability_metrics import reciprocal_ranks
from training.ranking import baselines
from training.ranking.centroid import CentroidConfig, Move, choose, moved
from training.ranking.choice import choose_kind, lost
from training.ranking.experience import Counts, Experience
from training.ranking.lambdamart import lambdamart

Make = Callable[..., Experience]


def test_popularity_is_the_same_for_every_intent_and_groups_never_run(make: Make) -> None:
    experience = make(groups=True)
    scores = baselines.popularity(experience, experience.traces_in("train"))(np.arange(5))
    assert (scores == scores[0]).all() and np.isneginf(scores[:, -1]).all()
    assert scores[0, :-1].sum() == len(experience.traces_in("train"))


def test_bm25_finds_what_names_the_words(make: Make) -> None:
    experience = make()
    texts = [text.replace("capability 7", "weather forecast") for text in experience.catalogue.texts]
    intents = ["what is the weather", *experience.traces.intents[1:]]
    named = replace(
        experience,
        catalogue=replace(experience.catalogue, texts=texts),
        traces=replace(experience.traces, intents=intents),
    )
    scores = baselines.bm25(named)(np.array([0]))
    assert scores[0].argmax() == 7 and scores[0, 7] > 0


def test_a_capability_that_fails_falls_behind_an_equal_one(make: Make) -> None:
    experience = make(failures=0.5)
    counts = Counts.of(experience, experience.traces_in("train"))
    assert ((0 < counts.rate) & (counts.rate < 1)).all()
    alike = replace(experience, capabilities=np.repeat(experience.capabilities[:1], 20, axis=0))
    scores = baselines.cosine_times_rate(alike, alike.traces_in("train"))(np.arange(3))
    assert (scores.argmax(axis=1) == counts.rate.argmax()).all()


def test_projection_keeps_the_order_where_nothing_is_left_out(small: Experience) -> None:
    asked = np.arange(40)
    projected = baselines.random_projection(small)(asked)  # 16 of 16 dimensions: a rotation
    np.testing.assert_allclose(projected, baselines.cosine(small)(asked), atol=1e-5)


def test_the_centroid_step_gains_where_outcomes_say_more_than_texts(small: Experience) -> None:
    judged = choose(small, small.traces_in("train"), CentroidConfig())
    assert judged.move.share > 0 and judged.moved.mean() > judged.still.mean()
    asked = small.successes("test")
    keys = moved(small, small.traces_in("train"), judged.move)
    after = reciprocal_ranks(baselines.by_keys(small, keys), asked).mean()
    assert after > reciprocal_ranks(baselines.cosine(small), asked).mean()


def test_without_a_move_or_an_outcome_vectors_stay(small: Experience) -> None:
    none = np.empty(0, np.int64)
    np.testing.assert_allclose(moved(small, small.traces_in("train"), Move()), small.capabilities, atol=1e-6)
    np.testing.assert_allclose(moved(small, none, Move(1.0, 0.0, 1.0)), small.capabilities, atol=1e-6)


def test_failures_move_away(make: Make) -> None:
    experience = make(failures=0.5)
    numbers = experience.traces_in("train")
    failed = numbers[experience.reward[numbers] == 0]
    asked, chosen = experience.intents[experience.traces.intent[failed]], experience.traces.chosen[failed]

    def near(keys: np.ndarray) -> float:
        return float((asked * keys[chosen]).sum(axis=1).mean())

    assert near(moved(experience, numbers, Move(0.0, 0.0, 0.5))) < near(experience.capabilities)


@pytest.mark.parametrize("seed", range(3))
def test_with_one_outcome_a_capability_what_is_chosen_is_not_worse_than_cosine(make: Make, seed: int) -> None:
    """Texts that say all there is: one noisy outcome each must not talk the step into moving."""
    experience = make(seed=seed)
    centres = np.stack([experience.intents[experience.traces.chosen == c].mean(axis=0) for c in range(20)])
    experience = replace(experience, capabilities=(centres / np.linalg.norm(centres, axis=1)[:, None]).astype("f4"))
    numbers = experience.traces_in("train")
    _, first = np.unique(experience.traces.chosen[numbers], return_index=True)
    judged = choose(experience, numbers[first], CentroidConfig())
    choice = choose_kind(judged.moved, judged.still, None, {})
    assert choice.kind == "cosine" and "cosine is served" in choice.sentence


def test_trees_are_better_than_chance_and_rank_everything(small: Experience) -> None:
    score = lambdamart(small, small.traces_in("train"), Move(0.6), trees=20)
    asked = small.successes("test")
    assert reciprocal_ranks(score, asked).mean() > 0.5 and np.isfinite(score(asked.intents)).all()


def test_the_network_is_served_only_where_its_gain_is_no_chance() -> None:
    rng = np.random.default_rng(0)
    still = rng.random(300)
    better, alike = np.minimum(still + 0.2, 1), still + rng.normal(0, 0.01, 300)
    simple = {"cosine": still, "centroid": better}
    assert choose_kind(better, still, better, simple).kind == "centroid"
    chosen = choose_kind(alike, still, better, simple)
    assert chosen.kind == "hypergraph" and chosen.sentence.startswith("the network is served")
    assert lost(still, better)[0] and not lost(better, still)[0] and not lost(alike, still)[0]
