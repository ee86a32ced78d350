"""Charts for one HTML page, each a function from values to SVG text."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from evaluation.svg import ACCENT, BAR, INK, LINES, MUTED, RULE, as_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOST = next(iter(LINES))

WIDE, NARROW = 6.6, 4.2  # inches: a panel of its own, and one of two beside each other


def bars(
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float] | None] | None = None,
    highlight: str | None = None,
    form: str = "{:.3f}",
    width: float = WIDE,
) -> str:
    """Horizontal bars in the given order, the first on top, each with its value and, where known, its interval."""

    def draw(axes: "Axes") -> None:
        places = np.arange(len(names))[::-1]
        axes.barh(places, values, height=0.62, color=[ACCENT if name == highlight else BAR for name in names])
        ends = list(values)
        for n, interval in enumerate(intervals or []):
            if interval is not None:
                axes.plot(interval, [places[n]] * 2, color=INK, linewidth=1.4, solid_capstyle="butt")
                ends[n] = max(ends[n], interval[1])
        room = max([*ends, 1e-9])
        for place, value, end in zip(places, values, ends, strict=True):
            axes.text(end + 0.015 * room, place, form.format(value), va="center", fontsize=10)
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_xlim(0, room * 1.16)
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)

    return as_svg("bars", draw, (width, 0.42 * len(names) + 0.5))


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    x: str,
    y: str,
    highlight: str | None = None,
    log_x: bool = False,
    width: float = WIDE,
) -> str:
    """Lines through points, one per name; the highlighted one on top and heavier."""
    colours = dict(zip([name for name in series if name != highlight], cycle(LINES), strict=False))

    def draw(axes: "Axes") -> None:
        for name, points in series.items():
            main = name == highlight
            axes.plot(
                *zip(*points, strict=True),
                label=name,
                color=ACCENT if main else colours[name],
                linewidth=2.6 if main else 1.6,
                zorder=3 if main else 2,
                marker="o" if len(points) < 3 else None,
            )
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.minorticks_off()
        else:
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(bottom=0)
        if len(series) > 1:
            axes.figure.legend(labelcolor=INK, fontsize=9.5, loc="outside lower center", ncols=2)

    return as_svg("curves", draw, (width, 3.0 + 0.14 * (len(series) > 1) * len(series)))


def groups(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    x: str,
    y: str,
    highlight: str | None = None,
    width: float = WIDE,
) -> str:
    """Lines over named groups in their order, one line per name; the highlighted one on top and heavier."""
    colours = dict(zip([name for name in series if name != highlight], cycle(LINES), strict=False))

    def draw(axes: "Axes") -> None:
        for name, values in series.items():
            main = name == highlight
            axes.plot(
                range(len(labels)),
                values,
                label=name,
                color=ACCENT if main else colours[name],
                linewidth=2.6 if main else 1.6,
                zorder=3 if main else 2,
                marker="o",
                markersize=4.5 if main else 3,
            )
        axes.set_xticks(range(len(labels)), labels, rotation=35 if len(labels) > 7 else 0)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_ylim(bottom=0)
        if len(series) > 1:
            axes.figure.legend(labelcolor=INK, fontsize=9.5, loc="outside lower center", ncols=2)

    return as_svg("groups", draw, (width, 3.0 + 0.14 * (len(series) > 1) * len(series)))


def win_loss(differences: Sequence[float], queries: int, y: str, width: float = NARROW) -> str:
    """Differences of two systems query by query, the largest first: what is won above the axis, what is lost below.

    Args:
        differences: in falling order; of many queries, some that are evenly spaced.
        queries: number of them in all.
        y: what differs.
        width: in inches.
    """

    def draw(axes: "Axes") -> None:
        values = np.asarray(differences)
        edges = np.linspace(0, queries, len(values) + 1)
        axes.stairs(np.maximum(values, 0), edges, fill=True, color=ACCENT)
        axes.stairs(np.minimum(values, 0), edges, fill=True, color=LOST)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xlim(0, queries)
        end = max(0.1, 1.05 * float(np.abs(values).max()))
        axes.set_ylim(-end, end)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("questions, the most won first")
        axes.set_ylabel(y)

    return as_svg("win_loss", draw, (width, 2.6))


def parallel_coordinates(
    axes: Sequence[tuple[str, Sequence[float], Sequence[tuple[float, str]]]], colour: Sequence[float], best: int
) -> str:
    """A line for each trial through its values, one upright axis for each; the better a trial, the stronger its line.

    Args:
        axes: name, the trials' places from 0 to 1, and the marks: place and text.
        colour: of each trial, from 0 (worst) to 1.
        best: the trial that is set off.
    """

    def draw(plot: "Axes") -> None:
        places = np.arange(len(axes))
        for trial in np.argsort(colour):
            values = [values[trial] for _, values, _ in axes]
            main = trial == best
            plot.plot(
                places,
                values,
                color=ACCENT if main else INK,
                alpha=1.0 if main else 0.1 + 0.5 * float(colour[trial]),
                linewidth=2.6 if main else 1.2,
                zorder=3 if main else 2,
            )
        for place, (_, _, marks) in zip(places, axes, strict=True):
            plot.plot([place, place], [0, 1], color=RULE, linewidth=1.0, zorder=1)
            for height, text in marks:  # the ends are named beyond the lines
                end = {0.0: (0.0, -0.055), 1.0: (0.0, 1.055)}.get(height, (0.04, height))
                side = "left" if end[0] else "center"
                plot.text(place + end[0], end[1], text, fontsize=8.5, color=MUTED, va="center", ha=side, zorder=4)
        plot.set_xticks(places, [name.replace(".", "\n") for name, _, _ in axes])
        plot.tick_params(length=0, labelcolor=INK, labelsize=9)
        plot.set_yticks([])
        plot.set_xlim(-0.3, len(axes) - 1 + 0.3)
        plot.set_ylim(-0.1, 1.1)
        plot.grid(visible=False)
        for side in ("left", "bottom"):
            plot.spines[side].set_visible(False)

    return as_svg("parallel", draw, (WIDE, 3.6))


def reliability_diagram(
    bins: Sequence[Mapping[str, float]],
    before: Sequence[Mapping[str, float]] = (),
    observed: str = "share that were links",
) -> str:
    """Predicted probability against observed share; on the diagonal they are equal.

    Args:
        bins: ``promised``, ``observed`` and ``cases`` of each bin, with intervals.
        before: the same before calibration, drawn paler.
        observed: what is on the other axis.
    """

    def draw(axes: "Axes") -> None:
        rows = [*bins, *before]
        end = min(1.04, 1.08 * max([row[key] for row in rows for key in ("promised", "observed")] + [1e-6]))
        axes.plot([0, end], [0, end], color=MUTED, linewidth=1.2, linestyle=(0, (4, 4)))
        promised, shares = [row["promised"] for row in bins], [row["observed"] for row in bins]
        spread = [1.96 * np.sqrt(max(o * (1 - o), 0.0) / row["cases"]) for o, row in zip(shares, bins, strict=True)]
        if before:
            earlier = [[row[key] for row in before] for key in ("promised", "observed")]
            axes.plot(*earlier, color=BAR, marker="o", markersize=4, linewidth=1.2, label="before calibration")
        label = "after calibration" if before else None
        axes.errorbar(promised, shares, yerr=spread, fmt="o", markersize=5, color=ACCENT, elinewidth=1.2, label=label)
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel(observed)
        axes.set_aspect("equal")
        axes.locator_params(nbins=5)
        if before:
            axes.legend(labelcolor=INK, fontsize=9.5, loc="upper left")

    return as_svg("reliability_before" if before else "reliability", draw, (NARROW, 3.9))


def histogram(lows: Sequence[int], counts: Sequence[int], x: str, y: str, width: float = WIDE) -> str:
    """Columns of counts over ranges that double: [1, 2), [2, 4), ..."""

    def draw(axes: "Axes") -> None:
        axes.bar(range(len(lows)), counts, width=0.86, color=BAR)
        labels = [str(low) if low < 2 else f"{low}–{2 * low - 1}" for low in lows]
        axes.set_xticks(range(len(lows)), labels, rotation=35 if len(lows) > 5 else 0)
        axes.grid(axis="x", visible=False)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel(x)
        axes.set_ylabel(y)

    return as_svg("histogram", draw, (width, 3.2))


def scatter(
    points: Mapping[str, Sequence[tuple[float, float, str]]],
    x: str,
    y: str,
    highlight: str | None = None,
    numbered: Sequence[tuple[float, float, str]] = (),
    width: float = WIDE,
) -> str:
    """Points by group, each with a name that shows when the pointer rests on it.

    Args:
        points: x, y and name of each point of each group; the groups in the order they are drawn.
        x: name of the axis.
        y: name of the axis.
        highlight: group that is set off.
        numbered: x, y and short text that is written beside a point.
        width: in inches.
    """
    colours = dict(zip([name for name in points if name != highlight], [BAR, *LINES], strict=False))
    names: list[str] = []

    def draw(axes: "Axes") -> None:
        for group, of_group in points.items():
            main = group == highlight
            axes.plot([], [], "o", color=ACCENT if main else colours[group], markersize=6 if main else 4.5, label=group)
            for at_x, at_y, name in of_group:
                (mark,) = axes.plot(
                    [at_x],
                    [at_y],
                    "o",
                    color=ACCENT if main else colours[group],
                    markersize=7 if main else 4.5,
                    markeredgewidth=0,
                    zorder=3 if main else 2,
                )
                mark.set_gid(f"named-{len(names)}")
                names.append(name)
        for at_x, at_y, text in numbered:
            axes.annotate(text, (at_x, at_y), (5, 4), textcoords="offset points", fontsize=9, color=INK, zorder=4)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.margins(0.06)
        if len(points) > 1:
            axes.figure.legend(labelcolor=INK, fontsize=9.5, loc="outside lower center", ncols=3)

    svg = as_svg("scatter", draw, (width, 4.2))
    for number, name in enumerate(names):
        svg = svg.replace(f'<g id="named-{number}">', f"<g><title>{escape(name)}</title>", 1)
    return svg
