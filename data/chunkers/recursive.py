"""Cutting at the best boundary in reach, in one pass from left to right.

A cut depends on the characters around it and on where its passage began, and on nothing else. So after a change the old
and the new cuts soon meet again: a paragraph that ends in the windows of both is where both cut.
"""

import re

from data.chunkers import Span

# Where a text is cut best, best first: between paragraphs, after a sentence of any script, between lines and words.
SENTENCE = re.compile(r"[.!?\u05c3\u061f\u06d4\u0964]['\")\]\u201d\u2019]*\s+|[\u3002\uff01\uff1f]")
BOUNDARIES = (
    re.compile(r"\n\s*\n"),
    SENTENCE,
    re.compile(r"\n"),
    re.compile(r"\s+"),
)
_VISIBLE = re.compile(r"\S")


def cut_recursive(text: str, max_chars: int, overlap_chars: int) -> list[Span]:
    """The passages of a text as half-open spans of characters.

    They are in order, each at most ``max_chars`` long, without white space at their ends where they are cut, and
    together they hold every character of the text but white space between them. A text that is short enough is one
    passage, whole; so is an empty one.
    """
    if len(text) <= max_chars:
        return [(0, len(text))]
    spans: list[Span] = []
    start = skip_space(text, 0)
    while start < len(text):
        cut = _cut(text, start, max_chars)
        end = start + len(text[start:cut].rstrip())
        spans.append((start, end))
        rest = skip_space(text, cut)
        start = rest if rest == len(text) else _next_start(text, start, cut, overlap_chars)
    return spans or [(0, 0)]


def skip_space(text: str, start: int) -> int:
    """Position of the first character from ``start`` on that is no white space; the text's length if there is none."""
    found = _VISIBLE.search(text, start)
    return found.start() if found else len(text)


def _cut(text: str, start: int, limit: int) -> int:
    """Where the passage that begins at ``start`` ends: the last of the best boundaries in its second half."""
    if len(text) - start <= limit:
        return len(text)
    for boundary in BOUNDARIES:
        last = None
        for last in boundary.finditer(text, start + limit // 2, start + limit):  # noqa: B007 - the last one is wanted
            pass
        if last:
            return last.end()
    return start + limit


def _next_start(text: str, start: int, cut: int, overlap: int) -> int:
    """The first beginning of a word in the overlap, or the cut where there is none."""
    if overlap:
        earliest = max(start + 1, cut - overlap)
        space = BOUNDARIES[-1].search(text, earliest, cut)
        if space and space.end() < cut:
            return space.end()
    return skip_space(text, cut)
