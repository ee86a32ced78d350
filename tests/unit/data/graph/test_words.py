"""TF-IDF of documents against scikit-learn's."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer

from data.graph.words import Vocabulary, tfidf
from data.lexical import Tokenizer
from data.partitions import partition_name, write_partition

TEXTS = [
    ("Light", "In the beginning God created the heaven and the earth"),
    ("", "and God said let there be light and there was light"),
    ("Waters", "the spirit moved upon the face of the waters"),
    ("", ""),
    ("Heaven", "heaven heaven heaven and earth shall pass away"),
]


def write(folder: Path, texts: list[tuple[str, str]]) -> Path:
    folder.mkdir()
    table = pa.table({"title": [title for title, _ in texts], "text": [text for _, text in texts]})
    write_partition(table, folder / partition_name(0))
    return folder


def test_similarities_are_those_of_scikit_learn(tmp_path: Path) -> None:
    ours, vocabulary = tfidf(write(tmp_path / "documents", TEXTS), "english")
    tokenizer = Tokenizer("english")
    peer = TfidfVectorizer(analyzer=tokenizer.terms, sublinear_tf=True).fit_transform(f"{a}\n{b}" for a, b in TEXTS)
    common = np.asarray((peer > 0).sum(axis=0)).ravel() > 2
    assert not common.any(), "the comparison holds where no term is too common to count"
    np.testing.assert_allclose((ours @ ours.T).toarray(), (peer @ peer.T).toarray(), atol=1e-5)
    vocabulary.save(tmp_path / "vocabulary.npz")
    again = Vocabulary.load(tmp_path / "vocabulary.npz").rows([*(f"{a}\n{b}" for a, b in TEXTS), "", "unheardof"])
    np.testing.assert_allclose(again[: len(TEXTS)].toarray(), ours.toarray(), atol=1e-6)
    assert again.shape[0] == len(TEXTS) + 2 and not again[len(TEXTS) :].nnz


def test_rows_are_of_unit_length_or_empty_and_common_terms_do_not_count(tmp_path: Path) -> None:
    texts = [("", f"everywhere word{number % 25}") for number in range(50)] + [("", "everywhere")]
    ours, _ = tfidf(write(tmp_path / "documents", texts), "none")
    norms = np.sqrt(np.asarray(ours.multiply(ours).sum(axis=1)).ravel())
    np.testing.assert_allclose(norms, [1.0] * 50 + [0.0], atol=1e-6)
    assert ours.dtype == np.float32 and (ours[0] @ ours[1].T).nnz == 0 and np.isclose((ours[0] @ ours[25].T).sum(), 1)


def test_no_documents(tmp_path: Path) -> None:
    words, vocabulary = tfidf(write(tmp_path / "documents", []), "english")
    assert words.shape[0] == 0 and vocabulary.rows(["moon"]).shape == (1, 0)
