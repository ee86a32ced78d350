"""The space of a search is checked before anything trains, and what it found can be read."""

import re
from pathlib import Path
from typing import Any

import optuna
import pytest
from pydantic import ValidationError

from data.artifacts import StageConfig
from data.errors import InputError
from training.config import OptimizerConfig
from training.tune import changed, first_value
from training.tune_config import Choice, Range, TuneConfig, check_space, inner_values, with_values
from training.tune_report import importances, write_tune_report


class Whole(StageConfig):
    """A training in sections."""

    optimizer: OptimizerConfig = OptimizerConfig()
    layers: int = 2
    sizes: tuple[int, ...] = (8, 4)


RATE = {"optimizer.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}


def tuning(space: dict[str, Any]) -> TuneConfig:
    return TuneConfig.model_validate({"space": space})


def test_values_are_put_into_their_sections_and_checked() -> None:
    other = with_values(Whole(), {"optimizer.learning_rate": 0.5, "layers": 3})
    assert (other.optimizer.learning_rate, other.layers, other.sizes) == (0.5, 3, (8, 4))
    assert inner_values(other)["optimizer.learning_rate"] == 0.5 and "optimizer" not in inner_values(other)
    with pytest.raises(ValidationError):
        with_values(Whole(), {"optimizer.learning_rate": 2.0})


def test_numbers_are_whole_where_they_are_written_whole() -> None:
    assert Range(low=1, high=4).whole and not Range(low=1, high=4.0).whole
    assert tuning({"layers": {"choice": [1, 2]}}).space["layers"] == Choice(choice=(1, 2))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, r"tune.space: empty.*\n.*layers, optimizer.accumulate"),
        ({"optimizer.learning_rat": {"low": 0.1, "high": 0.2}}, "no such key; did you mean 'optimizer.learning_rate'"),
        ({"optimizer.compile": {"choice": [True, False]}}, "optimizer.compile: the section train has no such key"),
        ({"optimizer": {"choice": [1, 2]}}, "optimizer: the section train has no such key"),
        ({"optimizer.learning_rate": {"low": 0.1, "high": 3.0}}, "3.0 is not allowed: Input should be less than 1"),
        ({"optimizer.schedule": {"choice": ["cosine", "step"]}}, "'step' is not allowed: Input should be 'cosine'"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_space(Whole(), tuning(space))


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ({"low": 2, "high": 1}, "low must be below high"),
        ({"low": 0, "high": 1, "log": True}, "with log, low must be above 0"),
        ({"choice": [1]}, "at least 2 items"),
    ],
)
def test_a_range_that_is_none_is_refused(allowed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tuning({"layers": allowed})


def test_the_report_shows_what_matters(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    distributions = {
        "optimizer.learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        "layers": optuna.distributions.IntDistribution(1, 4),
        "optimizer.schedule": optuna.distributions.CategoricalDistribution(("cosine", "constant")),
    }
    before = {"optimizer.learning_rate": 3e-3, "layers": 2, "optimizer.schedule": "cosine"}
    for number in range(12):
        rate = 1e-4 * 1.7**number if number else 3e-3
        params = {"optimizer.learning_rate": rate, "layers": 1 + number % 4, "optimizer.schedule": "cosine"}
        params |= {} if number else {"layers": 2}
        study.add_trial(
            optuna.trial.create_trial(
                params=params,
                distributions=distributions,
                value=rate * 10,
                intermediate_values={epoch: 0.0 for epoch in range(1, 4 + number % 2)},
            )
        )
    assert first_value(study, before) == pytest.approx(0.03)
    assert changed(Whole(), study)["layers"] == (2, 4)
    shares = importances(study)
    assert next(iter(shares)) == "optimizer.learning_rate" and sum(shares.values()) == pytest.approx(1)
    text = write_tune_report(study, "points", "score", before, 4, tmp_path).read_text()
    assert re.search(r"<td>layers</td><td class=number>2</td><td class=number>4</td>", text)
    assert "6</b><span>stopped early" in text and text.count('<svg class="chart"') == 3
    assert "0.0300</b><span>with the run file" in text
