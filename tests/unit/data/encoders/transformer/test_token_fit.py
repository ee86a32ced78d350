"""A model that does not know a corpus's script is reported before hours go into its vectors; others get no warning."""

import inspect
import logging
from pathlib import Path

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import data.lexical
from data.encoders.config import TransformerConfig, read_encoder
from data.encoders.transformer.token_fit import fits, token_fit
from data.partitions import partition_name, write_partition
from data.passages.sampling import sampled_texts

ENGLISH = "The river rose in the night, and by morning the lower fields stood under water for the third time that year."
HEBREW = "הנהר עלה בלילה ובבוקר עמדו השדות התחתונים במים בפעם השלישית באותה שנה והאיכרים חיכו לשמש"
RUSSIAN = "Река поднялась ночью, и к утру нижние поля стояли под водой в третий раз за этот год."
CHINESE = "河水在夜里上涨,到了早晨,低处的田地今年第三次被水淹没,农民们都在等待太阳出来把土地晒干,然后重新播种。"
GERMAN = "Der Fluss stieg in der Nacht, und am Morgen standen die unteren Felder zum dritten Mal unter Wasser."
GREEK_SYMBOLS = ENGLISH * 5 + " where α is the angle, β the slope and γ the loss"


@pytest.mark.parametrize(
    ("text", "script"), [(HEBREW, "Hebrew"), (RUSSIAN, "Cyrillic"), (CHINESE, "Han"), (ENGLISH + HEBREW, "Hebrew")]
)
def test_a_script_that_the_model_does_not_know_is_named_once_with_what_to_do(
    text: str, script: str, caplog: pytest.LogCaptureFixture
) -> None:
    token_fit(TransformerConfig(), [text] * 3)
    (line,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert f"all-MiniLM-L6-v2 does not know the script {script}" in line
    assert "encoder.model" in line and "mode bm25" in line


@pytest.mark.parametrize(
    "text",
    [ENGLISH, GERMAN, inspect.getsource(data.lexical), GREEK_SYMBOLS, ENGLISH * 20 + HEBREW, "", "1, 2; 3!", "א"],
)
def test_what_the_model_knows_or_what_is_rare_is_no_reason_to_warn(text: str, caplog: pytest.LogCaptureFixture) -> None:
    token_fit(TransformerConfig(), [text])
    assert not caplog.records


def test_the_figures_are_shares_of_tokens_in_words_of_several_letters() -> None:
    (made,) = token_fit(TransformerConfig(), [HEBREW, "a river"]).values()
    hebrew, latin = made["Hebrew"], made["Latin"]
    assert hebrew.single_share == 1.0 and hebrew.tokens_per_word > 4 and hebrew.words == 15
    assert (latin.words, latin.tokens_per_word, latin.single_share, latin.letters) == (1, 1.0, 0.0, 6)
    assert hebrew.letters_share + latin.letters_share == pytest.approx(1, abs=1e-3)


def test_a_tokenizer_that_was_trained_on_the_script_knows_it() -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator([HEBREW] * 9, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"]))
    assert fits(tokenizer, [HEBREW] * 9)["Hebrew"].known("Hebrew")
    assert not fits(tokenizer, [RUSSIAN] * 9)["Cyrillic"].known("Cyrillic")


@pytest.mark.parametrize(
    "encoder", [{"hashed": {}}, {"model": "my_package.encoders:load"}, {"model": "/no/such/folder"}]
)
def test_encoders_without_a_tokenizer_here_are_not_judged(encoder: dict[str, object]) -> None:
    assert token_fit(read_encoder(encoder), [HEBREW]) == {}


def test_members_of_an_ensemble_are_judged_each() -> None:
    members = [{"hashed": {}}, {"precision": "fp32"}]
    found = token_fit(read_encoder({"ensemble": {"members": members}}), [ENGLISH])
    assert list(found) == ["all-MiniLM-L6-v2"]


def test_the_sample_is_spread_over_the_partitions(tmp_path: Path) -> None:
    for number in range(5):
        rows = {"title": ["t", ""], "text": [f"text {number}", "more"]}
        write_partition(pa.table(rows), tmp_path / partition_name(number))
    assert sampled_texts(tmp_path, of_partitions=3, of_each=1) == ["t\ntext 0", "t\ntext 2", "t\ntext 4"]
    assert len(sampled_texts(tmp_path)) == 10
    assert sampled_texts(tmp_path / "none") == []
