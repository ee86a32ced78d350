"""Charts are well-formed SVG in the page's colours and fonts, equal for equal input."""

from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from evaluation.charts import bars, curves, histogram, reliability_diagram, win_loss
from evaluation.svg import LINES, PAINT

CHARTS: dict[str, Callable[[], str]] = {
    "bars": lambda: bars(["ours", "theirs"], [0.19, 0.14], [(0.18, 0.2), None], "ours"),
    "bars of nothing": lambda: bars(["only"], [0.0]),
    "curves": lambda: curves({f"m{n}": [(1, 0.1), (10, 0.5), (100, 1.0)] for n in range(9)}, "k", "hit", "m0", True),
    "curve of one point": lambda: curves({"loss": [(1, 5.0)]}, "epoch", "loss", "loss"),
    "reliability": lambda: reliability_diagram([{"promised": 0.1, "observed": 0.0, "cases": 20}]),
    "win and loss": lambda: win_loss([0.5, 0.0, -1.0], 300, "nDCG@10"),
    "equal on every question": lambda: win_loss([0.0], 1, "nDCG@10"),
    "histogram": lambda: histogram([1, 2, 4, 8, 16, 32, 64], [9, 8, 7, 6, 5, 4, 3], "links", "documents"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_is_svg_that_fits_the_page(name: str) -> None:
    svg = CHARTS[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "width" not in root.attrib
    assert "DejaVu" not in svg
    assert "<style" not in svg
    assert "<!DOCTYPE" not in svg
    assert not any(marker in svg for marker in [*PAINT, *LINES])
    assert "var(--" in svg
    assert CHARTS[name]() == svg


def test_words_stay_words() -> None:
    svg = CHARTS["bars"]()
    words = [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"ours", "theirs", "0.190", "0.140"} <= set(words)
