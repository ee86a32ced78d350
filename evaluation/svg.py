"""Charts as SVG text for one HTML page: they take the page's colours, light or dark, and carry no fonts or scripts.

matplotlib draws with the marker colours of ``PAINT``; in the SVG each becomes the CSS variable that the page defines.
"""

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAINT = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--rule)",
    "#040404": "var(--accent)",
    "#050505": "var(--bar)",
}
INK, MUTED, RULE, ACCENT, BAR = PAINT
LINES = {f"#0{n}0{n}10": f"var(--line-{n})" for n in range(1, 7)}

STYLE = {
    "font.size": 10.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 2.0,
    "legend.frameon": False,
    "figure.facecolor": "none",
}


def as_svg(kind: str, draw: Callable[["Axes"], None], size: tuple[float, float]) -> str:
    """A chart as text to be put into the page; equal charts give equal text.

    Args:
        kind: of chart; with the size it makes the ids of a page's charts differ.
        draw: draws it.
        size: width and height in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # ids are hashed with the salt: equal charts give equal files, and the ids of different charts on a page differ
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"{kind}{size}"}):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(written.getvalue(), width=size[0] * 100)


def _for_page(svg: str, width: float) -> str:
    """Strip what belongs to a file of its own (header, size, fonts, style sheet, shared ids) and colour the rest."""
    svg = svg[svg.index("<svg") :]
    for unwanted in (
        r"<metadata>.*?</metadata>",
        r"<style.*?</style>",
        r" font-family: [^;\"]*;",
        r' id="[a-zA-Z.\d]+_\d+"',
        r' (?:height|width)="[\d.]+pt"',
    ):
        svg = re.sub(unwanted, "", svg, flags=re.DOTALL)
    for marker, colour in {**PAINT, **LINES}.items():
        svg = svg.replace(marker, colour)
    return svg.replace("<svg ", f'<svg class="chart" style="max-width: {width:.0f}px" role="img" ', 1)
