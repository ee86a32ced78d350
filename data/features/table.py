"""Features of some entities, as one matrix.

Shapes: C entities, F features.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from data.errors import InputError, nearest

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Features:
    """What is known of entities at a time.

    Attributes:
        names: of the features, F.
        values_CF: float32 (C, F).
        ids: of the entities, C.
        time: up to which all that happened counts, in microseconds since 1970.
    """

    names: tuple[str, ...]
    values_CF: Floats
    ids: tuple[str, ...]
    time: int

    def __len__(self) -> int:
        """Entities."""
        return len(self.ids)

    @cached_property
    def version(self) -> str:
        """16 hex digits of what it says: equal tables have the same."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr((self.names, self.ids, self.time)).encode())
        digest.update(np.ascontiguousarray(self.values_CF, "<f4").tobytes())
        return digest.hexdigest()

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Rows of entities by their ids."""
        return {id_: row for row, id_ in enumerate(self.ids)}

    def named(self, names: Sequence[str]) -> Floats:
        """Some columns, float32 (C, len(names)), in the order of ``names``.

        Raises:
            InputError: if there is no such feature.
        """
        column = {name: place for place, name in enumerate(self.names)}
        for name in names:
            if name not in column:
                problem = f"there is no feature {name!r}; {nearest(name, self.names)}"
                raise InputError(problem, "Train the ranker again: features are computed otherwise now.")
        return self.values_CF[:, [column[name] for name in names]]

    def of(self, ids: Sequence[str], names: Sequence[str]) -> Floats:
        """Values of some entities, float32 (len(ids), len(names)); those of an entity that it does not have are 0.

        Raises:
            InputError: as of ``named``.
        """
        rows = np.array([self.row_of.get(id_, -1) for id_ in ids], np.int64)
        chosen = np.zeros((len(ids), len(names)), np.float32)
        known = rows >= 0
        chosen[known] = self.named(names)[rows[known]]
        return chosen
