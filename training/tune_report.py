"""What a search found, for people: how the best score rose, which keys matter, and where the good trials lie."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from data.files import whole_or_absent
from evaluation import charts, page

Axis = tuple[str, list[float], list[tuple[float, str]]]
FEW = 4  # trials from which importances are estimated


def importances(study: optuna.Study) -> dict[str, float]:
    """Share of the spread of scores that each key explains, most first; empty where there are too few trials.

    Functional ANOVA on a forest (Hutter, Hoos and Leyton-Brown, ICML 2014).
    """
    done = _done(study)
    if len(done) < FEW or len({trial.value for trial in done}) < 2:
        return {}
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return {key: float(share) for key, share in found.items()}


def write_tune_report(
    study: optuna.Study, name: str, metric: str, before: Mapping[str, Any], epochs: int, out: Path
) -> Path:
    """Write the page ``report.html`` into a folder and return its path.

    Args:
        study: with at least one complete trial.
        name: of the run.
        metric: what was to be high.
        before: the searched keys and their values in the run file.
        epochs: most of a trial.
        out: the folder.
    """
    done, best = _done(study), study.best_trial
    stopped = sum(len(trial.intermediate_values) < epochs for trial in done)
    first = next((_value(trial) for trial in done if trial.params == dict(before)), None)
    cards = [(f"{best.value:.4f}", f"best {metric}"), (str(len(done)), "trials"), (str(stopped), "stopped early")]
    if first is not None:
        cards.insert(1, (f"{first:.4f}", "with the run file's values"))
    parts = [
        page.header("Catena search", name, f"{len(done)} trials over {len(best.params)} keys"),
        page.cards(cards),
        page.section(
            "Best trial",
            page.panel(_values_table(before, best)),
            page.panel(charts.curves({"best so far": _rising(done)}, "trial", metric), "Best so far"),
        ),
    ]
    shares = importances(study)
    if shares:
        bars = charts.bars(list(shares), list(shares.values()), form="{:.2f}")
        note = "Share of the spread between trials that a key explains (functional ANOVA)."
        parts.append(page.section("Which keys matter", page.prose(note, note=True), page.panel(bars)))
    if len(best.params) > 1:
        parts.append(page.section("All trials", page.panel(_parallel(done, best, metric))))
    path = out / "report.html"
    with whole_or_absent(path) as unfinished:
        unfinished.write_text(page.page(f"{name} – Catena search", parts), encoding="utf-8")
    return path


def _done(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def _value(trial: FrozenTrial) -> float:
    return float(trial.value) if trial.value is not None else -math.inf


def _rising(done: Sequence[FrozenTrial]) -> list[tuple[float, float]]:
    best, points = -math.inf, []
    for number, trial in enumerate(done, 1):
        best = max(best, _value(trial))
        points.append((float(number), best))
    return points


def _values_table(before: Mapping[str, Any], best: FrozenTrial) -> str:
    rows = "".join(
        f"<tr><td>{key}</td><td class=number>{_text(before[key])}</td><td class=number>{_text(value)}</td></tr>"
        for key, value in best.params.items()
    )
    head = "<tr><th>key</th><th class=number>run file</th><th class=number>best trial</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _parallel(done: Sequence[FrozenTrial], best: FrozenTrial, metric: str) -> str:
    scores = [_value(trial) for trial in done]
    low, spread = min(scores), (max(scores) - min(scores)) or 1.0
    places = [(score - low) / spread for score in scores]
    axes = [_axis(key, done) for key in best.params]
    axes.append((metric, places, [(0.0, f"{low:.4f}"), (1.0, f"{max(scores):.4f}")]))
    ranked = sorted(scores)
    strength = [ranked.index(score) / max(1, len(scores) - 1) for score in scores]
    return charts.parallel_coordinates(axes, strength, [trial.number for trial in done].index(best.number))


def _axis(key: str, done: Sequence[FrozenTrial]) -> Axis:
    """A key's axis: its range from bottom to top, on the scale it was drawn on."""
    allowed, values = done[0].distributions[key], [trial.params[key] for trial in done]
    if isinstance(allowed, CategoricalDistribution):
        steps = max(1, len(allowed.choices) - 1)
        places = [allowed.choices.index(value) / steps for value in values]
        return key, places, [(number / steps, str(choice)) for number, choice in enumerate(allowed.choices)]
    assert isinstance(allowed, FloatDistribution | IntDistribution)
    scale = math.log if allowed.log else float
    low, high = scale(allowed.low), scale(allowed.high)
    return (
        key,
        [(scale(v) - low) / (high - low) for v in values],
        [(0.0, _text(allowed.low)), (1.0, _text(allowed.high))],
    )


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
