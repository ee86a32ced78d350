"""What a corpus is made of: passages, characters, tokens, and scripts."""

from pathlib import Path

import pyarrow as pa
import pytest

from data.partitions import partition_name, write_partition
from data.passages.fixed import word_starts
from data.passages.statistics import count_corpus, count_scripts


@pytest.mark.parametrize(
    ("text", "scripts"),
    [
        ("", {}),
        ("12 + 34 = 46!", {}),
        ("Sea and море, θάλασσα", {"Latin": 6, "Cyrillic": 4, "Greek": 7}),
        ("בְּרֵאשִׁית", {"Hebrew": 6}),  # points are marks, not letters
        ("データの保存 ﾃﾞｰﾀ", {"Katakana": 4, "Hiragana": 1, "Han": 2, "other": 3}),
        ("ⴰⴱ", {"other": 2}),  # Tifinagh is in none of the scripts that are told apart
    ],
)
def test_letters_are_counted_by_script(text: str, scripts: dict[str, int]) -> None:
    assert count_scripts(text) == scripts


def test_a_corpus_is_counted_over_its_partitions(tmp_path: Path) -> None:
    rows = [("Title", "one two three"), ("", "четыре"), ("", "")]
    for number, (title, text) in enumerate(rows):
        write_partition(pa.table({"title": [title], "text": [text]}), tmp_path / partition_name(number))
    counted = count_corpus(tmp_path, lambda texts: [word_starts(text) for text in texts])
    assert counted == {
        "passages": 3,
        "characters": len("Title\none two three") + 6,
        "tokens": 5,
        "tokens_median": 1.0,
        "tokens_p95": pytest.approx(3.7),
        "tokens_max": 4,
        "scripts": {"Latin": round(16 / 22, 4), "Cyrillic": round(6 / 22, 4)},
    }


def test_an_empty_corpus_has_no_tokens(tmp_path: Path) -> None:
    write_partition(
        pa.table({"title": pa.array([], pa.string()), "text": pa.array([], pa.string())}), tmp_path / partition_name(0)
    )
    counted = count_corpus(tmp_path, lambda texts: [])
    assert counted["passages"] == counted["tokens"] == counted["tokens_max"] == 0 and counted["scripts"] == {}
