"""Words of a text by the Unicode standard, case-folded; all of the project splits words with it.

Word breaks are those of UAX 29 as ``regex`` finds them in its WORD mode; default-ignorable characters are removed first
(UTR 36), and compatibility forms become plain ones (NFKC). Four places differ from the defaults of UAX 29, each because
search is better for it:

- Scripts without spaces between words (Han, Hiragana, Thai and its kind) give overlapping pairs of characters instead
  of single ones. Katakana words stay whole.
- ``_`` separates words, and so do ``.`` and ``:`` unless a digit follows: ``numpy.linalg`` and ``lu_factor`` are two
  words each.
- An apostrophe before a vowel separates words, so that ``l'homme`` is found by ``homme`` (the tailoring for French and
  Italian that UAX 29 describes); ``don't`` stays whole.
- Subscript digits belong to their word: ``CO₂`` is ``co2``. Superscripts do not: they are footnotes and powers.
"""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import regex

VERSION = 2  # raised when a text gives other words than before: counts made with the old words are invalid

# UAX 29 breaks between all characters of these; the second class is Thai, Lao, Khmer, Myanmar and their relatives.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Line_Break=Complex_Context}"
KATAKANA = r"\p{Word_Break=Katakana}"

# Symbols and numbers that NFKC would join to their neighbours: ™ ℃ ㎏ ① ½ ¹. UAX 29 sets each apart.
# A power or a footnote of several digits is one number, subscripts stay with their word.
_SET_APART = regex.compile(
    r"[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+|[[\p{So}\p{Sm}\p{Sk}\p{No}]--[\u2080-\u2089]--\p{ASCII}]", regex.V1
)
# Invisible characters (except the zero-width space, which separates words), characters that only stretch a word, and
# the points of Hebrew and vowel signs of Arabic, which people leave out of a query.
_REMOVED = regex.compile(
    r"[[\p{Default_Ignorable_Code_Point}\p{Word_Break=Format}\u0640\u07fa"
    r"\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7\u0610-\u061A\u064B-\u065F\u0670]--\u200b]",
    regex.V1,
)
_PARTED = regex.compile(r"'(?=[aàáâäæeèéêëhiìíîïoòóôöœuùúûüy])|[_\u2044]|[.:](?!\d)")
_UNSPACED_RUN = regex.compile(rf"[{UNSPACED}][{UNSPACED}\p{{M}}]*+(?:(?<=\p{{Hiragana}})ー[{UNSPACED}\p{{M}}]*+)*+")
_WORD = regex.compile(r"\b(?=[\p{L}\p{N}\p{M}]).+?\b", regex.WORD)
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:(?:(?<=[a-z])'(?=[bcdfgj-np-tvwxz])|(?<=\d)[.,;'](?=\d))[a-z0-9]+)*")


def words(text: str, turkish: bool = False) -> list[str]:
    """Case-folded words of any script; those of scripts without spaces come last.

    Args:
        text: any text.
        turkish: whether capital I is the capital of ı, as in Turkish, and not that of i.
    """
    if text.isascii() and not turkish:
        return _ASCII_WORD.findall(text.lower())
    folded = fold(text, turkish)
    pairs: list[str] = []
    for run in _UNSPACED_RUN.findall(folded):
        pairs.extend(run[i : i + 2] for i in range(max(len(run) - 1, 1)))
    return [*_WORD.findall(_UNSPACED_RUN.sub(" ", folded) if pairs else folded), *pairs]


def fold(text: str, turkish: bool = False) -> str:
    """The text before splitting: without invisible characters, in plain forms, in lower case, separated by spaces."""
    plain = unicodedata.normalize("NFKC", text)
    if plain != text:
        plain = unicodedata.normalize("NFKC", _SET_APART.sub(r" \g<0> ", text))
    folded = (plain.replace("I", "ı") if turkish else plain).casefold()
    folded = folded.replace("i\u0307", "i")  # of İ, and of Lithuanian i with an accent
    if not turkish:
        folded = folded.replace("ı", "i")  # whose capital is folded to i
    folded = unicodedata.normalize("NFC", _REMOVED.sub("", folded))
    folded = folded.replace("\u2018", "'").replace("\u2019", "'").replace("\u05f3", "'").replace("\u05f4", '"')
    parted: str = _PARTED.sub(" ", folded)
    return parted


def count_words(texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """How many words each text has, int32 of shape (n,)."""
    return np.array([len(words(text)) for text in texts], dtype=np.int32)
