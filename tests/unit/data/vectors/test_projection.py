"""Projections: what they keep, that they come out the same, that questions go through the one of the vectors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import TruncatedSVD

from data.encoders.protocol import Encoded
from data.errors import InputError
from data.partitions import partition_name
from data.vectors.exact_search import overlap, search
from data.vectors.projection import Projection, ReducedEncoder, fit_pca, random_projection, sampled, truncation
from data.vectors.quantise import Floats, encode
from data.vectors.table import vector_column, write_table

DIM = 48


def unit(count: int, seed: int = 0) -> Floats:
    """Vectors near a plane of eight dimensions, as embeddings are near one of fewer than they have."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(0).standard_normal((8, DIM))
    raw = rng.standard_normal((count, 8)) @ plane + 0.5 * rng.standard_normal((count, DIM))
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True), dtype=np.float32)


class Letters:
    """An encoder: counts of letters, unit length."""

    fingerprint, dim, precision, cosine_to_fp32 = "letters", DIM, "fp32", 1.0

    def encode(self, texts: Sequence[str]) -> Floats:
        counts = np.array([[text.count(chr(97 + i)) for i in range(DIM)] for text in texts], np.float32)
        return np.asarray(counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9), np.float32)

    def encode_counted(self, texts: Sequence[str]) -> Encoded:
        return Encoded(self.encode(texts), np.full(len(texts), 3, np.int32), 0.25)


def projections(dim: int = 16) -> list[Projection]:
    return [
        fit_pca([unit(500)], "letters", dim),
        random_projection("letters", DIM, dim, seed=1),
        truncation("letters", DIM, dim),
    ]


@pytest.mark.parametrize("projection", projections(), ids=lambda projection: projection.method)
def test_what_comes_out_is_short_unit_and_the_same_when_read_back(projection: Projection, tmp_path: Path) -> None:
    np.testing.assert_allclose(projection.matrix.T @ projection.matrix, np.eye(16), atol=1e-5)
    vectors = unit(20, seed=5)
    reduced = projection(vectors)
    assert reduced.shape == (20, 16) and reduced.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-5)
    assert (projection(np.zeros((1, DIM), np.float32)) == 0).all()

    projection.save(tmp_path / "p.safetensors")
    again = Projection.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(again(vectors), reduced)
    assert (again.fingerprint, again.method, again.kept) == (projection.fingerprint, projection.method, projection.kept)
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]
    first = (tmp_path / "p.safetensors").read_bytes()
    for _ in range(5):
        projection.save(tmp_path / "p.safetensors")
        assert (tmp_path / "p.safetensors").read_bytes() == first


def test_truncation_takes_the_first_dimensions() -> None:
    vectors = unit(5)
    first = vectors[:, :16] / np.linalg.norm(vectors[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(truncation("letters", DIM, 16)(vectors), first, atol=1e-6)


def test_pca_is_the_svd_of_the_sample_however_it_is_cut() -> None:
    sample = unit(500)
    whole = fit_pca([sample], "letters", 8)
    cut = fit_pca(iter(np.split(sample, [3, 200, 201])), "letters", 8)
    np.testing.assert_allclose(whole.matrix, cut.matrix, atol=1e-4)
    peer = TruncatedSVD(8, algorithm="arpack", random_state=0).fit(sample.astype(np.float64)).components_.T
    np.testing.assert_allclose(whole.matrix @ whole.matrix.T, peer @ peer.T, atol=1e-4)  # the same space, rotated
    assert whole.kept == pytest.approx(
        float((sample @ whole.matrix).astype(np.float64).__pow__(2).sum() / 500), abs=1e-5
    )
    assert 0.7 < whole.kept < 1 and fit_pca([sample], "letters", DIM).kept == pytest.approx(1)


def test_pca_keeps_neighbours_better_than_chance_and_all_dimensions_keep_all() -> None:
    vectors, questions = unit(1000, seed=2), unit(50, seed=3)
    exact = search(questions, vectors, "float32", 10)[1]

    def recall(projection: Projection) -> float:
        return overlap(search(projection(questions), projection(vectors), "float32", 10)[1], exact)

    pca, random, first = map(recall, projections(12))
    assert pca > max(random, first) and pca > 0.6
    assert all(recall(projection) == 1 for projection in projections(DIM))


def test_the_rotation_changes_no_product_and_makes_bits_worth_more() -> None:
    vectors, questions = unit(1000, seed=2), unit(50, seed=3)
    exact = search(questions, vectors, "float32", 10)[1]
    rotated, other = (fit_pca([vectors], "letters", 16, seed) for seed in (0, 1))
    np.testing.assert_allclose(rotated(questions) @ rotated(vectors).T, other(questions) @ other(vectors).T, atol=1e-5)
    values, directions = np.linalg.eigh(vectors.T @ vectors)
    plain = Projection("pca", "letters", directions[:, np.argsort(-values)[:16]])

    def recall_of_bits(projection: Projection) -> float:
        codes = encode(projection(vectors), "binary")
        return overlap(search(projection(questions), codes, "binary", 10)[1], exact)

    assert min(recall_of_bits(rotated), recall_of_bits(other)) > recall_of_bits(plain) + 0.05


def test_seed_and_encoder_decide_the_fingerprint() -> None:
    base = random_projection("letters", DIM, 16, 1)
    assert base.fingerprint == random_projection("letters", DIM, 16, 1).fingerprint != "letters"
    others = [
        random_projection("letters", DIM, 16, 2),
        random_projection("words", DIM, 16, 1),
        random_projection("letters", DIM, 8, 1),
    ]
    assert len({projection.fingerprint for projection in [base, *others]}) == 4


@pytest.mark.parametrize("sample", [[], [unit(15)]], ids=["nothing", "fifteen"])
def test_too_small_a_sample_is_refused(sample: list[Floats]) -> None:
    with pytest.raises(InputError, match=r"16 dimensions needs a sample .* there are (0|15)"):
        fit_pca(sample, "letters", 16)


def test_a_sample_is_random_seeded_and_in_order(tmp_path: Path) -> None:
    vectors = unit(3000)
    for number, part in enumerate(np.split(vectors, [1000])):
        field, column = vector_column(part, "float32")
        ids = pa.array([str(i) for i in range(len(part))])
        write_table(pa.table([ids, column], pa.schema([("id", pa.string()), field])), tmp_path / partition_name(number))

    def rows(count: int, seed: int) -> list[int]:
        drawn = np.concatenate(list(sampled(tmp_path, count, seed)))
        return [int(np.flatnonzero((vectors == row).all(axis=1))[0]) for row in drawn]

    chosen = rows(200, 0)
    assert chosen == sorted(set(chosen)) == rows(200, 0) != rows(200, 1)
    assert 40 < sum(row < 1000 for row in chosen) < 95
    np.testing.assert_array_equal(np.concatenate(list(sampled(tmp_path, 5000, 0))), vectors)


def test_an_encoder_reduces_its_questions_too() -> None:
    projection = fit_pca([unit(100)], "letters", 16)
    encoder = ReducedEncoder(Letters(), projection)
    assert (encoder.dim, encoder.fingerprint, encoder.precision) == (16, projection.fingerprint, "fp32")
    expected = projection(Letters().encode(["abc", "cab"]))
    np.testing.assert_array_equal(encoder.encode(["abc", "cab"]), expected)
    counted = encoder.encode_counted(["abc", "cab"])
    np.testing.assert_array_equal(counted.vectors, expected)
    assert counted.tokens.tolist() == [3, 3] and counted.padding_share == 0.25


def test_another_encoders_projection_is_refused() -> None:
    with pytest.raises(InputError, match="reduced for another encoder: words, this is letters"):
        ReducedEncoder(Letters(), truncation("words", DIM, 16))


def test_a_missing_or_broken_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no projection of vectors can be read"):
        Projection.load(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        Projection.load(tmp_path / "broken.safetensors")
