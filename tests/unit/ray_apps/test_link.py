"""``catena link`` refuses what a run's model cannot answer, before anything is made."""

from pathlib import Path

import pytest

from data.errors import InputError
from ray_apps.config import load_run
from ray_apps.link import COMMAND
from ray_apps.plan import Plan
from ray_apps.tables import proposals

RUNS = Path(__file__).resolve().parents[3] / "runs"


@pytest.mark.parametrize(
    ("run", "words", "said"),
    [
        ("cora", ["--text", "neural networks"], "cora is a graph without text"),
        ("cora", ["--text", " "], "has neither text nor links"),
        ("umls", ["--text", "virus"], "the model of umls is of typed links"),
    ],
)
def test_what_a_model_cannot_look_at_is_told(run: str, words: list[str], said: str, tmp_path: Path) -> None:
    file = RUNS / f"{run}.yaml"
    plan = Plan(load_run(file, ["--workspace", str(tmp_path)]))
    assert COMMAND.call is not None
    with pytest.raises(InputError, match=said):
        COMMAND.call(plan, COMMAND.parser().parse_args([str(file), *words]))


@pytest.mark.parametrize(
    ("probability", "shown"), [(0.875, "0.875"), (0.1, "0.100"), (0.0204, "0.02"), (0.000204, "0.0002"), (0.0, "0.000")]
)
def test_small_probabilities_are_told_apart(probability: float, shown: str) -> None:
    link = {"probability": probability, "source_label": "a", "target_label": "b", "relation": "r", "reason": "why"}
    assert f"1. {shown}  a -> b" in proposals({"proposals": [link]})
