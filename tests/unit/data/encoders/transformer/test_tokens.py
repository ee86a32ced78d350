"""Which end of a long text is cut, what is counted as dropped, and what a prompt does to both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from data.cache import TieredCache
from data.cache.encoder import CachedEncoder
from data.cache.memory import MemoryTier
from data.embedding.actor import _encode
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.transformer.models import open_model
from data.encoders.transformer.tokens import CHARACTERS_PER_TOKEN, Tokeniser, Truncate
from data.errors import InputError

LONG = "alpha " * 30 + "omega " + "beta " * 9 + "gamma"  # 41 words, one token each


def tokeniser(folder: Path, truncate: Truncate) -> Tokeniser:
    return Tokeniser(open_model(str(folder), "cpu", None).tokenizer, 16, truncate)


def words(made: Tokeniser, numbers: list[int]) -> str:
    return str(made._tokenizer.decode(numbers))


@pytest.mark.parametrize(
    ("truncate", "kept"),
    [
        ("end", "[CLS]" + " alpha" * 14 + " [SEP]"),
        ("start", "[CLS]" + " alpha" * 3 + " [UNK]" + " beta" * 9 + " gamma [SEP]"),
    ],
)
def test_the_end_that_is_named_is_cut_off(tiny: Callable[..., Path], truncate: Truncate, kept: str) -> None:
    made = tokeniser(tiny(), truncate)
    tokenised = made([LONG, "alpha beta", ""])
    assert words(made, tokenised.numbers[0]) == kept
    assert list(map(len, tokenised.numbers)) == [16, 4, 2]
    assert tokenised.dropped.tolist() == [41 + 2 - 16, 0, 0] and tokenised.dropped.dtype == np.int32


def fast_tokenizer(before: str, after: str) -> PreTrainedTokenizerFast:
    """Words are tokens; special ones stand around a text."""
    names = ["[PAD]", "[UNK]", "<s>", "</s>", "alpha", "beta", "gamma"]
    tokenizer = Tokenizer(WordLevel({name: number for number, name in enumerate(names)}, "[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    if before or after:
        tokenizer.post_processor = TemplateProcessing(f"{before} $A {after}".strip(), None, [("<s>", 2), ("</s>", 3)])
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.mark.parametrize("truncate", ["end", "start"])
@pytest.mark.parametrize(
    ("before", "after"), [("<s>", "</s>"), ("", "</s>"), ("<s>", ""), ("", ""), ("<s>", "</s> </s>")]
)
def test_cut_texts_are_those_of_the_library(before: str, after: str, truncate: Truncate) -> None:
    tokenizer, texts = fast_tokenizer(before, after), [LONG, "alpha beta", "gamma " * 15, "</s> " * 30, "[UNK] " * 17]
    made = Tokeniser(tokenizer, 16, truncate)
    expected = tokenizer(texts, truncation=True, max_length=16)["input_ids"]
    assert made(texts).numbers == expected
    tokenizer(texts, truncation=True, padding=True, max_length=4)  # somebody else's limits are not ours
    assert made(texts).numbers == expected


def test_a_prompt_stays_whichever_end_is_cut(tiny: Callable[..., Path]) -> None:
    folder = tiny()
    for truncate, last in (("end", "alpha"), ("start", "gamma")):
        made = tokeniser(folder, truncate)
        tokenised = made([LONG, "beta"], "query : ")
        assert len(tokenised.numbers[0]) == 16 and tokenised.dropped.tolist() == [41 + 4 - 16, 0]
        assert words(made, tokenised.numbers[0]).startswith("[CLS] query :")
        assert words(made, tokenised.numbers[0]).endswith(f"{last} [SEP]")
        assert words(made, tokenised.numbers[1]) == "[CLS] query : beta [SEP]"


def test_what_was_never_tokenised_is_estimated(tiny: Callable[..., Path]) -> None:
    made = tokeniser(tiny(), "end")
    limit = 16 * CHARACTERS_PER_TOKEN
    huge = "alpha " * 1_700_000  # 10 MB
    tokenised = made([huge, "a" * 10_000_000, "a" * limit])
    assert tokenised.dropped[0] == pytest.approx(1_700_000, rel=0.01)
    assert tokenised.dropped[1] > 0, "one unknown word: what lies behind the limit is not known, only that it is there"
    assert tokenised.dropped[2] == 0


def test_error_names_the_passage_and_its_tokens(tiny: Callable[..., Path]) -> None:
    encoder = load_encoder(TransformerConfig(model=str(tiny()), truncate="error", precision="fp32", device="cpu"))
    assert encoder.encode(["alpha"] * 3).shape == (3, 32)
    with pytest.raises(InputError, match=r"text 2 has about 43 tokens, the model reads 16; 1 more beside it"):
        encoder.encode(["alpha", "beta", LONG, LONG])
    assert encoder.encode_queries([LONG]).shape == (1, 32)


def test_a_text_that_is_refused_is_told_with_its_document(tiny: Callable[..., Path]) -> None:
    encoder = load_encoder(TransformerConfig(model=str(tiny()), truncate="error", precision="fp32", device="cpu"))
    cached = CachedEncoder(encoder, "document", TieredCache([MemoryTier(1, encoder.dim, 60.0)], encoder.dim))
    cached.encode(["alpha"])
    with pytest.raises(InputError, match=r"part-0: document d2: encoder.truncate: text 1 has about 43 tokens"):
        _encode(cached, Path("part-0"), ["alpha", "beta", LONG], ["d0", "d1", "d2"])  # the first is not computed again


def test_dropped_tokens_stand_where_their_text_does(tiny: Callable[..., Path]) -> None:
    encoder = load_encoder(TransformerConfig(model=str(tiny()), precision="fp32", device="cpu"))
    texts = ["alpha " * n for n in (3, 40, 2, 15, 14)] * 200  # more than are tokenised at once
    encoded = encoder.encode_counted(texts)
    assert encoded.dropped.tolist() == [0, 26, 0, 1, 0] * 200
    assert encoded.tokens.tolist() == [5, 16, 4, 16, 16] * 200


def test_the_two_ends_give_other_vectors_and_another_fingerprint(tiny: Callable[..., Path]) -> None:
    folder = str(tiny())
    end, start, error = (
        load_encoder(TransformerConfig(model=folder, truncate=truncate, precision="fp32", device="cpu"))
        for truncate in ("end", "start", "error")
    )
    assert float((end.encode([LONG]) * start.encode([LONG])).sum()) < 0.99
    assert end.fingerprint == error.fingerprint != start.fingerprint


def test_a_prompt_without_room_for_texts_is_refused(tiny: Callable[..., Path]) -> None:
    config = TransformerConfig(model=str(tiny()), document_prompt="alpha " * 20, precision="fp32", device="cpu")
    with pytest.raises(InputError, match="a prompt of 21 tokens leaves no room for texts in 16"):
        load_encoder(config)
