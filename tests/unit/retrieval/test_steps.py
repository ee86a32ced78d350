"""Pipelines as a run file has them: which lists of steps are taken, and how others are refused."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from data.errors import InputError
from retrieval.steps import (
    BUILT_IN,
    CallStep,
    ExpandStep,
    FindStep,
    Pipelines,
    RankStep,
    TokensStep,
    every_pipeline,
    mode_of,
    models_in,
    named,
)

READ = TypeAdapter(Pipelines)


def test_a_funnel_is_read_as_it_is_written() -> None:
    given = {
        "funnel": [
            {"find": "hybrid", "depth": 200, "weights": {"dense": 0.7, "bm25": 0.3}, "fusion": "rrf"},
            {"rank": "tokens", "depth": 120},
            {"expand": "known", "most": 5},
            {"rank": "cross-encoder", "depth": 40},
            {"call": "my_steps:newest", "arguments": {"field": "year"}},
            {"rank": "boosted", "depth": 20, "min_score": -1.5},
        ]
    }
    (steps,) = READ.validate_python(given).values()
    assert [type(step) for step in steps] == [FindStep, TokensStep, ExpandStep, RankStep, CallStep, RankStep]
    assert mode_of(steps) == "late" and models_in({"funnel": steps}) == {"tokens", "cross-encoder", "boosted"}
    assert READ.validate_python(READ.dump_python({"funnel": steps}, mode="json")) == {"funnel": steps}
    assert READ.validate_python({"funnel": steps}) == {"funnel": steps}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "the first step finds documents"),
        ([{"rank": "cross-encoder"}], "the first step finds documents"),
        ([{"find": "hybrid"}, {"find": "dense"}], r"step 1 \(find\) comes too late"),
        ([{"find": "hybrid"}, {"rank": "cross-encoder"}, {"rank": "tokens"}], r"step 2 \(rank\) comes too late"),
        ([{"find": "hybrid"}, {"call": "a:b"}, {"expand": "known"}], r"step 2 \(expand\) comes too late"),
        ([{"find": "hybrid"}, {"rank": "tokens"}, {"rank": "tokens"}], r"step 2 \(rank\) comes too late"),
        ([{"fnd": "hybrid"}], "unknown step fnd; did you mean 'find'"),
        ([{"find": "hybrid"}, {"rerank": "cross-encoder"}], "unknown step rerank; did you mean 'rank'"),
        ([{"find": "hybrid", "rank": "tokens"}], "unknown step find and rank"),
        (["hybrid"], "a step is a mapping with one of the keys find, expand, rank, call"),
        ([{"find": "sparse"}], "Input should be 'hybrid', 'dense' or 'bm25'"),
        ([{"find": "dense", "weights": {"dense": 1.0}}], "find: dense is one list"),
        ([{"find": "hybrid", "weights": {"dense": 0.0}}], "one of them is more than 0"),
        ([{"find": "hybrid", "depth": 0}], "greater than or equal to 1"),
        ([{"find": "hybrid", "dept": 5}], "Extra inputs"),
        ([{"find": "hybrid", "min_score": 0.3}, {"rank": "tokens"}], "min_score of `find` does not go with"),
        ([{"find": "hybrid"}, {"rank": "crossencoder"}], "Input should be 'cross-encoder' or 'boosted'"),
        ([{"find": "hybrid"}, {"rank": "boosted", "min_score": float("nan")}], "finite"),
        ([{"find": "hybrid"}, {"expand": "known", "weight": 0}], "greater than 0"),
        ([{"find": "hybrid"}, {"call": "no path"}], "should match pattern"),
    ],
)
def test_a_list_that_is_wrong_is_refused(steps: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        READ.validate_python({"own": steps})


@pytest.mark.parametrize("name", ["hybrid", "reranked", "a b", "x" * 65])
def test_names_that_are_taken_or_odd_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=r"is built in|should match pattern"):
        READ.validate_python({name: [{"find": "bm25"}]})


def test_the_default_is_hybrid_until_a_run_has_another() -> None:
    every = every_pipeline({}, late=False, depth=None)
    assert list(every) == ["default", "bm25", "dense", "hybrid"] and every["default"] == BUILT_IN["hybrid"]
    own = {"default": (FindStep(find="bm25"),)}
    every = every_pipeline(own, late=True, depth=30)
    assert every["default"] == own["default"] and set(every) == {*BUILT_IN, "default", "reranked"}
    assert [getattr(step, "depth", None) for step in every["reranked"]] == [30, 30]
    assert {name: mode_of(steps) for name, steps in BUILT_IN.items()} == {name: name for name in BUILT_IN}
    with pytest.raises(InputError, match="no pipeline 'hybird'; did you mean 'hybrid'"):
        named(every, "hybird")
