"""Words of any script by UAX 29: without what is not shown, apart from the symbols beside them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.words import count_words, fold, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lu_factor(A, b)!", ["lu", "factor", "a", "b"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("ｆｕｌｌ ﬁle", ["full", "file"]),
        ("בְּרֵאשִׁית בָּרָא", ["בראשית", "ברא"]),
        ("كَتَبَ", ["كتب"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("自然語 x", ["x", "自然", "然語"]),
        ("字", ["字"]),
        ("", []),
        ("—…!", []),
    ],
)
def test_words_of_many_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Duralux™ℳ", ["duralux", "tm", "m"]),
        ("see² note³⁴", ["see", "2", "note", "34"]),
        ("⑴open ②shut ❸", ["1", "open", "2", "shut", "❸"]),
        ("5㎏ 30℃ 1½", ["5", "kg", "30", "c", "1", "1", "2"]),
        ("東京㈱", ["東京", "株"]),
        ("Na⁺ CO₂", ["na", "co2"]),
    ],
)
def test_symbols_do_not_melt_into_the_word_before(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("unseen", [*"\u00ad\u200c\u200d\u2060\ufeff\u200e\u061c\u034f\ufe0f"])
def test_what_is_not_shown_does_not_part_words(unseen: str) -> None:
    assert words(f"Wasser{unseen}fall") == ["wasserfall"]
    assert words(f"نمی{unseen}دانم") == ["نمیدانم"]


def test_the_zero_width_space_parts_words_and_the_tatweel_stretches_them() -> None:
    assert words("one\u200btwo é") == ["one", "two", "é"]
    assert words("ســـلام") == words("سلام")


def test_katakana_words_stay_whole_and_hiragana_and_han_are_pairs() -> None:
    assert words("コンピューター") == ["コンピューター"]
    assert words("ｺﾝﾋﾟｭｰﾀｰ") == ["コンピューター"]
    assert words("新しいサーバーへ") == ["サーバー", "新し", "しい", "へ"]
    assert words("らーめん") == ["らー", "ーめ", "めん"]
    assert "サーバー" not in words("バーサーカー")


def test_the_dot_of_a_capital_i_is_not_kept() -> None:
    assert words("İzmir’in İSTASYONU") == ["izmir", "in", "istasyonu"]
    assert words("I\u0307zmir") == ["izmir"]
    assert words("IŞIK ışık", turkish=True) == ["ışık", "ışık"]
    assert words("ISIK", turkish=True) == ["ısık"]


def test_mid_word_punctuation_is_uax_29s_with_the_stated_exceptions() -> None:
    assert words("don't can’t") == ["don't", "can't"]
    assert words("3.14 1,204.5 1:30") == ["3.14", "1,204.5", "1", "30"]
    assert words("l'eau d’été é") == ["l", "eau", "d", "été", "é"]
    assert words('col·lecció צה״ל צה"ל') == ["col·lecció", 'צה"ל', 'צה"ל']
    assert words("scipy.linalg:lu é.b") == ["scipy", "linalg", "lu", "é", "b"]


@given(st.text(max_size=60))
def test_words_do_not_depend_on_how_characters_are_composed(text: str) -> None:
    assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))
    assert all(word for word in words(text))


@given(st.text(alphabet="abeEhI01'.,;:_ -\"\n", max_size=30))
def test_ascii_has_a_fast_path_that_gives_the_same_words(text: str) -> None:
    assert [word for word in words(text + " é") if word != "é"] == words(text)


def test_folding_is_the_same_a_second_time() -> None:
    text = "İ™ Straße ﬁn Ά ΐ ǅ صـة"
    assert fold(fold(text)) == fold(text)


def test_words_are_counted() -> None:
    assert count_words(["two words", "", "漢字かな"]).tolist() == [2, 0, 3]
