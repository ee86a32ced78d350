"""Passages: offsets that hold, nothing lost, the same every time, whatever the strategy and the script."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.encoders.config import PluginConfig, TransformerConfig
from data.encoders.transformer.token_starts import token_starts
from data.errors import InputError
from data.partitions import count_rows, partition_name, partitions, read_table, write_partition
from data.passages.chunk import chunk, chunk_text
from data.passages.config import ChunkConfig, Strategy
from data.passages.fixed import Starts, cut_fixed, word_starts
from data.passages.recursive import cut_recursive
from data.passages.semantic import cut_sentences, join_sentences
from data.passages.text import passage_text
from data.schema import DOCUMENTS, passage_id

Spans = list[tuple[int, int]]

SMALL = ChunkConfig(max_chars=60, overlap_chars=15)
FIXED = ChunkConfig(strategy="fixed", max_tokens=12, overlap_tokens=3)
SEMANTIC = ChunkConfig(strategy="semantic", max_chars=60, min_chars=20)
HIERARCHICAL = ChunkConfig(strategy="hierarchical", max_chars=60, overlap_chars=15, parent_chars=200)


@cache
def own_tokens() -> Callable[[Sequence[str]], list[Starts]]:
    """The default encoder's tokenizer, read once."""
    return token_starts(TransformerConfig())


def by_tokens(text: str) -> Spans:
    """Windows of the default encoder's own tokens."""
    return cut_fixed(text, own_tokens()([text])[0], 12, 3)


def by_meaning(text: str) -> Spans:
    """What the stage does with the sentences of one document, for distances that depend on the text alone."""
    sentences = cut_sentences(text, 60)
    if not sentences:
        return [(0, 0)]
    apart = np.random.default_rng(len(text)).random(len(sentences) - 1)
    return join_sentences(sentences, apart, SEMANTIC.percentile, SEMANTIC.min_chars, 60)


STRATEGIES: dict[str, Callable[[str], Spans]] = {
    "recursive": lambda text: chunk_text(text, SMALL),
    "fixed by words": lambda text: chunk_text(text, FIXED),
    "fixed by tokens": by_tokens,
    "semantic": by_meaning,
    "hierarchical": lambda text: chunk_text(text, HIERARCHICAL),
}
LONGEST = {"recursive": 60, "fixed by words": 1200, "fixed by tokens": 1200, "semantic": 60, "hierarchical": 60}
OVERLAP = {"recursive": 15, "fixed by words": 300, "fixed by tokens": 300, "semantic": 0, "hierarchical": 15}

# Any Unicode text, lone surrogates among it, and texts dense in what the strategies look for.
MIXED = "ab .?!\n\t\x00\u00a0\u0301\u05d0\u05c3\u0639\u061f\u6f22\u5b57\u3002\u0e01\u0e34\ud800\U0001f600"
WORDS = ["word", "\u05d1\u05e8\u05d0\u05e9\u05d9\u05ea", "\u4eba", "x" * 250, ".", " ", "\n\n"]
texts = st.one_of(
    st.text(alphabet=st.characters(), max_size=300),
    st.text(alphabet=st.sampled_from(MIXED), max_size=600),
    st.lists(st.sampled_from(WORDS), max_size=60).map("".join),
)


def uncovered(text: str, spans: Spans) -> str:
    """The characters of a text that no passage holds."""
    held = [False] * len(text)
    for start, end in spans:
        held[start:end] = [True] * (end - start)
    return "".join(character for character, is_held in zip(text, held, strict=True) if not is_held)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=80, deadline=None)
@given(text=texts)
def test_passages_hold_everything_within_bounds(strategy: str, text: str) -> None:
    spans = STRATEGIES[strategy](text)
    assert not uncovered(text, spans).strip()
    assert spans == sorted(set(spans))
    assert spans[0][0] >= 0 and spans[-1][1] <= len(text)
    whole = spans == [(0, len(text))]  # a short text stays as it is, white space and all
    assert whole or all(0 <= end - start <= LONGEST[strategy] for start, end in spans)
    assert whole or all(text[start:end] == text[start:end].rstrip() for start, end in spans)
    for (start, end), (following, further) in pairwise(spans):
        assert start < following and end < further
        assert end - following <= OVERLAP[strategy]
    assert STRATEGIES[strategy](text) == spans


@settings(max_examples=50, deadline=None)
@given(text=texts)
def test_children_lie_within_parents_that_hold_everything_too(text: str) -> None:
    parents = cut_recursive(text, HIERARCHICAL.parent_chars, 0)
    assert not uncovered(text, parents).strip()
    children = chunk_text(text, HIERARCHICAL)
    for start, end in children:
        assert sum(first <= start and end <= last for first, last in parents) == 1


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.sampled_from(["grace", "unbelievable", "extraordinary", "3.14", "a-b"])))
def test_a_window_has_no_more_tokens_than_that_when_it_is_read_alone(words: list[str]) -> None:
    text, starts = " ".join(words), own_tokens()
    for start, end in by_tokens(text):
        assert len(starts([text[start:end]])[0]) <= 12


def test_words_are_counted_in_any_script() -> None:
    def words(text: str) -> list[str]:
        return [piece for piece in np.split(np.array(list(text)), word_starts(text)[1:]) if len(piece)]

    assert len(words("one two  three\n4")) == 4
    assert len(words("\u05d1\u05e8\u05d0\u05e9\u05d9\u05ea \u05d1\u05e8\u05d0")) == 2
    assert len(words("\u6f22\u5b57\u3002kana")) == 3  # two ideographs, the stop stays with the second
    assert len(words("\u0e01\u0e34\u0e19")) == 2  # a Thai vowel sign stays with its consonant
    assert len(words("\u30b5\u30fc\u30d0\u30fc")) == 1  # a Katakana word with its long vowels is whole
    assert len(words("\u65b0\u30b5\u30fc\u30d0\u30fcABC")) == 3  # and ends where another script begins
    assert len(words("\u0e01\u200bkana co\u00adop")) == 3  # a space and a hyphen that are not seen


def test_where_there_is_no_space_a_cut_is_between_words_or_else_between_characters() -> None:
    def pieces(text: str, most: int) -> list[str]:
        return [text[start:end] for start, end in cut_recursive(text, most, 0)]

    assert pieces("https://example.org/some/long-place", 19) == ["https://example.org", "/some/long-place"]
    assert pieces("新しい機械はサーバーだ", 8)[0] == "新しい機械は"
    assert pieces("o\u0308" * 20, 7) == ["o\u0308" * 3] * 6 + ["o\u0308" * 2]
    assert pieces("กินข้าว\u200bกับข้าว", 10) == ["กินข้าว\u200b", "กับข้าว"]


def test_tokens_are_the_encoders_own_in_texts_of_any_length() -> None:
    starts = own_tokens()
    found = [places.tolist() for places in starts(["a verse", "", " \n", "\ud800 a"])]
    assert found == [[0, 2], [], [], [2]]  # the model's tokenizer passes over what is no character
    sentence = "It was the best of times. "
    (many,) = starts([sentence * 20_000])  # several stretches
    assert np.array_equal(many, (np.arange(20_000)[:, None] * len(sentence) + starts([sentence])[0]).ravel())


def test_an_encoder_without_a_tokenizer_has_its_words_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "catena"):
        (found,) = token_starts(PluginConfig(model="benchmarks.embed.stub_encoder:load"))(["two words"])
    assert found.tolist() == [0, 4]
    assert "words are counted" in caplog.text


def test_a_model_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"lacks a tokenizer \(tokenizer\.json\)"):
        token_starts(TransformerConfig(model=str(tmp_path)))
    (tmp_path / "vocab.txt").touch()
    with pytest.raises(InputError, match="no tokenizer can be read"):
        token_starts(TransformerConfig(model=str(tmp_path)))


def test_a_short_text_is_one_passage_and_so_is_an_empty_one() -> None:
    assert chunk_text(" short ", SMALL) == [(0, 7)]
    assert chunk_text("", SMALL) == [(0, 0)]
    assert chunk_text("\n" * 100, SMALL) == [(0, 0)]
    assert chunk_text("long " * 999, ChunkConfig(max_chars=None)) == [(0, 4995)]
    assert chunk_text(" short ", FIXED) == [(0, 7)]
    assert chunk_text(" " * 100, FIXED) == [(0, 0)]


def test_cuts_are_made_at_the_best_boundary() -> None:
    config = ChunkConfig(max_chars=50, overlap_chars=0)

    def pieces(text: str) -> list[str]:
        return [text[start:end] for start, end in chunk_text(text, config)]

    assert pieces(f"{'a' * 20}. {'b' * 10}\n\n{'c' * 30}") == [f"{'a' * 20}. {'b' * 10}", "c" * 30]
    assert pieces(f"{'a' * 30}. {'b' * 10} {'c' * 20}") == [f"{'a' * 30}.", f"{'b' * 10} {'c' * 20}"]
    assert pieces(f"{'a' * 30}\n{'b' * 10} {'c' * 20}") == ["a" * 30, f"{'b' * 10} {'c' * 20}"]
    assert pieces("a" * 120) == ["a" * 50, "a" * 50, "a" * 20]
    verse = "\u05d0" * 30 + "\u05c3"  # ends as a Hebrew verse does
    assert pieces(f"{verse} {verse}") == [verse, verse]
    question = "\u0639" * 30 + "\u061f"
    assert pieces(f"{question} {question}") == [question, question]
    sentence = "\u6f22" * 30 + "\u3002"  # no space between sentences
    assert pieces(sentence + sentence) == [sentence, sentence]
    quoted = "\u300c" + "\u6f22" * 28 + "\u3002\u300d"  # the bracket closes after the full stop
    assert pieces(quoted + quoted) == [quoted, quoted]
    for letter, end in (("\u0561", "\u0589"), ("\u12a0", "\u1362"), ("\u1000", "\u104b"), ("\u1780", "\u17d4")):
        ended = letter * 30 + end  # Armenian, Ethiopic, Burmese, Khmer
        assert pieces(ended + ended) == [ended, ended]


def test_the_overlap_begins_at_a_word() -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    first, second = (text[start:end] for start, end in chunk_text(text, SMALL))
    assert first == "one two three four five six seven eight nine ten eleven"
    assert second == "ten eleven twelve thirteen fourteen"
    first, second = (text[start:end] for start, end in chunk_text(text, FIXED))
    assert first == "one two three four five six seven eight nine ten eleven twelve"
    assert second == "ten eleven twelve thirteen fourteen"


def test_semantic_passages_end_where_sentences_part_and_are_not_too_short() -> None:
    text = "Cats sleep. Cats purr. Cats dream. Rates rise. Rates fall. Banks fail."
    sentences = cut_sentences(text, 60)
    assert [text[start:end] for start, end in sentences][:2] == ["Cats sleep.", "Cats purr."]

    def pieces(apart: list[float], min_chars: int = 1, max_chars: int = 60) -> list[str]:
        spans = join_sentences(sentences, np.array(apart), 75, min_chars, max_chars)
        return [text[start:end] for start, end in spans]

    turn = [0.1, 0.1, 0.9, 0.1, 0.2]
    assert pieces(turn) == ["Cats sleep. Cats purr. Cats dream.", "Rates rise. Rates fall. Banks fail."]
    short = ["Cats sleep. Cats purr.", "Cats dream.", "Rates rise. Rates fall.", "Banks fail."]
    assert pieces(turn, max_chars=25) == short
    early = [0.9, 0.1, 0.1, 0.8, 0.1]
    assert pieces(early)[0] == "Cats sleep."
    assert pieces(early, min_chars=20)[0] == "Cats sleep. Cats purr. Cats dream. Rates rise."


@pytest.mark.parametrize("unit", ["It was the best of times. ", "x", "\u6f22", " \n", "\u05d0\u05c3 "])
@pytest.mark.parametrize("strategy", ["recursive", "fixed", "hierarchical"])
def test_two_megabytes_are_cut_whole(unit: str, strategy: Strategy) -> None:
    config = ChunkConfig(strategy=strategy)
    text = unit * (2_000_000 // len(unit.encode()))
    spans = chunk_text(text, config)  # quadratic work would take minutes; benchmarks/chunking.py measures the rate
    assert len(spans) > 60 if unit.strip() else spans == [(0, 0)]
    covered = sum(end - start for start, end in spans)
    assert covered >= len(text) - text.count(" ") - text.count("\n")


def edited(strategy: str, text: str, edit: Callable[[str], str]) -> tuple[Spans, Spans, set[str]]:
    """Passages before and after an edit, and the texts of passages that are new."""
    cut = STRATEGIES[strategy]
    before, after = cut(text), cut(edit(text))
    known = {text[start:end] for start, end in before}
    return before, after, {piece for start, end in after if (piece := edit(text)[start:end]) not in known}


NOVEL = "\n\n".join(
    " ".join(f"Sentence {n} of paragraph {p} says {'very ' * ((n * p) % 5)}little." for n in range(1 + p % 7))
    for p in range(1, 150)
)


@pytest.mark.parametrize("strategy", ["recursive", "fixed by words", "fixed by tokens", "hierarchical"])
def test_an_edit_at_the_end_leaves_the_passages_before_it_as_they_are(strategy: str) -> None:
    before, after, new = edited(strategy, NOVEL, lambda text: text + " One more sentence.")
    assert len(before) > 100
    kept = len(before) - 2
    assert [passage_id("d", *span) for span in before[:kept]] == [passage_id("d", *span) for span in after[:kept]]
    assert len(new) <= 2


@pytest.mark.parametrize("strategy", ["recursive", "hierarchical"])
@pytest.mark.parametrize("place", [0, len(NOVEL) // 2])
def test_an_insertion_changes_passages_around_it_only(strategy: str, place: int) -> None:
    """Behind it every span is another, but the texts, which a cache of vectors goes by, are the same again."""
    before, after, new = edited(strategy, NOVEL, lambda text: text[:place] + "Put in. " + text[place:])
    assert len(before) > 100
    assert len(new) <= 15
    assert [end + 8 for _, end in before[-20:]] == [end for _, end in after[-20:]]


def test_an_insertion_shifts_all_fixed_windows_of_a_text_without_spaces() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(1000))
    _, after, new = edited("fixed by words", text, lambda text: "\u3042" + text)
    assert len(new) == len(after) > 100  # windows are counted, each from the one before


@pytest.mark.parametrize(
    ("given_keys", "message"),
    [
        ({"max_chars": 100, "overlap_chars": 60}, "overlap_chars is at most a quarter of max_chars"),
        ({"strategy": "fixed", "max_tokens": 10, "overlap_tokens": 9}, "overlap_tokens is at most a quarter"),
        ({"max_tokens": 100}, "max_tokens is read by strategy fixed only, and the strategy is recursive"),
        ({"strategy": "fixed", "overlap_chars": 10}, "read by strategy recursive and hierarchical only"),
        ({"strategy": "semantic", "max_chars": None}, "strategy semantic needs max_chars"),
        ({"strategy": "semantic", "min_chars": 900}, "min_chars is at most half of max_chars"),
        ({"strategy": "hierarchical", "parent_chars": 500}, "parent_chars is at least max_chars"),
        ({"strategy": "sematic"}, "Input should be 'recursive', 'fixed', 'semantic' or 'hierarchical'"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(given_keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChunkConfig.model_validate(given_keys)


def test_what_a_strategy_does_not_read_is_no_part_of_its_identity() -> None:
    both = {"with_title": True, "partition_rows": 2048}
    assert ChunkConfig().identity() == {"strategy": "recursive", "max_chars": 1000, "overlap_chars": 100, **both}
    assert set(FIXED.identity()) == {"strategy", "max_tokens", "overlap_tokens", "with_title", "partition_rows"}


def test_what_is_embedded() -> None:
    assert passage_text("Title", "text") == "Title\ntext"
    assert passage_text("", "text") == "text"
    assert passage_text("Title", "") == "Title"


def documents(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir()
    rows = {"id": list(texts), "title": [f"T {id_}" for id_ in texts], "text": list(texts.values())}
    nothing = [None] * len(texts)
    write_partition(
        pa.table({**rows, "metadata": nothing, "time": nothing}, schema=DOCUMENTS), folder / partition_name(0)
    )
    return folder


@pytest.mark.parametrize(
    "config",
    [
        ChunkConfig(max_chars=60, overlap_chars=0, partition_rows=7),
        ChunkConfig(strategy="fixed", max_tokens=8, overlap_tokens=2, partition_rows=7),
        ChunkConfig(strategy="hierarchical", max_chars=50, overlap_chars=0, parent_chars=120, partition_rows=7),
    ],
    ids=lambda config: config.strategy,
)
def test_partitions_are_full_and_always_the_same(tmp_path: Path, config: ChunkConfig) -> None:
    folder = documents(tmp_path / "documents", {f"d{n}": f"word{n} " * 30 for n in range(10)})
    result = chunk(folder, config, tmp_path / "once")
    chunk(folder, config, tmp_path / "again")
    made, again = (partitions(tmp_path / name / "passages") for name in ("once", "again"))
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    rows = count_rows(made[0].parent)
    assert {key: result[key] for key in ("documents", "passages", "partitions")} == {
        "documents": 10, "passages": rows, "partitions": len(made)
    }  # fmt: skip
    assert rows > 20 and len(made) == -(-rows // 7)
    for row in read_table(tmp_path / "once" / "passages").to_pylist():
        text = f"word{row['document_id'][1:]} " * 30
        assert row["text"] == text[row["start"] : row["end"]]
        assert row["id"] == passage_id(row["document_id"], row["start"], row["end"])
        assert row["title"] == f"T {row['document_id']}"


def test_children_name_parents_that_stand_in_a_table_beside(tmp_path: Path) -> None:
    folder = documents(tmp_path / "documents", {"long": "A sentence. " * 40, "short": "Nothing to it."})
    config = ChunkConfig(strategy="hierarchical", max_chars=50, overlap_chars=0, parent_chars=120)
    result = chunk(folder, config, tmp_path)
    parents = {row["id"]: row for row in read_table(tmp_path / "parents").to_pylist()}
    assert result["parents"] == len(parents) == 4
    children = read_table(tmp_path / "passages").to_pylist()
    for child in children[:-1]:
        parent = parents[child["parent_id"]]
        assert parent["start"] <= child["start"] < child["end"] <= parent["end"]
        assert child["text"] in parent["text"]
    assert (children[-1]["document_id"], children[-1]["parent_id"]) == ("short", None)


def test_titles_can_be_left_out_but_not_of_a_document_that_has_nothing_else(tmp_path: Path) -> None:
    folder = documents(tmp_path / "documents", {"a": "text", "b": ""})
    chunk(folder, ChunkConfig(with_title=False), tmp_path)
    assert read_table(tmp_path / "passages")["title"].to_pylist() == ["", "T b"]


def test_no_documents_make_one_empty_partition(tmp_path: Path) -> None:
    result = chunk(documents(tmp_path / "documents", {}), ChunkConfig(), tmp_path)
    assert result["passages"] == 0
    assert [path.name for path in partitions(tmp_path / "passages")] == ["part-00000.parquet"]


def test_books_are_cut_whole(data_root: Path) -> None:
    for book in sorted((data_root / "books").glob("*.txt")):
        text = book.read_text(encoding="utf-8-sig")
        spans = chunk_text(text, ChunkConfig())
        assert not uncovered(text, spans).strip()
        lengths = [end - start for start, end in spans]
        assert 600 < sum(lengths) / len(lengths) <= 1000
