"""Cutting at the best boundary within the allowed size, in one pass from left to right.

A cut depends on the characters around it and on where its passage began, and on nothing else. So after a change the old
and the new cuts soon meet again: a paragraph that ends in the windows of both is where both cut.
"""

import re
from collections.abc import Iterator

import regex

from data.passages import Span

# What ends a sentence without a space after it: Unicode's property Sentence_Terminal beyond ASCII, and the ends of
# Hebrew verses (sof pasuq) and of Tibetan phrases (shad). Those above U+FFFF, of historic scripts mostly, are left out:
# with them Python's `re` takes three times as long for every text.
_TERMINALS = (
    r"\u0589\u05c3\u061d-\u061f\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u0f0d\u0f0e\u104a"
    r"\u104b\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8-\u1aab\u1b4e\u1b4f"
    r"\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d-\u1b7f\u1c3b\u1c3c\u1c7e\u1c7f\u2024\u203c\u203d\u2047-\u2049\u2cf9-\u2cfb"
    r"\u2e2e\u2e3c\u2e53\u2e54\u2e60\u2e61\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f"
    r"\ua9c8\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\ufe12\ufe15\ufe16\ufe52\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
_CLOSING = r"['\")\]\u00bb\u2019\u201d\u3009\u300b\u300d\u300f\u3011\uff09]*"
# Where a text is cut best, best first: between paragraphs, after a sentence of any script, between lines and words.
SENTENCE = re.compile(rf"[.!?]{_CLOSING}\s+|[{_TERMINALS}]{_CLOSING}\s*")
BOUNDARIES = (
    re.compile(r"\n\s*\n"),
    SENTENCE,
    re.compile(r"\n"),
    re.compile(r"[\s\u200b]+"),
)
# Where there is no space near enough: between words by UAX 29, or else between what readers see as characters.
_WITHIN_LINES = (regex.compile(r"\b(?=.)", regex.WORD | regex.DOTALL), regex.compile(r"\X"))
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
    for boundary in _WITHIN_LINES:  # two characters more, as what follows decides on a break too
        breaks: Iterator[int] = (
            found.start() for found in boundary.finditer(text, start + limit // 2, start + limit + 2)
        )
        reached = [place for place in breaks if start + limit // 2 < place <= start + limit]
        if reached:
            return reached[-1]
    return start + limit


def _next_start(text: str, start: int, cut: int, overlap: int) -> int:
    """The first beginning of a word in the overlap, or the cut where there is none."""
    if overlap:
        earliest = max(start + 1, cut - overlap)
        space = BOUNDARIES[-1].search(text, earliest, cut)
        if space and space.end() < cut:
            return space.end()
    return skip_space(text, cut)
