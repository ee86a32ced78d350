"""The language of a corpus: found, kept with the index, and used for its questions."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.partitions import partitions, write_partition
from retrieval.config import IndexConfig
from retrieval.language import detect_language
from retrieval.open import open_index, read_meta
from retrieval.search import Retriever
from tests.unit.retrieval.test_build import build, write_run

PROSE = {
    "english": "The king of the land was with his people, and they were not in the house that he had built for them.",
    "german": "Der König des Landes war bei seinem Volk, und sie waren nicht in dem Haus, das er für sie gebaut hatte.",
    "dutch": "De koning van het land was bij zijn volk, en zij waren niet in het huis dat hij voor hen had gebouwd.",
    "french": "Le roi du pays était avec son peuple, et ils n'étaient pas dans la maison qu'il avait bâtie pour eux.",
    "spanish": "El rey de la tierra estaba con su pueblo, y no estaban en la casa que él había construido para ellos.",
    "portuguese": "O rei da terra estava com o seu povo, e eles não estavam na casa que ele tinha feito para eles.",
    "italian": "Il re del paese era con il suo popolo, e non erano nella casa che egli aveva costruito per loro.",
    "swedish": "Kungen i landet var hos sitt folk, och de var inte i det hus som han hade byggt åt dem.",
    "russian": "Царь этой земли был со своим народом, и они не были в том доме, который он построил для них.",
    "turkish": "Bu ülkenin kralı halkı ile birlikte idi ve onlar onun kendileri için yaptığı o evde değil idiler.",
    "hebrew": "מלך הארץ היה עם עמו, והם לא היו בבית אשר בנה להם.",
    "greek": "Ο βασιλιάς της χώρας ήταν με τον λαό του, και δεν ήταν στο σπίτι που είχε χτίσει γι' αυτούς.",
}


@pytest.mark.parametrize("language", PROSE)
def test_prose_is_told_by_its_script_and_its_common_words(language: str) -> None:
    assert detect_language([PROSE[language]] * 3) == language


@pytest.mark.parametrize(
    "texts",
    [
        [],
        ["", "…"],
        ["whole milk", "tropical fruit", "soda"],
        ["numpy.linalg.inv", "scipy.fft.rfft"],
        ["自然言語処理", "東京"],
        [PROSE["english"], PROSE["english"], PROSE["german"]],
        [PROSE["english"], "צהל"],
    ],
)
def test_what_is_not_clearly_of_another_language_is_english(texts: list[str]) -> None:
    assert detect_language(texts) == "english"


def test_only_so_much_of_a_corpus_is_read() -> None:
    texts = iter([PROSE["german"] * 10_000, PROSE["english"]])
    assert detect_language(texts) == "german"
    assert next(texts) == PROSE["english"]


def hebrew_run(root: Path) -> Path:
    """The run of the index's tests with other words in its passages."""
    write_run(root)
    for path in partitions(root / "passages"):
        table = pq.read_table(path)
        texts = [f"הילד הלך אל העיר {row}" if row % 2 else f"המלך ישב בארמון {row}" for row in range(len(table))]
        for name, column in (("text", texts), ("title", ["כותרת"] * len(table))):
            table = table.set_column(table.column_names.index(name), name, pa.array(column, pa.string()))
        write_partition(table, path)
    return root


def test_an_index_keeps_the_language_it_was_built_in(tmp_path: Path) -> None:
    root = hebrew_run(tmp_path)
    assert build(root)["language"] == "hebrew"
    meta = read_meta(root / "out")
    assert meta.config.language == "hebrew"
    retriever = Retriever(open_index(root / "out"), meta)
    (with_particles, without) = retriever.search(["לעיר", "עיר"], mode="bm25")
    assert [hit.document_id for hit in with_particles] == [hit.document_id for hit in without] != []
    assert retriever.search(["של את"], mode="bm25") == [[]]
    retriever.index.close()


def test_a_language_that_is_given_is_taken(tmp_path: Path) -> None:
    root = hebrew_run(tmp_path)
    assert build(root, IndexConfig(language="none"))["language"] == "none"
    retriever = Retriever(open_index(root / "out"), read_meta(root / "out"))
    assert retriever.search(["לעיר"], mode="bm25") == [[]]
    retriever.index.close()
