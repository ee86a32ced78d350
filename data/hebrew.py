"""Hebrew words to terms: one spelling for a word, without the particles that are written together with it.

``data.words`` has removed points and cantillation marks before, parted words at the maqaf, and written geresh and
gershayim as ``'`` and ``"``. What is left to make alike here are abbreviations with and without their marks (``צה"ל``,
``צהל``), final letters (a word that takes an ending loses its final letter), and the words of one letter that Hebrew
writes before another: and (ו), the (ה), in (ב), as (כ), to (ל), from (מ), that (ש).
"""

import re

_LETTER = re.compile("[א-ת]")
_PLAIN = str.maketrans("ךםןףץ", "כמנפצ", "'\"")
_PARTICLES = re.compile("[ובכלמשה]*(?=...)")  # three letters stay


def hebrew_term(word: str, particles: bool = True) -> str:
    """The term of a word; a word of another script is its own.

    Letters that may be particles are removed from the front until one comes that is none, or until three letters are
    left. This removes letters of the word itself too (מדינה becomes דינה); but what is left depends on the end of a
    word alone, so a word has the same term with particles and without.

    Args:
        word: of ``data.words``.
        particles: whether particles are removed.
    """
    if not _LETTER.match(word):
        return word
    plain = word.translate(_PLAIN)
    before = _PARTICLES.match(plain) if particles else None
    return plain if before is None else plain[before.end() :]
