"""Hashed TF-IDF: the same everywhere, like texts alike, rare words count more."""

from pathlib import Path

import numpy as np
import pytest

from data.encoders import check_model, load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.encoders.hashed import HashedEncoder, Idf
from data.errors import InputError

TEXTS = [
    "The moon moves the seas",
    "moons move a sea",
    "invert a sparse matrix",
    "בראשית ברא אלהים",
    "火のない所に煙は立たぬ",
]
CORPUS = [f"common words and w{n}" for n in range(99)] + ["common moon"]


def test_vectors_are_unit_and_stems_meet() -> None:
    vectors = HashedEncoder(HashedConfig(dim=512)).encode(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors.dtype == np.float32 and vectors[0] @ vectors[1] > 0.99 and abs(vectors[0] @ vectors[2]) < 0.3


def test_the_vectors_never_change() -> None:
    """Figures written down: an index on disk depends on them, and on no machine or run."""
    encoder = load_encoder(HashedEncoderConfig(hashed=HashedConfig(dim=16)))
    assert encoder.fingerprint == "be7b814b65ed69f9"
    assert encoder.encode(["moon sea moon"])[0].nonzero()[0].tolist() == [6, 15]


@pytest.mark.parametrize("text", ["", " \n", "!?", "\ud800", "the and of"])
def test_a_text_without_words_is_like_nothing(text: str) -> None:
    encoded = HashedEncoder(HashedConfig()).encode_counted([text, "moon"])
    assert not encoded.vectors[0].any() and encoded.vectors[1].any() and encoded.tokens.tolist() == [0, 1]


def test_ten_million_characters_are_read() -> None:
    assert np.isfinite(HashedEncoder(HashedConfig()).encode(["moon sea " * 1_100_000])).all()


def test_inner_products_are_those_of_exact_tfidf_on_average() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(400)]
    texts = [" ".join(rng.choice(words, 60)) for _ in range(60)]
    exact = HashedEncoder(HashedConfig(dim=16_384, language="none")).encode(texts)
    short = HashedEncoder(HashedConfig(dim=1024, language="none")).encode(texts)
    upper = np.triu_indices(len(texts), 1)
    error = (short @ short.T - exact @ exact.T)[upper]
    assert abs(error.mean()) < 0.005 and error.std() < 1.5 / np.sqrt(1024)


def test_rare_words_count_more_once_words_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "idf.safetensors"
    Idf.fit(CORPUS, "english").save(path, "english")
    plain = HashedEncoder(HashedConfig())
    fitted = load_encoder(HashedEncoderConfig(hashed=HashedConfig(idf=path)))
    query, rare, common = "common moon", "moon rises", "common rises"
    alike = [e.encode([query]) @ e.encode([rare, common]).T for e in (plain, fitted)]
    assert alike[0][0, 0] == pytest.approx(alike[0][0, 1]) and alike[1][0, 0] > 2 * alike[1][0, 1]
    assert fitted.fingerprint != plain.fingerprint
    assert HashedConfig(idf=path).identity()["idf"] != HashedConfig(idf=tmp_path / "none").identity()["idf"]


def test_idf_is_that_of_its_formula(tmp_path: Path) -> None:
    Idf.fit(CORPUS, "none").save(tmp_path / "idf", "none")
    read = Idf.load(tmp_path / "idf", "none")
    weights = sorted(set(np.round(list(read.by_term().values()), 3)))
    assert weights == [1.0, 1.01, 4.922] and read.unseen == pytest.approx(1 + np.log(101))


def test_files_that_are_no_weights_are_told(tmp_path: Path) -> None:
    path = tmp_path / "idf.safetensors"
    with pytest.raises(InputError, match=r"encoder.hashed.idf: there is no file .*\n.*catena encoder idf"):
        check_model(HashedEncoderConfig(hashed=HashedConfig(idf=path)))
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="cannot be read"):
        load_encoder(HashedEncoderConfig(hashed=HashedConfig(idf=path)))
    Idf.fit(CORPUS, "german").save(path, "german")
    with pytest.raises(InputError, match="for language german, words 2; the encoder has language english"):
        load_encoder(HashedEncoderConfig(hashed=HashedConfig(idf=path)))
    with pytest.raises(InputError, match="no texts"):
        Idf.fit([], "english")
