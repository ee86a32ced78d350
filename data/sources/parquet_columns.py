"""Which columns of a Parquet file of documents are read: metadata has no place for binary ones."""

import logging
from collections.abc import Collection, Sequence
from typing import Any

from data.errors import InputError
from data.sources.parquet import opened
from data.sources.remote import SourceFile

logger = logging.getLogger("catena")


def without_binary(
    file: SourceFile, columns: Sequence[str] | None, used: Collection[str], named: Collection[str]
) -> list[str] | None:
    """The columns to read of a file, without those of metadata that are binary; one line of the log names these.

    Args:
        file: a Parquet file.
        columns: columns to read; all where None.
        used: columns that are not metadata; these are read whatever their type is.
        named: columns of metadata that the run file names.

    Returns:
        Names of columns, and of the parts of those that are binary in part; ``columns`` where nothing is binary.

    Raises:
        InputError: if a column that the run file names is binary and nothing else.
    """
    with opened(file) as parquet:
        schema = parquet.schema
        leaves = [schema.column(number) for number in range(len(schema))]
        names = parquet.schema_arrow.names
    wanted = [leaf for leaf in leaves if columns is None or _column(leaf.path, names) in columns]
    binary = [leaf for leaf in wanted if _is_binary(leaf) and _column(leaf.path, names) not in used]
    if not binary:
        return None if columns is None else list(columns)
    left_out = {leaf.path for leaf in binary}
    kept = [leaf.path for leaf in wanted if leaf.path not in left_out]
    lost = [name for name in named if name not in {_column(path, names) for path in kept}]
    if lost:
        raise InputError(
            f"{file}: the column {lost[0]!r} is binary, which metadata cannot hold", "Take it out of `metadata`."
        )
    logger.info("ingest: %s: binary columns are left out: %s", file, ", ".join(sorted(left_out)))
    return kept


def _is_binary(leaf: Any) -> bool:  # noqa: ANN401 - pyarrow is untyped
    stored = leaf.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
    return stored and leaf.logical_type.type in ("NONE", "BSON") and leaf.converted_type in ("NONE", "BSON")


def _column(path: str, names: Sequence[str]) -> str:
    """The column that a leaf belongs to: a name may have dots in it, and a path joins names by dots."""
    return path if path in names else max((n for n in names if path.startswith(f"{n}.")), key=len, default=path)
