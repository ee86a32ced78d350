"""Windows of a fixed number of tokens, cut between words where possible."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import regex

from data.passages import Span
from data.words import KATAKANA, UNSPACED

Starts = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]
LONGEST_TOKEN = 100  # characters; one that is longer (WordPiece makes a word of any length one token) counts as several
# A word may begin at every character of these scripts but at marks, which belong to the former.
_UNSPACED = regex.compile(rf"[[{UNSPACED}]--\p{{M}}]", regex.V1)
_KATAKANA = regex.compile(rf"[{KATAKANA}]")  # its words are whole, but there is no space between them and others
# Their punctuation, with no space behind it, and the space that is not seen.
_STOP = regex.compile(r"[\u200b\u3001-\u3011\uff01-\uff0f\uff1a-\uff20]")
_PLANE = 2**16


def cut_fixed(text: str, token_starts: Starts, max_tokens: int, overlap_tokens: int) -> list[Span]:
    """The passages of a text as half-open spans of characters, each of at most ``max_tokens`` tokens.

    A passage ends before a word where one begins in its second half, so that its own tokens are those it has in the
    text; else between two tokens. Its end holds no white space, and what the tokenizer passes over stays with what
    comes before it.

    Args:
        text: what is cut.
        token_starts: where its tokens begin, int64 of shape (tokens,), ascending, not necessarily distinct.
        max_tokens: most tokens of a passage; a token longer than ``LONGEST_TOKEN`` characters counts as several.
        overlap_tokens: most tokens that a passage repeats of the one before it, less than ``max_tokens``.

    Returns:
        Spans in order. A text of no more tokens than that is one passage, whole; white space is an empty one.
    """
    points = _code_points(text)
    space = _in_class(points, "space")
    if space.all():
        return [(0, 0)]
    tokens = _on_visible(_within_bounds(token_starts, int(space.argmin()), len(text)), space)
    if max(len(tokens), len(token_starts)) <= max_tokens:
        return [(0, len(text))]
    before = np.flatnonzero(np.diff(tokens, prepend=-1))
    begins = tokens[before]
    words = np.flatnonzero(_begins_word(points, begins))
    firsts, cuts = _windows(before.data, words.data, len(tokens), max_tokens, overlap_tokens)
    edges = zip(begins[firsts].tolist(), [*begins[cuts].tolist(), len(text)], strict=True)
    return [(start, start + len(text[start:cut].rstrip())) for start, cut in edges]


def word_starts(text: str) -> Starts:
    """Where the words of a text begin, as its tokens where an encoder has no tokenizer: int64 of shape (words,)."""
    points = _code_points(text)
    visible = np.flatnonzero(~_in_class(points, "space"))
    return visible[_begins_word(points, visible)]


def _within_bounds(token_starts: Starts, first: int, length: int) -> Starts:
    """Token starts from the first visible character on, ascending, none further apart than ``LONGEST_TOKEN``."""
    tokens = np.maximum.accumulate(np.concatenate([[first], token_starts]))
    if len(token_starts) and token_starts[0] <= first:  # else the tokenizer passes over the first characters
        tokens = tokens[1:]
    ends = np.append(tokens[1:], length)
    long = np.flatnonzero(ends - tokens > LONGEST_TOKEN)
    if not len(long):
        return tokens
    pieces = [np.arange(tokens[i] + LONGEST_TOKEN, ends[i], LONGEST_TOKEN) for i in long]
    return np.sort(np.concatenate([tokens, *pieces]))


def _on_visible(tokens: Starts, space: npt.NDArray[np.bool_]) -> Starts:
    """Tokens that begin with white space moved to what follows it, which some tokenizers give them together with."""
    moved = space[tokens]
    if not moved.any():
        return tokens
    visible = np.flatnonzero(~space)
    places = np.searchsorted(visible, tokens[moved])
    tokens = tokens.copy()
    tokens[moved] = np.append(visible, len(space))[places]
    return tokens[tokens < len(space)]


def _windows(
    before: Sequence[int], words: Sequence[int], tokens: int, max_tokens: int, overlap_tokens: int
) -> tuple[list[int], list[int]]:
    """Walk over the places where a passage may begin.

    Args:
        before: tokens before each of the places.
        words: numbers of the places where a word begins.
        tokens: of the whole text.
        max_tokens: as in ``cut_fixed``.
        overlap_tokens: likewise.

    Returns:
        Numbers of the places where passages begin, and of those where they are cut: one less, the last one is not.
    """
    firsts, cuts = [0], []
    while tokens - before[firsts[-1]] > max_tokens:
        first = firsts[-1]
        middle = bisect_left(before, before[first] + max_tokens // 2)
        last = max(first + 1, bisect_right(before, before[first] + max_tokens) - 1)
        word = bisect_right(words, last) - 1
        cut = words[word] if word >= 0 and words[word] >= middle else last
        if cut == len(before):  # nothing but what a single place holds is left
            break
        cuts.append(cut)
        earliest = max(first + 1, bisect_left(before, before[cut] - overlap_tokens)) if overlap_tokens else cut
        word = bisect_left(words, earliest)
        firsts.append(words[word] if word < len(words) and words[word] < cut else cut)
    return firsts, cuts


def _code_points(text: str) -> Points:
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _begins_word(points: Points, places: Starts) -> npt.NDArray[np.bool_]:
    """Whether a word begins at each of the visible places: behind white space, or where UAX 29 breaks between words."""
    own, before = points[places], points[np.maximum(places - 1, 0)]
    unspaced, ends_word = _in_class(own, "unspaced"), _in_class(before, "unspaced") | _in_class(before, "stop")
    to_or_from_katakana = _in_class(own, "katakana") != _in_class(before, "katakana")
    script_changes = _in_class(own, "word") & (ends_word | to_or_from_katakana)
    begins: npt.NDArray[np.bool_] = (places == 0) | _in_class(before, "space") | unspaced | script_changes
    return begins


def _in_class(points: Points, name: str) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = _classes()[name].take(points.astype(np.int64), mode="clip")
    return found


@cache
def _classes() -> dict[str, npt.NDArray[np.bool_]]:
    """For each character of the first plane, and one entry for all beyond it, whether it is of a class."""
    members = {
        "space": str.isspace,
        "word": str.isalnum,
        "unspaced": _UNSPACED.match,
        "katakana": _KATAKANA.match,
        "stop": _STOP.match,
    }
    return {
        name: np.array([*(bool(member(chr(point))) for point in range(_PLANE)), False], np.bool_)
        for name, member in members.items()
    }
