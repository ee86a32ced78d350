"""Samples of proposals for people to judge, and what they have judged.

``judge.html`` shows the samples with their texts; ``judge.csv`` has a line for each, with an empty column ``verdict``.
Filled in, the file is named in ``source.judgements``: what is judged ``yes`` becomes a link, what is judged ``no`` is
not proposed again.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.files import whole_or_absent
from data.sources.judgements import COLUMNS
from evaluation import page

EXCERPT = 600  # characters of a text on the page


def samples(count: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    """Places of samples from the whole range of an order: one at random from each of ``wanted`` equal stretches.

    Args:
        count: of what there is, best first.
        wanted: how many samples.
        seed: of the draw.

    Returns:
        int64 ascending, at most ``wanted``.
    """
    wanted = min(count, wanted)
    bounds = np.linspace(0, count, wanted + 1)
    drawn = bounds[:-1] + np.random.default_rng(seed).random(wanted) * np.diff(bounds)
    return np.unique(np.minimum(drawn.astype(np.int64), count - 1))


def write_samples(rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str], out: Path) -> None:
    """Write the page and the file to fill in.

    Args:
        rows: of the table of proposals.
        texts: of their documents, by id; may lack some.
        out: folder for ``judge.html`` and ``judge.csv``.
    """
    with whole_or_absent(out / "judge.csv") as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("number", *COLUMNS, "probability", "source_label", "target_label"))
        for number, row in enumerate(rows, 1):
            known = [row["source"], row["target"], row["relation"], ""]
            writer.writerow([number, *known, f"{row['probability']:.4f}", row["source_label"], row["target_label"]])
    with whole_or_absent(out / "judge.html") as unfinished:
        unfinished.write_text(_page(rows, texts), encoding="utf-8")


def _page(rows: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> str:
    lead = (
        f"{len(rows)} proposed links from the whole range of probabilities. Judge each: should these two be linked? "
        "Write yes or no into the column verdict of judge.csv, or nothing where you cannot tell, and name the file in "
        "the run file: source.judgements. What is judged yes becomes a link, what is judged no is not proposed again."
    )
    shown = [
        page.comparison(
            f"{number} · {row['probability']:.3f} · {row['relation']}",
            (row["source_label"], _excerpt(texts.get(row["source"], ""))),
            (row["target_label"], _excerpt(texts.get(row["target"], ""))),
            row["reason"],
        )
        for number, row in enumerate(rows, 1)
    ]
    return page.page("Links to judge", [page.header("Catena", "Links to judge", lead), *shown])


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT].rsplit(maxsplit=1)[0]} …"
