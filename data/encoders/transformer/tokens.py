"""Texts to token numbers: prompts put before them, cut to what the model reads, and what was cut off counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from data.errors import InputError, TextRefused
from data.surrogates import replace_surrogates

Truncate = Literal["end", "start", "error"]
# A text is cut before the tokenizer sees it: tokens longer than this on average do not occur, documents of 10 MB do.
CHARACTERS_PER_TOKEN = 100


@dataclass(frozen=True)
class Tokenised:
    """Token numbers of some texts.

    Args:
        numbers: of each text, special tokens and prompt included, none longer than the model reads, not padded.
        dropped: int32 of shape (n,), tokens of each text that were cut off. A text of more than
            ``CHARACTERS_PER_TOKEN`` characters for each token that the model reads is not tokenised further: what it
            has beyond is estimated from the tokens of the part that was.
    """

    numbers: list[list[int]]
    dropped: npt.NDArray[np.int32]


class Tokeniser:
    """A model's tokenizer with a policy for texts that are too long; may be called from several threads.

    Args:
        tokenizer: the model's, from transformers.
        max_length: tokens that the model reads.
        truncate: which end of a text that is too long is cut off, or that it is refused.
    """

    def __init__(self, tokenizer: Any, max_length: int, truncate: Truncate) -> None:  # noqa: ANN401 - transformers'
        tokenizer.truncation_side = "left" if truncate == "start" else "right"  # the model's own encode cuts so too
        self.padding = int(tokenizer.pad_token_id or 0)
        # An unknown word is a word of the text.
        self.special = frozenset(map(int, tokenizer.all_special_ids)) - {tokenizer.unk_token_id}
        self.pads_left = tokenizer.padding_side == "left"
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._truncate = truncate
        self._fast = without_limits(tokenizer) if tokenizer.is_fast else None
        self._before, self._after = self._special_around()

    def __call__(self, texts: Sequence[str], prompt: str = "") -> Tokenised:
        """Token numbers of texts, each behind the prompt. Lone surrogates, which no tokenizer takes, become U+FFFD."""
        if not texts:
            return Tokenised([], np.zeros(0, np.int32))
        ahead = self.prompt_numbers(prompt)
        read = [self._readable(text) for text in texts]
        numbers = self._tokenise([prompt + text for text in read])
        dropped = np.zeros(len(texts), np.int32)
        long = [position for position, text in enumerate(numbers) if len(text) > self._max_length]
        unread = [i for i, text in enumerate(texts) if len(text) > len(read[i])]
        for position in {*long, *unread}:
            own = len(numbers[position]) - len(ahead)
            whole = len(ahead) + round(own * len(texts[position]) / max(1, len(read[position])))
            dropped[position] = max(1, whole - min(self._max_length, len(numbers[position])))
        for position in long:
            numbers[position] = self._cut(numbers[position], ahead)
        return Tokenised(numbers, dropped)

    def prompt_numbers(self, prompt: str) -> list[int]:
        """The prompt's tokens with the special tokens before it, without those behind: as sentence-transformers.

        Raises:
            InputError: if the prompt alone is as long as what the model reads.
        """
        if not prompt:
            return []
        numbers = self._tokenise([prompt])[0]
        numbers = numbers[:-1] if numbers[-1] in self._tokenizer.all_special_ids else numbers
        if len(numbers) + 1 >= self._max_length:
            raise InputError(
                f"encoder: a prompt of {len(numbers)} tokens leaves no room for texts in {self._max_length}",
                "Shorten the prompt, or raise encoder.max_length.",
            )
        return numbers

    def texts_of(self, numbers: Sequence[Sequence[int]]) -> list[str]:
        """Texts that such token numbers stand for, without special tokens.

        Raises:
            TextRefused: if a number is none of the vocabulary's; names it with its place.
        """
        size = len(self._tokenizer)
        for place, text in enumerate(numbers):
            strange = next((number for number in text if not 0 <= number < size), None)
            if strange is not None:
                raise TextRefused(
                    f"list {place} of token ids has {strange}, the model's are from 0 to {size - 1:,}",
                    "Send ids of the model's own tokenizer, or the text itself.",
                )
        options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return [str(self._tokenizer.decode(list(text), **options)) for text in numbers]

    def refuse_cut(self, tokenised: Tokenised, positions: npt.NDArray[np.int64], texts: Sequence[str]) -> None:
        """Hold the policy ``error``.

        Args:
            tokenised: some texts.
            positions: of each among those the caller gave.
            texts: those the caller gave.

        Raises:
            TextRefused: if texts are refused where they are too long, and one is; names it with its tokens.
        """
        if self._truncate == "error" and tokenised.dropped.any():
            first = int(np.flatnonzero(tokenised.dropped)[0])
            whole = len(tokenised.numbers[first]) + int(tokenised.dropped[first])
            more = np.count_nonzero(tokenised.dropped) - 1
            raise TextRefused(
                f"encoder.truncate: text {positions[first]} has about {whole:,} tokens, the model reads "
                f"{self._max_length:,}{f'; {more} more beside it are too long' if more else ''}",
                "Cut passages shorter (chunk.max_chars), or let them be cut: encoder.truncate: end or start.",
                texts[int(positions[first])],
            )

    def _readable(self, text: str) -> str:
        longest = self._max_length * CHARACTERS_PER_TOKEN
        part = text[-longest:] if self._truncate == "start" else text[:longest]
        return replace_surrogates(part)

    def _tokenise(self, texts: list[str]) -> list[list[int]]:
        if self._fast is not None:
            numbers = [text.ids for text in self._fast.encode_batch_fast(texts)]
        else:
            numbers = self._tokenizer(texts, truncation=False, return_attention_mask=False, verbose=False)["input_ids"]
        return [text or [self.padding] for text in numbers]  # a tokenizer without special tokens, and no text

    def _cut(self, numbers: list[int], ahead: list[int]) -> list[int]:
        """A text that is too long, cut at its end, or between the prompt and its own end."""
        if self._truncate == "start":
            kept = ahead or numbers[: self._before]
            return kept + numbers[len(numbers) - self._max_length + len(kept) :]
        return numbers[: self._max_length - self._after] + numbers[len(numbers) - self._after :]

    def _special_around(self) -> tuple[int, int]:
        """How many special tokens the tokenizer puts before a text, and how many behind it."""
        is_special = [number in self.special for number in self._tokenise(["a"])[0]]
        before = is_special.index(False) if False in is_special else len(is_special)
        after = is_special[::-1].index(False) if False in is_special else 0
        return before, after


def without_limits(tokenizer: Any) -> Any:  # noqa: ANN401 - transformers'
    """A copy of a fast tokenizer's own one that neither cuts nor pads: whoever calls the first one cannot change it."""
    from tokenizers import Tokenizer

    alone = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    alone.no_truncation()
    alone.no_padding()
    return alone
