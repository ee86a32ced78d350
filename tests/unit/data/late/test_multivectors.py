"""Token vectors in fewer dimensions and bytes: what is kept of them, and that the table gives back what was put in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.encoders.tokens import TokenVectors
from data.late import LateConfig, Storage
from data.late.multivectors import multivector_table, read_multivectors, write_multivectors
from data.late.projection import Projection, fit_projection


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    """Vectors of 32 dimensions that differ in 8 of them and hardly in the rest."""
    rng = np.random.default_rng(0)
    spread = np.concatenate([np.ones(8), np.full(24, 0.02)])
    turned, _ = np.linalg.qr(rng.normal(size=(32, 32)))
    return unit((rng.normal(size=(2000, 32)) * spread) @ turned)


def test_the_leading_directions_keep_the_inner_products(sample: np.ndarray) -> None:
    exact = sample[:200] @ sample[200:400].T
    errors = {}
    for kind in ("pca", "random"):
        projected = fit_projection(sample, LateConfig(dim=8, projection=kind))(sample[:400])
        np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)
        errors[kind] = np.abs(projected[:200] @ projected[200:].T - exact).mean()
    assert errors["pca"] < 0.02 < errors["random"]


def test_all_dimensions_change_nothing(sample: np.ndarray) -> None:
    for kind in ("pca", "random"):
        projection = fit_projection(sample, LateConfig(dim=32, projection=kind))
        np.testing.assert_allclose(
            projection(sample) @ projection(sample[:9]).T, sample @ sample[:9].T, atol=1e-5, err_msg=kind
        )


def test_the_same_sample_gives_the_same_projection(sample: np.ndarray) -> None:
    one, other = (fit_projection(sample, LateConfig(dim=8)) for _ in range(2))
    assert np.array_equal(one.matrix_WD, other.matrix_WD) and np.array_equal(one.step_D, other.step_D)


@pytest.mark.parametrize(("storage", "error"), [("float16", 1e-3), ("int8", 0.01)])
def test_stored_vectors_are_nearly_the_vectors(
    sample: np.ndarray, storage: Storage, error: float, tmp_path: Path
) -> None:
    projection = fit_projection(sample, LateConfig(dim=8, storage=storage))
    projection.save(tmp_path / "p.safetensors")
    loaded = Projection.load(tmp_path / "p.safetensors")
    assert loaded.storage == storage and np.array_equal(loaded.matrix_WD, projection.matrix_WD)

    starts = np.array([0, 3, 4, 60, 100])
    made = TokenVectors(projection(sample[:100]), starts)
    ids = pa.chunked_array([["a", "b", "c", "d"]])
    write_multivectors([multivector_table(ids, ids, made, projection)], tmp_path / "part-00000.parquet")
    whole = list(read_multivectors(tmp_path / "part-00000.parquet"))
    assert len(whole) == 1 and whole[0].ids == ["a", "b", "c", "d"] and whole[0].starts.tolist() == starts.tolist()
    assert whole[0].tokens.dtype == storage and not whole[0].tokens.flags.owndata
    assert np.abs(loaded.unpack(whole[0].tokens) - made.vectors).max() < error

    few = list(read_multivectors(tmp_path / "part-00000.parquet", rows=3))
    assert [part.ids for part in few] == [["a", "b", "c"], ["d"]]
    assert [part.starts.tolist() for part in few] == [[0, 3, 4, 60], [0, 40]]
    assert np.array_equal(np.concatenate([part.tokens for part in few]), whole[0].tokens)


def test_a_partition_is_written_in_parts_and_whole_or_absent(sample: np.ndarray, tmp_path: Path) -> None:
    projection = fit_projection(sample, LateConfig(dim=8))
    made = TokenVectors(projection(sample[:5]), np.array([0, 2, 5]))
    tables = [multivector_table(ids, ids, made, projection) for ids in (["a", "b"], ["c", "d"])]
    path = tmp_path / "part-00000.parquet"

    def cut_short() -> Iterator[pa.Table]:
        yield tables[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_multivectors(cut_short(), path)
    assert not path.exists()
    write_multivectors(iter(tables), path)
    assert [id_ for part in read_multivectors(path, rows=3) for id_ in part.ids] == ["a", "b", "c", "d"]


def test_a_vector_beyond_the_last_step_is_cut_there(sample: np.ndarray) -> None:
    projection = fit_projection(sample, LateConfig(dim=8, storage="int8"))
    assert projection.pack(np.full((1, 8), 5.0, np.float32)).tolist() == [[127] * 8]
    assert projection.pack(np.full((1, 8), -5.0, np.float32)).tolist() == [[-127] * 8]


def test_more_dimensions_than_there_are_is_refused(sample: np.ndarray) -> None:
    with pytest.raises(ValueError, match="32 dimensions cannot have 33"):
        fit_projection(sample, LateConfig(dim=33))
