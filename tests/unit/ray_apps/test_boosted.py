"""The stage of boosted trees: which steps decide it, who reads it, and what a run is told of it."""

from pathlib import Path
from typing import Any

import pytest

from data.artifacts import materialise
from data.errors import InputError
from ray_apps.boosted import BoostedResult, KeptOrder, boost, shown, steps_to_learn
from ray_apps.commands import COMMANDS
from ray_apps.config import load_run
from ray_apps.pipelines import open_rankers, pipeline_needs, ranker_folders, served_boosted
from ray_apps.plan import Plan
from ray_apps.tables import hits
from retrieval.boosted import BoostedRanker
from retrieval.steps import FindStep, RankStep
from tests.run_files import changed, write_run
from tests.unit.training.boosted.test_driver import trained, write_corpus

RESULT = BoostedResult(
    learned_from="judgments of split train",
    questions=100,
    left_out=2,
    candidates=1000,
    answered=90,
    trees=7,
    rising=True,
    ndcg={"first": 0.5, "reranked": 0.6},
    compared={"difference": 0.1, "difference_low": 0.05, "difference_high": 0.15, "p_value": 0.001},
    beats=True,
    importances={"gain": {"bm25_score": 0.9, "age_days": 0.1}, "split": {"bm25_score": 12.0, "age_days": 3.0}},
    model="m",
)
BEST = [{"find": "hybrid", "depth": 100}, {"rank": "boosted", "depth": 40}]


def test_candidates_are_found_by_the_steps_before_the_ranker(tmp_path: Path) -> None:
    plain = load_run(write_run(tmp_path))
    assert steps_to_learn(plain) == (FindStep(find="hybrid"), RankStep(rank="boosted", depth=50))
    pipelines = {"words": [{"find": "bm25"}], "best": BEST, "other": [{"find": "dense"}, {"rank": "boosted"}]}
    run = load_run(write_run(tmp_path, pipelines=pipelines))
    assert steps_to_learn(run) == run.pipelines["best"]
    named = load_run(write_run(tmp_path, pipelines=pipelines, boosted={"pipeline": "words", "depth": 30}))
    assert steps_to_learn(named) == (FindStep(find="bm25"), RankStep(rank="boosted", depth=30))
    wrong = load_run(write_run(tmp_path, pipelines=pipelines, boosted={"pipeline": "word"}))
    with pytest.raises(InputError, match="did you mean 'words'"):
        steps_to_learn(wrong)


def test_the_stage_is_wanted_where_a_pipeline_has_the_step_and_decides_what_reads_it(tmp_path: Path) -> None:
    plain = load_run(write_run(tmp_path))
    assert "boosted" not in Plan(plain).names()
    run = load_run(write_run(tmp_path, pipelines={"best": BEST}))
    names = Plan(run).names()
    assert names.index("index") < names.index("boosted")
    assert pipeline_needs(Plan(run), run.pipelines) == {"boosted": "boosted"}
    assert changed(run, load_run(write_run(tmp_path, pipelines={"best": BEST}, boosted={"leaves": 4}))) == {
        "boosted",
        "evaluate_search",
    }
    assert not changed(run, load_run(write_run(tmp_path, pipelines={"best": BEST}, boosted={"threads": 3})))
    same = load_run(write_run(tmp_path, pipelines={"best": BEST}, boosted={"pipeline": "best"}))
    assert not changed(run, same), "the same steps by their name"
    epochs = load_run(write_run(tmp_path, pipelines={"best": BEST}, ranker={"optimizer": {"epochs": 9}}))
    assert changed(run, epochs) == {"ranker"}, "of the cross-encoder's keys only those of the questions count"
    share = load_run(write_run(tmp_path, pipelines={"best": BEST}, ranker={"learn_share": 0.2}))
    assert changed(run, share) == {"ranker", "boosted", "evaluate_search"}


def test_a_pipeline_with_the_runs_cross_encoder_needs_that_first(tmp_path: Path) -> None:
    steps = [{"find": "hybrid"}, {"rank": "cross-encoder"}, {"rank": "boosted"}]
    run = load_run(write_run(tmp_path, pipelines={"best": steps}, ranker={"model": "trained"}))
    plan = Plan(run)
    config: Any = plan.stages["boosted"].config(plan)
    assert plan.stages["boosted"].needs(plan)["ranker"] == "ranker" and config.ranker == "trained"
    run = load_run(write_run(tmp_path, pipelines={"best": BEST}, ranker={"model": "trained"}))
    config = Plan(run).stages["boosted"].config(Plan(run))
    assert "ranker" not in Plan(run).stages["boosted"].needs(Plan(run)) and config.ranker is None


def test_while_candidates_are_gathered_the_order_is_kept() -> None:
    assert KeptOrder().score(["a", "b"], [[], []]) == [None, None]


def test_the_command_takes_a_pipeline_and_shows_what_features_did(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, pipelines={"words": [{"find": "bm25"}], "best": BEST}))
    named = run.model_copy(update={"boosted": run.boosted.model_copy(update={"pipeline": "words"})})
    made = materialise(Plan(named).artifact("boosted"), lambda out: RESULT)
    arguments = COMMANDS["ranker boost"].parser().parse_args([str(tmp_path / "run.yaml"), "--pipeline", "words"])
    told = boost(Plan(run), arguments)
    assert told["artifact"] == str(made.path) and told["boosted"]["trees"] == 7
    text = shown(told)
    assert "bm25_score" in text and "0.9000" in text and "12" in text and "ndcg reranked" in text


def test_what_a_pipeline_ranks_by_is_opened_and_known_by_its_folder(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, pipelines={"best": BEST}))
    artifact = Plan(run).artifact("boosted")
    trained(write_corpus(tmp_path / "corpus"), artifact.path)
    inputs = {"boosted": artifact}
    rankers = open_rankers(run.pipelines, None, inputs)
    assert set(rankers) == {"boosted"} and isinstance(rankers["boosted"], BoostedRanker)
    assert ranker_folders(run.pipelines, None, inputs) == [artifact.path / "trained"]
    assert ranker_folders({"dense": (FindStep(find="dense"),)}, "org/model", {}) == []
    both = load_run(
        write_run(
            tmp_path,
            pipelines={"best": [{"find": "hybrid"}, {"rank": "cross-encoder"}, {"rank": "boosted"}]},
            ranker={"model": str(tmp_path)},
        )
    )
    assert ranker_folders(both.pipelines, str(tmp_path), inputs) == [tmp_path, artifact.path / "trained"]


def test_a_service_takes_the_trees_and_makes_none_itself(tmp_path: Path) -> None:
    plan = Plan(load_run(write_run(tmp_path, pipelines={"best": BEST})))
    with pytest.raises(InputError, match="pipelines: rank: boosted, and there are no trained trees at ") as error:
        served_boosted(plan)
    assert "catena ranker boost" in error.value.remedy
    made = materialise(plan.artifact("boosted"), lambda out: RESULT)
    assert served_boosted(plan) == (made.path / "trained").resolve()
    assert served_boosted(Plan(load_run(write_run(tmp_path)))) is None


def test_effects_are_told_with_an_answer() -> None:
    features = [
        {"name": "bm25_score", "value": 12.5, "effect": 0.75},
        {"name": "age_days", "value": None, "effect": -0.125},
    ]
    explanation = {"lists": [], "steps": [], "features": features, "matched_words": []}
    hit = {"document_id": "d", "title": "", "text": "t", "score": 1.0, "explanation": explanation}
    text = hits({"hits": [hit]})
    assert "bm25_score 12.5 moves it by +0.750; age_days not known moves it by -0.125" in text


@pytest.mark.parametrize(
    ("boosted", "problem"),
    [
        ({"leaves": 1}, r"boosted\.leaves"),
        ({"leafs": 4}, "boosted.leafs: unknown key; did you mean 'leaves'"),
        ({"date": "a..b"}, "a key is empty"),
    ],
)
def test_a_wrong_value_names_its_key(tmp_path: Path, boosted: dict[str, object], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_run(write_run(tmp_path, boosted=boosted))
