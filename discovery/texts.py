"""Texts of a few documents, and the telling words that two of them share."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.partitions import read_batches
from data.stop_words import ENGLISH
from data.words import words

NAMED = 3
COMMON = 0.1  # words in more than this share of the documents say little
SHORTEST = 3  # letters of a word in ASCII


def texts_of(documents: Path, ids: Collection[str]) -> dict[str, str]:
    """Texts of some documents, by id, titles where they have no text; read from the table in one pass.

    Args:
        documents: folder of the documents table.
        ids: of the documents wanted.
    """
    wanted = pa.array(sorted(set(ids)), pa.string())
    found: dict[str, str] = {}
    for batch in read_batches(documents, columns=["id", "title", "text"]):
        for row in batch.filter(pc.is_in(batch["id"], wanted)).to_pylist():
            found[row["id"]] = row["text"] or row["title"]
    return found


def shared_words(texts: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """The rarest words that both texts of each pair have, at most ``NAMED``.

    Rare is what few of the given texts have: the corpus as a whole is not read.

    Args:
        texts: by id; a pair with a missing text has no words.
        pairs: ids.
    """
    found = {id_: telling_words(text) for id_, text in texts.items()}
    frequency = Counter(word for one in found.values() for word in one)
    most = max(2.0, COMMON * len(found))
    nothing: set[str] = set()
    shared = []
    for source, target in pairs:
        both = found.get(source, nothing) & found.get(target, nothing)
        telling = sorted((frequency[word], -len(word), word) for word in both if frequency[word] <= most)
        shared.append([word for _, _, word in telling[:NAMED]])
    return shared


def telling_words(text: str) -> set[str]:
    """The words of a text that may be a reason for a link."""
    return {word for word in words(text) if _telling(word)}


def _telling(word: str) -> bool:
    """Not a number, a name's initial or a stop-word; words of scripts without spaces come as pairs of characters."""
    long_enough = len(word) >= (SHORTEST if word.isascii() else SHORTEST - 1)
    return long_enough and not any(map(str.isdigit, word)) and word not in ENGLISH
