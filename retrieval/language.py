"""Which language a corpus is written in, as far as its terms depend on it."""

from collections import Counter
from collections.abc import Iterable

from data.lexical import HEBREW
from data.passages.statistics import count_scripts
from data.stop_words import stop_words
from data.words import words

ENOUGH_CHARACTERS = 500_000
OF_SCRIPT = {"Hebrew": HEBREW, "Greek": "greek", "Armenian": "armenian", "Tamil": "tamil"}
"""Scripts that one language with a stemmer is written in."""
BY_STOP_WORDS = (
    *("danish", "dutch", "french", "german", "italian", "norwegian", "portuguese", "russian", "spanish", "swedish"),
    "turkish",
)
LEAST_SHARE = 0.15  # of stop-words among the words of a text: prose has 0.3 to 0.5 of its own language's
TIMES_ENGLISH = 1.5


def detect_language(texts: Iterable[str]) -> str:
    """The language of a corpus: by the script of its letters, then by the stop-words among its words.

    English unless another language is clearly found: lists of names and codes have few stop-words of any, and were
    indexed as English before languages were told apart.

    Args:
        texts: some of the corpus; read until there are half a million characters.

    Returns:
        ``hebrew`` or a Snowball algorithm.
    """
    scripts, found, characters = Counter[str](), Counter[str](), 0
    for text in texts:
        scripts.update(count_scripts(text))
        found.update(words(text))
        characters += len(text)
        if characters >= ENOUGH_CHARACTERS:
            break
    if not found:
        return "english"
    script, letters = scripts.most_common(1)[0] if scripts else ("", 0)
    if script in OF_SCRIPT and 2 * letters > scripts.total():
        return OF_SCRIPT[script]
    shares = {language: _share(found, stop_words(language)) for language in BY_STOP_WORDS}
    best = max(shares, key=lambda language: shares[language])
    english = _share(found, stop_words("english"))
    return best if shares[best] >= max(LEAST_SHARE, TIMES_ENGLISH * english) else "english"


def _share(found: Counter[str], of: frozenset[str]) -> float:
    """Share of some words among all that were found."""
    return sum(found[word] for word in of) / found.total()
