"""Statistics of a corpus: tokens of its passages, and scripts of its letters."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

from data.partitions import read_batches
from data.passages.text import passage_texts

# The scripts of the world's most written languages; what belongs to none of them counts as other.
SCRIPTS = (
    *("Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Syriac", "Devanagari", "Bengali", "Gurmukhi"),
    *("Gujarati", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Tibetan", "Myanmar"),
    *("Georgian", "Ethiopic", "Khmer", "Mongolian", "Hangul", "Hiragana", "Katakana", "Han"),
)
_LETTERS = regex.compile(r"\p{L}")
_SCRIPT = {script: regex.compile(rf"[\p{{Script={script}}}&&\p{{L}}]", regex.V1) for script in SCRIPTS}

TokenStarts = Callable[[Sequence[str]], list[npt.NDArray[np.int64]]]
"""Texts to the places where the tokens of each begin."""


def count_corpus(passages: Path, token_starts: TokenStarts) -> dict[str, Any]:
    """Count passages, characters, tokens and scripts, one batch of passages in memory.

    Args:
        passages: the passages table.
        token_starts: of the encoder whose tokens are counted.

    Returns:
        ``passages``, ``characters``, ``tokens``, their median, 95th percentile and maximum a passage (special tokens
        left out), and ``scripts``: share of the letters by script, most first.
    """
    lengths: list[npt.NDArray[np.int64]] = []
    characters, letters = 0, Counter[str]()
    for batch in read_batches(passages, ["title", "text"]):
        texts = passage_texts(batch["title"], batch["text"]).to_pylist()
        lengths.append(np.fromiter(map(len, token_starts(texts)), np.int64, len(texts)))
        joined = "\n".join(texts)
        characters += sum(map(len, texts))
        letters.update(count_scripts(joined))
    tokens = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
    total = max(1, sum(letters.values()))
    return {
        "passages": len(tokens),
        "characters": characters,
        "tokens": int(tokens.sum()),
        "tokens_median": float(np.median(tokens)) if len(tokens) else 0.0,
        "tokens_p95": float(np.percentile(tokens, 95)) if len(tokens) else 0.0,
        "tokens_max": int(tokens.max(initial=0)),
        "scripts": {script: round(count / total, 4) for script, count in letters.most_common() if count},
    }


def count_scripts(text: str) -> dict[str, int]:
    """Letters of a text by script (Unicode Standard Annex 24); those of scripts not in ``SCRIPTS`` as ``other``."""
    left = len(_LETTERS.findall(text))
    found: dict[str, int] = {}
    for script, pattern in _SCRIPT.items():
        if not left:
            break
        count = len(pattern.findall(text))
        if count:
            found[script] = count
            left -= count
    return {**found, "other": left} if left else found
