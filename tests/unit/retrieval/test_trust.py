"""Questions that a corpus asks of itself: how they are made, and that they find out a list that is blind."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.encoders import load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.encoders.protocol import Vectors
from data.partitions import partition_name, partitions, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.passages.sampling import PassageSample
from data.schema import DOCUMENTS
from retrieval.config import IndexConfig
from retrieval.index import Hit
from retrieval.open import open_index, read_meta
from retrieval.terms import TermStatistics
from retrieval.trust import DEPTH, Question, make_questions, measure, reciprocal_ranks, trust_of, weigh
from tests.unit.retrieval.test_rescoring import HASHED

BODY = "The first sentence is about cats. The second one tells of old ships. A third speaks about rain."


def sample(titles: list[str], bodies: list[str]) -> PassageSample:
    return PassageSample([f"d{row}" for row in range(len(titles))], titles, bodies, len(titles))


def test_a_question_is_not_in_what_is_left_of_its_passage() -> None:
    made = make_questions(sample(["Cats and ships"] * 9, [BODY] * 9), 9)
    assert len({question.document for question in made}) == 9
    assert {question.text == "Cats and ships" for question in made} == {True, False}
    for question in made:
        assert question.text not in question.rest and "  " not in question.rest
        assert (question.text == "Cats and ships") == (question.rest == BODY)


def test_passages_of_one_part_ask_nothing() -> None:
    one = "There is nothing here but this one sentence."
    assert make_questions(sample(["", "Title", "A short title"], [one, one, "few words"]), 5) == []
    (titled,) = make_questions(sample(["A title of it"], [one]), 5)
    assert titled == Question("d0", "A title of it", one)


def test_no_more_questions_than_wanted_and_the_same_for_a_seed() -> None:
    of = sample([""] * 30, [BODY] * 30)
    assert len(make_questions(of, 7)) == 7
    assert make_questions(of, 7) == make_questions(of, 7) != make_questions(of, 7, seed=1)


def test_ranks_are_among_other_documents() -> None:
    hits = [Hit(n, 1.0 - n / 1000, {"document_id": "own" if n == 1 else f"d{n // 2}"}) for n in range(DEPTH)]
    question = Question("own", "", "")
    own = np.array([0.9965, 2.0, 0.9, 0.0, 0.5])
    found = [hits, hits, hits, hits[:3], hits[:3]]
    ranks = reciprocal_ranks(own, found, [question] * 5)
    # three of d0, d1 (twice) and own are above the first; the third is below the last hit; the fourth has no word
    np.testing.assert_allclose(ranks, [1 / 3, 1, 0, 0, 1 / 3])


def test_weights_are_squares_and_few_questions_say_little() -> None:
    sure = trust_of({"dense": np.full(10_000, 0.2), "bm25": np.full(10_000, 0.8)})
    assert sure.weights["bm25"] == pytest.approx(16 / 17, abs=0.001) and sum(sure.weights.values()) == pytest.approx(1)
    unsure = trust_of({"dense": np.full(5, 0.2), "bm25": np.full(5, 0.8)})
    assert 0.5 < unsure.weights["bm25"] < 0.75
    blind = trust_of({"dense": np.zeros(9), "bm25": np.zeros(9)})
    assert blind.weights == {"dense": 0.5, "bm25": 0.5}
    assert trust_of({"dense": np.array([0.0, 1.0]), "bm25": np.ones(2)}).interval["dense"] == (0.0, 1.0)


class Blind:
    """An encoder whose vectors say nothing; the double of one that does not know a corpus's language."""

    def __init__(self, dim: int) -> None:
        self.fingerprint, self.dim, self.precision, self.cosine_to_fp32 = "blind", dim, "fp32", 1.0
        self._rng = np.random.default_rng(0)

    def encode(self, texts: list[str]) -> Vectors:
        made = self._rng.normal(size=(len(texts), self.dim)).astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    encode_queries = encode


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of documents whose sentences share their rarest words."""
    import json

    from data.passages.text import passage_text
    from data.vectors.table import vector_column
    from retrieval.build import build_index

    root, rng = tmp_path_factory.mktemp("trust"), np.random.default_rng(0)
    for name in ("documents", "vectors", "index"):
        (root / name).mkdir(parents=True)
    rows = []
    for number in range(80):
        said = [f"thing{number} " + " ".join(f"word{w}" for w in rng.integers(0, 50, 6)) for _ in range(3)]
        text = ". ".join(said) + "."
        rows.append({"id": f"d{number}", "title": "", "text": text, "metadata": None})
    write_partition(pa.Table.from_pylist(rows, DOCUMENTS), root / "documents" / partition_name(0))
    chunk(root / "documents", ChunkConfig(), root)
    encoder = load_encoder(HASHED)
    for path in partitions(root / "passages"):
        table = pa.parquet.read_table(path)
        vectors = encoder.encode([passage_text(row["title"], row["text"]) for row in table.to_pylist()])
        field, column = vector_column(vectors, "float32")
        made = pa.table([table["id"], column], pa.schema([pa.field("id", pa.string()), field]))
        write_partition(made.replace_schema_metadata({"encoder": encoder.fingerprint}), root / "vectors" / path.name)
    described = {"dim": encoder.dim, "fingerprint": encoder.fingerprint, "precision": encoder.precision}
    (root / "manifest.json").write_text(json.dumps(described))
    build_index(root / "documents", root / "passages", root, IndexConfig(trust_questions=60), root / "index")
    return root


def test_a_blind_encoder_is_found_out(run: Path) -> None:
    index, meta, terms = open_index(run / "index"), read_meta(run / "index"), TermStatistics(run / "index")
    seeing = measure(index, meta, terms, run / "passages", load_encoder(HASHED))
    blind = measure(index, meta, terms, run / "passages", Blind(meta.dim))  # type: ignore[arg-type]
    index.close()
    assert seeing is not None and blind is not None and seeing.questions == blind.questions == 60
    assert seeing.mrr["bm25"] == blind.mrr["bm25"] > 0.9
    assert blind.mrr["dense"] < 0.15 < seeing.mrr["dense"]
    assert blind.weights["dense"] < seeing.weights["dense"]


def test_it_stands_in_the_indexs_description(run: Path) -> None:
    assert read_meta(run / "index").trust is None
    trust = weigh(run / "index", run / "passages", HASHED)
    assert trust is not None and read_meta(run / "index").trust == trust


def test_an_index_of_another_encoder_is_refused(run: Path) -> None:
    from data.errors import InputError

    with pytest.raises(InputError, match="another encoder"):
        weigh(run / "index", run / "passages", HashedEncoderConfig(hashed=HashedConfig(dim=128)))
