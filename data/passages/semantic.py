"""Cutting where adjacent sentences differ in meaning: the further apart their vectors, the better the place.

The threshold is a percentile of the document's own distances, so that the passages of a document do not depend on what
else is in the corpus. The method is Kamradt's ("5 Levels Of Text Splitting", 2023), with bounds of size added.
"""

from bisect import bisect_left, bisect_right

import numpy as np
import numpy.typing as npt

from data.passages import Span
from data.passages.recursive import BOUNDARIES, SENTENCE, cut_recursive

_PARAGRAPH = BOUNDARIES[0]


def cut_sentences(text: str, max_chars: int) -> list[Span]:
    """The sentences of a text as spans without white space at their ends; one of white space has none.

    Paragraphs end sentences too, and a sentence longer than ``max_chars`` counts as several.
    """
    cuts = sorted({found.end() for pattern in (_PARAGRAPH, SENTENCE) for found in pattern.finditer(text)} | {len(text)})
    sentences: list[Span] = []
    start = 0
    for cut in cuts:
        piece = text[start:cut]
        begin = start + len(piece) - len(piece.lstrip())
        whole = piece.strip()
        if whole:
            sentences += [(begin + a, begin + b) for a, b in cut_recursive(whole, max_chars, 0)]
        start = cut
    return sentences


def distances(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Cosine distance of each sentence to the next: unit vectors (n, dim) to float32 (n - 1,)."""
    nearness: npt.NDArray[np.float32] = np.einsum("ij,ij->i", vectors[:-1], vectors[1:])
    return 1 - nearness


def join_sentences(
    sentences: list[Span], apart: npt.NDArray[np.floating], percentile: float, min_chars: int, max_chars: int
) -> list[Span]:
    """Sentences to passages of at most ``max_chars``.

    A passage ends where the distance is beyond the percentile, unless it would be shorter than ``min_chars``; and where
    the next sentence would make it too long, at the greatest distance in its second half. The last passage may be
    shorter than ``min_chars``, and so may one that the next sentence does not fit into.

    Args:
        sentences: spans in order, at least one, none longer than ``max_chars``.
        apart: distance between each and the next, float of shape (n - 1,).
        percentile: of these distances; those above it part passages.
        min_chars: shortest passage that a distance ends.
        max_chars: longest passage.
    """
    threshold = float(np.percentile(apart, percentile)) if len(apart) else 0.0
    starts, ends = [start for start, _ in sentences], [end for _, end in sentences]
    parts = np.flatnonzero(apart > threshold).tolist()  # a passage may end after the sentence of this number
    spans: list[Span] = []
    first = 0
    while first < len(sentences):
        start = starts[first]
        last = bisect_right(ends, start + max_chars) - 1  # the last sentence that fits
        shortest = bisect_left(ends, start + min_chars, first)
        wanted = bisect_left(parts, shortest)
        if wanted < len(parts) and parts[wanted] <= last:
            last = parts[wanted]
        elif last < len(sentences) - 1:
            middle = min(bisect_left(ends, start + max_chars // 2, first), last)
            last = middle + int(np.argmax(apart[middle : last + 1]))
        spans.append((start, ends[last]))
        first = last + 1
    return spans
