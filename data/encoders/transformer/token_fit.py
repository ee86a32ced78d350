"""Whether a model's tokenizer knows the scripts of a corpus: an English model on Hebrew passages embeds letters.

A model reads a script whose words its vocabulary holds in pieces of several letters. Where nearly every token is a
single character, or unknown, its vectors carry little of what the words mean, and nothing else would show that.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import regex
from pydantic import BaseModel, ConfigDict

from data.encoders.config import EncoderConfig, ModelConfig, encoders_in
from data.encoders.transformer.token_starts import tokenizer_of
from data.measuring import Reporting

logger = logging.getLogger("catena")

# Share of tokens that are unknown or one character long, in words of two letters and more. Measured with
# all-MiniLM-L6-v2: English abstracts 0.04, source code 0.07, German 0.10, JSON records 0.17, Polish and Turkish 0.22,
# Vietnamese 0.27, hexadecimal 0.33, base64 0.52; Russian and Greek 0.98, Hebrew (HeQ), Arabic, Hindi and Korean 1.00.
MOST_SPLIT = 0.6
# Share of unknown tokens, for scripts whose characters are words or syllables, one token each in any model. Measured as
# above: Chinese 0.64, the Han of Japanese 0.56; a vocabulary that holds a script knows all but rare characters of it.
MOST_UNKNOWN = 0.2
LEAST_SHARE, LEAST_LETTERS = 0.05, 30  # of the letters sampled: a script that is rarer than that is not judged
SMALLEST_VOCABULARY = 2000  # a tokenizer with fewer entries reads characters or bytes by design

_CHARACTERS = frozenset({"Han", "Hiragana", "Katakana"})
_SCRIPTS = (
    *("Latin", "Greek", "Cyrillic", "Armenian", "Hebrew", "Arabic", "Syriac", "Thaana", "Nko", "Devanagari", "Bengali"),
    *("Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Thai", "Lao", "Tibetan"),
    *("Myanmar", "Georgian", "Hangul", "Ethiopic", "Cherokee", "Khmer", "Mongolian", "Hiragana", "Katakana", "Han"),
    *("Tifinagh", "Javanese", "Balinese"),
)
_WORD = regex.compile(
    "|".join(rf"(?P<{name}>\p{{{name}}}[\p{{scx={name}}}\p{{M}}]*+)" for name in _SCRIPTS)
    + r"|(?P<other>\p{L}[\p{L}\p{M}]*+)"
)


class ScriptFit(BaseModel):
    """How a tokenizer reads the words of one script, of two letters and more."""

    model_config = ConfigDict(frozen=True)

    words: int
    letters: int  # of the sample, in words of one letter too
    letters_share: float
    tokens_per_word: float
    unknown_share: float  # of these words' tokens
    single_share: float  # tokens of one character that are not unknown, likewise

    def known(self, script: str) -> bool:
        """Whether the vocabulary holds the script's words; true for scripts that are too rare to judge."""
        if self.letters_share < LEAST_SHARE or self.letters < LEAST_LETTERS:
            return True
        if script in _CHARACTERS:
            return self.unknown_share <= MOST_UNKNOWN
        return self.unknown_share + self.single_share <= MOST_SPLIT


def token_fit(encoder: EncoderConfig, texts: Sequence[str]) -> dict[str, dict[str, ScriptFit]]:
    """How the tokenizers of an encoder read the scripts of some texts; warns of each script that one does not know.

    Args:
        encoder: one encoder; of an ensemble each member is looked at.
        texts: a sample of what will be embedded.

    Returns:
        By model and script; nothing for encoders without a tokenizer that can be read here, and for tokenizers that
        read single characters by design.
    """
    reporting = Reporting("how the encoder's tokenizer reads the corpus")
    found: dict[str, dict[str, ScriptFit]] = {}
    for member in encoders_in(encoder):
        if not isinstance(member, ModelConfig):
            continue
        with reporting.guard():
            tokenizer = tokenizer_of(member)
            if tokenizer is not None and tokenizer.get_vocab_size() >= SMALLEST_VOCABULARY:
                found[member.model] = fits(tokenizer, texts)
    for model, by_script in found.items():
        for script, fit in by_script.items():
            if not fit.known(script):
                logger.warning("%s", _warning(model, script, fit))
    return found


def fits(tokenizer: Any, texts: Iterable[str]) -> dict[str, ScriptFit]:  # noqa: ANN401 - tokenizers.Tokenizer is untyped
    """How a tokenizer reads each script of some texts, scripts of most letters first."""
    words, letters = defaultdict[str, list[str]](list), Counter[str]()
    for script, word in _words(texts):
        letters[script] += len(word)
        if len(word) > 1 or script in _CHARACTERS:
            words[script].append(word)
    scripts = sorted(letters, key=lambda script: -letters[script])
    return {script: _fit(tokenizer, words[script], letters[script], letters.total()) for script in scripts}


def _words(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    for text in texts:
        for found in _WORD.finditer(text):
            yield found.lastgroup or "other", found[0]


def _fit(tokenizer: Any, words: list[str], letters: int, of_letters: int) -> ScriptFit:  # noqa: ANN401 - as above
    encodings = tokenizer.encode_batch(words, add_special_tokens=False) if words else []
    unknown_token = getattr(tokenizer.model, "unk_token", None)
    tokens = unknown = single = 0
    for encoding in encodings:
        tokens += len(encoding.tokens)
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
            if token == unknown_token:
                unknown += 1
            elif end - start <= 1:
                single += 1
    return ScriptFit(
        words=len(words),
        letters=letters,
        letters_share=round(letters / of_letters, 4),
        tokens_per_word=round(tokens / max(len(words), 1), 2),
        unknown_share=round(unknown / max(tokens, 1), 4),
        single_share=round(single / max(tokens, 1), 4),
    )


def _warning(model: str, script: str, fit: ScriptFit) -> str:
    split = fit.unknown_share if script in _CHARACTERS else fit.unknown_share + fit.single_share
    what = "unknown to it" if script in _CHARACTERS else "single characters or unknown"
    return (
        f"encoder: {model} does not know the script {script}, {fit.letters_share:.0%} of the letters sampled: "
        f"{split:.0%} of its tokens there are {what} ({fit.tokens_per_word:g} tokens a word). Its vectors will say "
        "little of such passages: choose a model that was trained on the language (encoder.model), or search with "
        "mode bm25"
    )
