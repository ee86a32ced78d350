"""The pieces of the report's HTML page: one file, no scripts, nothing fetched, light or dark as the reader prefers."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

CSS = """
:root { color-scheme: light dark; --page: #fbfaf8; --card: #ffffff; --ink: #1d2330; --muted: #667085; --rule: #e6e3dd;
  --accent: #0f766e; --bar: #b9c3cf; --line-1: #c2410c; --line-2: #4f6bd8; --line-3: #a16207; --line-4: #9333a8;
  --line-5: #64748b; --line-6: #be185d; }
@media (prefers-color-scheme: dark) { :root { --page: #12151b; --card: #1a1e27; --ink: #e8eaee; --muted: #98a2b3;
  --rule: #2b313d; --accent: #2dd4bf; --bar: #475467; --line-1: #fb923c; --line-2: #8ea3ff; --line-3: #facc15;
  --line-4: #d8a0ec; --line-5: #94a3b8; --line-6: #f472b6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.6 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", Ubuntu, sans-serif; }
main { max-width: 960px; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
header .eyebrow { color: var(--accent); font-weight: 600; letter-spacing: .08em; text-transform: uppercase;
  font-size: .78rem; }
h1 { font-size: 2.3rem; line-height: 1.15; letter-spacing: -.02em; margin: .2rem 0 .5rem; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 3.2rem 0 .4rem; }
p { max-width: 68ch; margin: .5rem 0 1rem; }
.lead, .note { color: var(--muted); }
.note { font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: .8rem; margin: 1.8rem 0 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: .8rem .95rem; }
.card b { display: block; font-size: 1.55rem; line-height: 1.25; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.card span { color: var(--muted); font-size: .84rem; line-height: 1.35; display: block; }
.panel { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 1rem 1.2rem;
  margin: 1rem 0; overflow-x: auto; }
.panel h3 { margin: 0 0 .5rem; font-size: .95rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(360px, 1fr)); gap: 1rem; margin: 1rem 0; }
.columns .panel { margin: 0; }
.stack { display: flex; flex-direction: column; gap: 1rem; }
.stack .panel:last-child { flex-grow: 1; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--muted); font-weight: 500; font-size: .82rem; white-space: nowrap; }
th, td { padding: .42rem .7rem; border-bottom: 1px solid var(--rule); vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
tr.ours td:first-child { color: var(--accent); font-weight: 600; }
td small { display: block; color: var(--muted); font-size: .76rem; }
.mark { display: inline-block; width: 1em; text-align: left; font-size: .7rem; vertical-align: 1px; }
.mark.better { color: var(--accent); }
.mark.worse { color: var(--line-1); }
details.panel summary { cursor: pointer; font-weight: 600; font-size: .95rem; }
ol.losses { margin: 0; padding: 0; list-style: none; }
ol.losses > li { padding: .9rem 0; border-bottom: 1px solid var(--rule); }
ol.losses > li:last-child { border-bottom: 0; padding-bottom: 0; }
ol.losses .asked { font-weight: 600; }
ol.losses .figures, ol.losses .beginning { color: var(--muted); font-size: .86rem; }
ol.losses .sides { margin-top: .4rem; }
ol.losses h4 { color: var(--muted); font-weight: 500; font-size: .82rem; }
ol.losses ul { margin: 0; padding: 0; list-style: none; font-size: .92rem; }
ol.losses ul li { padding: .2rem 0; overflow-wrap: anywhere; }
ol.losses .beginning { display: block; line-height: 1.4; }
ol.links { list-style: none; margin: 0; padding: 0; }
ol.links li { display: grid; grid-template-columns: 4.2rem 1fr; gap: .9rem; padding: .7rem 0;
  border-bottom: 1px solid var(--rule); }
ol.links li:last-child { border-bottom: 0; }
ol.links .probability { font-weight: 600; font-variant-numeric: tabular-nums; color: var(--accent); }
ol.links .why { color: var(--muted); font-size: .88rem; }
ol.links .arrow, ol.links .relation { color: var(--muted); }
ol.links .relation { font-size: .82rem; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1.4rem; }
.sides h4 { margin: .2rem 0; font-size: .95rem; color: var(--accent); }
.sides .text { font-size: .92rem; line-height: 1.5; margin: 0; white-space: pre-line; }
svg.chart { width: 100%; height: auto; display: block; margin: 0 auto; }
svg.chart text { font-family: inherit; }
a { color: var(--accent); }
footer { margin-top: 4rem; color: var(--muted); font-size: .85rem; }
"""


CODE = re.compile(r"`([^`]+)`")


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def header(eyebrow: str, title: str, lead: str) -> str:
    """The page's head."""
    return (
        f'<header><div class="eyebrow">{escape(eyebrow)}</div><h1>{escape(title)}</h1>'
        f'<p class="lead">{escape(lead)}</p></header>'
    )


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """A row of large figures, each with its caption."""
    shown = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(caption)}</span></div>' for value, caption in figures
    )
    return f'<div class="cards">{shown}</div>'


def section(title: str, *parts: str) -> str:
    """A headed stretch of the page."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def prose(text: str, note: bool = False) -> str:
    """A paragraph, what is between backticks as code; a note is smaller and paler."""
    shown = CODE.sub(r"<code>\1</code>", escape(text))
    return f'<p class="note">{shown}</p>' if note else f"<p>{shown}</p>"


def panel(content: str, title: str = "") -> str:
    """A framed box around a chart or a table."""
    head = f"<h3>{escape(title)}</h3>" if title else ""
    return f'<div class="panel">{head}{content}</div>'


def expandable(title: str, content: str) -> str:
    """A framed box that shows its title until the reader opens it."""
    return f'<details class="panel"><summary>{escape(title)}</summary>{content}</details>'


def columns(*panels: str) -> str:
    """Panels beside each other where the screen is wide enough."""
    return f'<div class="columns">{"".join(panels)}</div>'


def stack(*panels: str) -> str:
    """Panels below each other, as one of ``columns``."""
    return f'<div class="stack">{"".join(panels)}</div>'


class Note(NamedTuple):
    """What stands beside a figure of a table.

    Attributes:
        below: small text below it.
        mark: ``better`` or ``worse`` than what it is compared with; empty for neither.
    """

    below: str
    mark: str = ""


MARKS = {"better": "▲", "worse": "▼", "": ""}


def table(
    head: Sequence[str],
    rows: Sequence[tuple[str, Sequence[float | None]]],
    forms: Sequence[str],
    best: Sequence[str] = (),
    ours: str = "",
    notes: Sequence[Sequence[Note]] = (),
) -> str:
    """Figures of several methods, right-aligned, the best of each column in bold.

    Args:
        head: what the first column holds, then one title per figure.
        rows: name and figures of each method; None leaves a cell empty.
        forms: format of each column of figures, such as ``{:.3f}``.
        best: per column ``high`` or ``low`` for what is best there, or anything else for neither; may be shorter.
        ours: name of the row that is set off.
        notes: of each row, one a figure; empty where no figure has any.
    """
    wanted: list[float | None] = []
    for column in range(len(forms)):
        values = [figures[column] for _, figures in rows]
        known = [value for value in values if value is not None]
        rule = {"high": max, "low": min}.get(best[column] if column < len(best) else "")
        wanted.append(rule(known) if rule and len(known) > 1 else None)
    top = "".join(_cell("th", escape(title), number=n > 0) for n, title in enumerate(head))
    lines = []
    for number, (name, figures) in enumerate(rows):
        beside = notes[number] if notes else [None] * len(forms)
        cells = [
            _figure("" if value is None else form.format(value), value == winner, note)
            for value, form, winner, note in zip(figures, forms, wanted, beside, strict=True)
        ]
        first = _cell("td", escape(name))
        lines.append(f"{'<tr class=ours>' if name == ours else '<tr>'}{first}{''.join(cells)}</tr>")
    return f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _figure(text: str, best: bool, note: Note | None) -> str:
    shown = f"<strong>{text}</strong>" if text and best else text
    if note is not None:
        shown += f'<span class="mark {note.mark}">{MARKS[note.mark]}</span><small>{escape(note.below)}</small>'
    return _cell("td", shown, number=True)


def _cell(tag: str, content: str, number: bool = False) -> str:
    return f"<{tag}{' class=number' if number else ''}>{content}</{tag}>"


def comparison(title: str, one: tuple[str, str], other: tuple[str, str], below: str) -> str:
    """Two texts beside each other, each with its name, and a line below them."""
    sides = "".join(
        f'<div><h4><bdi>{escape(name)}</bdi></h4><p class="text"><bdi>{escape(text)}</bdi></p></div>'
        for name, text in (one, other)
    )
    return panel(f'<div class="sides">{sides}</div>{prose(below, note=True)}', title)


def link_list(proposals: Iterable[tuple[float, str, str, str, str]]) -> str:
    """Proposed links: probability, both documents' labels, relation and reason; labels in any script."""
    items = [
        f'<li><span class="probability">{probability:.3f}</span><div><bdi>{escape(source)}</bdi>'
        f' <span class="arrow">→</span> <bdi>{escape(target)}</bdi> <span class="relation">{escape(relation)}</span>'
        f'<div class="why">{escape(why)}</div></div></li>'
        for probability, source, target, relation, why in proposals
    ]
    return f'<ol class="links">{"".join(items)}</ol>'


def questions(asked: Iterable[tuple[str, str, Sequence[tuple[str, Sequence[tuple[str, str, str]]]]]]) -> str:
    """Questions with lists of documents beside each other; texts in any script.

    Args:
        asked: text and figures of each, and its lists: title, and name, remark and text of each document.
    """
    items = []
    for text, figures, lists in asked:
        sides = "".join(f"<div><h4>{escape(title)}</h4>{_documents(documents)}</div>" for title, documents in lists)
        items.append(
            f'<li><div class="asked"><bdi>{escape(text)}</bdi></div><div class="figures">{escape(figures)}</div>'
            f'<div class="sides">{sides}</div></li>'
        )
    return f'<ol class="losses">{"".join(items)}</ol>'


def _documents(documents: Sequence[tuple[str, str, str]]) -> str:
    listed = "".join(
        f'<li><bdi>{escape(name)}</bdi><span class="beginning">{escape(remark)} · <bdi>{escape(text)}</bdi></span></li>'
        for name, remark, text in documents
    )
    return f"<ul>{listed or '<li>none</li>'}</ul>"
