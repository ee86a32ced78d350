"""The table of an ablation: means and deviations over seeds, and which choices paid on validation links."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.rows import Row

Values = list[float]


def rows_of(measured: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for each choice on each corpus.

    Args:
        measured: ``corpus``, ``part``, ``choice``, ``epochs``, and ``valid`` and ``test`` of one seed each.
    """
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for one in measured:
        groups.setdefault((one["corpus"], one["part"], one["choice"]), []).append(one)
    rows = []
    for (corpus, part, choice), group in groups.items():
        valid, test = ([one[figure] for one in group] for figure in ("valid", "test"))
        default = [one["valid"] for one in groups.get((corpus, part, "default"), [])]
        told = f"; on validation links {verdict(valid, default)}" if default and choice != "default" else ""
        what = f"filtered MRR on test links of {corpus}, {part}: {choice}"
        trained = f"{len(group)} seeds of at most {group[0]['epochs']} epochs"
        rows.append(
            Row(
                id=f"ablation.{corpus}_{part}_{choice.replace(' ', '_')}",
                what=what,
                value=round(float(np.mean(test)), 4),
                unit="MRR",
                peer=f"test {spread(test)}, valid {spread(valid)}, {trained}{told}",
            )
        )
    return rows


def spread(values: Values) -> str:
    """Mean and standard deviation over seeds; the mean alone where there is one."""
    mean = f"{np.mean(values):.4f}"
    return f"{mean} ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else mean


def verdict(values: Values, default: Values) -> str:
    """Whether a choice beats the default beyond what seeds do: by twice the standard error of the difference.

    Welch's statistic (1947); with three seeds a rule of thumb. One seed gives the difference alone.
    """
    gain = float(np.mean(values) - np.mean(default))
    if min(len(values), len(default)) < 2:
        return f"{gain:+.4f}, one seed"
    error = float(np.sqrt(np.var(values, ddof=1) / len(values) + np.var(default, ddof=1) / len(default)))
    word = "level with" if abs(gain) <= 2 * error else "better than" if gain > 0 else "worse than"
    return f"{word} the default ({gain:+.4f})"
