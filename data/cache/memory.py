"""The tier in this process: the vectors used last, in one block of memory."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from data.cache import Entries, Found, TierCounts

ENTRY_BYTES = 320  # measured: key, its place in the order, number of the row, tokens and end of life


class MemoryTier:
    """Keeps what was used last within a bound in bytes; each key costs the same, however full it is (LRU, O(1)).

    All vectors are in one array, so that a batch is one copy. Pages of it that nothing was written to use no memory.

    Args:
        megabytes: bound, vectors and what is kept beside them together.
        dim: of the vectors.
        ttl_s: how long an entry lives, in seconds.
        dtype: float32 or float16.
        clock: returns the time in seconds.
    """

    name = "memory"

    def __init__(
        self,
        megabytes: float,
        dim: int,
        ttl_s: float,
        dtype: type[np.float32] | type[np.float16] = np.float32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts = TierCounts()
        self.capacity = int(megabytes * 2**20 // (dim * np.dtype(dtype).itemsize + ENTRY_BYTES))
        self._vectors: npt.NDArray[np.float32 | np.float16] = np.empty((self.capacity, dim), dtype)
        self._tokens = np.empty((self.capacity, 2), np.int32)
        self._ends = np.empty(self.capacity)
        self._rows: OrderedDict[bytes, int] = OrderedDict()  # least used first
        self._used = 0  # rows that were ever written to
        self._free: list[int] = []
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()  # events come in from a thread of their own

    def __len__(self) -> int:
        return len(self._rows)

    def get_many(self, keys: Sequence[bytes]) -> Found:
        """The entries that are there and still live, and which keys they are."""
        with self._lock:
            rows = np.fromiter((self._rows.get(key, -1) for key in keys), np.int64, len(keys))
            found = rows >= 0
            found[found] = self._ends[rows[found]] > self._clock()
            for key, row, live in zip(keys, rows.tolist(), found.tolist(), strict=True):
                if live:
                    self._rows.move_to_end(key)
                elif row >= 0:
                    self._drop(key)
            rows = rows[found]
            return Entries(self._vectors[rows].astype(np.float32, copy=False), self._tokens[rows]), found

    def put_many(self, keys: Sequence[bytes], entries: Entries) -> None:
        """Keep entries; the least used make room. Of more than fit, the last are kept."""
        if not self.capacity:
            return
        first = max(0, len(keys) - self.capacity)
        with self._lock:
            rows = np.fromiter((self._row(key) for key in keys[first:]), np.int64, len(keys) - first)
            self._vectors[rows] = entries.vectors[first:]
            self._tokens[rows] = entries.tokens[first:]
            self._ends[rows] = self._clock() + self._ttl_s

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            for key in list(self._rows):
                self._drop(key)

    def _row(self, key: bytes) -> int:
        """The row of a key, which is now the one used last."""
        row = self._rows.pop(key, -1)
        if row < 0 and self._free:
            row = self._free.pop()
        elif row < 0 and self._used < self.capacity:
            row, self._used = self._used, self._used + 1
        elif row < 0:
            _, row = self._rows.popitem(last=False)
        self._rows[key] = row
        return row

    def _drop(self, key: bytes) -> None:
        row = self._rows.pop(key, -1)
        if row >= 0:
            self._free.append(row)
