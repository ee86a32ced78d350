"""Columns of ids: numbered, compared with other ids, and the first of each found.

All on columns, without a Python object a row. Shapes: n values.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


def codes(ids: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Int32 (n,): a number for each id, equal where the ids are."""
    return np.asarray(ids.combine_chunks().dictionary_encode().indices.to_numpy())


def first_of_each(keys: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Bool (n,): whether a key occurs for the first time."""
    first = np.zeros(len(keys), bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return first


def numbers_of(values: pa.ChunkedArray, ids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Int64 (n,): the place of each value among ids, -1 where it is null or not among them."""
    found = pc.index_in(values.cast(ids.type), value_set=ids, skip_nulls=True)
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64)


def are_among(values: pa.ChunkedArray, ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Bool (n,): which values are among ids; null is not."""
    return numbers_of(values, ids) >= 0
