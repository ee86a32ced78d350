"""The nearest of some vectors to many others, all compared: products in bf16, the best of them put in order in float32.

Where the processor multiplies bf16 itself that is twice as fast as float32; elsewhere all is float32. On a GPU where
there is one. A bf16 cosine is off by up to 0.002, so that where more than a dozen vectors are as near as the last one
that is wanted, some of them may stand for others.

Vectors of texts do not fill their dimensions: 158 of 384 directions hold nine tenths of the squared lengths of MiniLM's
(``principal_directions``). Compared along these first, and twice as many as are wanted put in order by whole vectors,
nearly all of the nearest are found in less time.

Shapes: N vectors of D dimensions, S queries, k wanted of each; d directions.
"""

from threading import local
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data.encoders.transformer.cores import single_core_threads
from data.encoders.transformer.precision import bf16_in_hardware

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float32]
Nodes = npt.NDArray[np.int64]

AT_ONCE = 256  # queries of a thread: their products with all vectors stay in the cache, or near it
STORED_AT_ONCE = 4096  # vectors
GROUPS = 16  # vectors of a group: the k best of all are in the k groups with the largest maxima
SPARE = 12  # more of them than wanted are put in order in float32, for bf16 rounds
LOOKED_AT = 2  # times as many as wanted are, where vectors are compared along directions


class FlatIndex:
    """Compares queries with all vectors. Asked as FAISS's indexes are.

    Args:
        vectors: float32 (N, D) of any length; they are kept, and may be memory-mapped.
        directions: float32 (D, d), orthonormal columns, that vectors are first compared along; all dimensions where
            None.
    """

    def __init__(self, vectors: Floats, directions: Floats | None = None) -> None:
        import torch

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._threads = single_core_threads(torch.get_num_threads() if self._device == "cpu" else 1)
        self._room = local()
        self._vectors = np.asarray(vectors, np.float32)
        self._directions = None if directions is None else torch.from_numpy(directions)
        self.ntotal, dim = vectors.shape
        self._per_length = np.zeros(self.ntotal, np.float32)  # 0 of a vector that is zero
        kind = torch.bfloat16 if bf16_in_hardware(self._device) else torch.float32
        columns = -(-self.ntotal // GROUPS) * GROUPS  # full groups
        width = dim if directions is None else directions.shape[1]
        self._columns = torch.zeros((width, columns), dtype=kind, device=self._device)
        for start in range(0, self.ntotal, STORED_AT_ONCE):  # memory does not hold a second copy
            here = slice(start, start + STORED_AT_ONCE)
            lengths = np.linalg.norm(self._vectors[here], axis=1)
            np.divide(1, lengths, out=self._per_length[here], where=lengths > 0)
            rows = self._compared(self._vectors[here] * self._per_length[here, None])
            self._columns[:, start : start + len(rows)] = rows.T.to(self._device, kind)

    def search(self, queries: Floats, k: int) -> tuple[Floats, Nodes]:
        """The k nearest vectors of each query by cosine, best first; as many as there are, and then -1.

        Args:
            queries: float32 (S, D), of unit length.
            k: wanted.

        Returns:
            Cosines, float32 (S, k), and places, int64 (S, k).
        """
        cosines = np.full((len(queries), k), -np.inf, np.float32)
        places = np.full((len(queries), k), -1, np.int64)
        wanted = min(k, self.ntotal)
        looked_at = min(wanted + SPARE if self._directions is None else LOOKED_AT * wanted, self.ntotal)

        def search_some(start: int) -> None:
            rows = slice(start, start + AT_ONCE)
            some = np.ascontiguousarray(queries[rows], np.float32)
            near = self._nearest(some, looked_at)
            exact = np.einsum("sd,scd->sc", some, self._vectors[near]) * self._per_length[near]
            order = np.argsort(-exact, axis=1, kind="stable")[:, :wanted]
            cosines[rows, :wanted] = np.take_along_axis(exact, order, axis=1)
            places[rows, :wanted] = np.take_along_axis(near, order, axis=1)

        if wanted:
            for _ in self._threads.map(search_some, range(0, len(queries), AT_ONCE)):
                pass
        return cosines, places

    def _compared(self, vectors: Floats) -> "Tensor":
        """What vectors are first compared by, float32."""
        whole = self._torch.from_numpy(vectors)
        return whole if self._directions is None else whole @ self._directions

    def _nearest(self, queries: Floats, count: int) -> Nodes:
        """Places of the nearest by products as they come, ascending, int64 (S, count)."""
        torch = self._torch
        with torch.inference_mode():
            asked = self._compared(queries).to(self._device, self._columns.dtype)
            room = getattr(self._room, "products", None)
            if room is None:  # of each thread: memory that is new for each product costs a fifth of its time
                room = torch.empty((AT_ONCE, self._columns.shape[1]), dtype=asked.dtype, device=self._device)
                self._room.products = room
            products = torch.mm(asked, self._columns, out=room[: len(asked)])
            products[:, self.ntotal :] = -torch.inf
            best: Nodes = np.sort(_best_columns(products, count).cpu().numpy(), axis=1)
        return best


def _best_columns(products: "Tensor", count: int) -> "Tensor":
    """Columns of the largest products of each row, in no order: int64 (S, count) of (S, full groups)."""
    import torch

    rows, columns = products.shape
    groups = columns // GROUPS
    if groups <= count:
        return _largest(products, count)
    best = _largest(products.view(rows, GROUPS, groups).amax(1), count)
    within = (best[:, :, None] + groups * torch.arange(GROUPS, device=products.device)).reshape(rows, -1)
    return within.gather(1, _largest(products.gather(1, within), count))


def _largest(values: "Tensor", count: int) -> "Tensor":
    """Columns of the largest values of each row, in no order; on a CPU by NumPy, in a third of torch's time."""
    import torch

    if values.device.type != "cpu":
        return values.topk(count, dim=1, sorted=False).indices
    others = values.shape[1] - count
    if others == 0:
        return torch.arange(count).expand(len(values), -1)
    return torch.from_numpy(np.argpartition(values.float().numpy(), others, axis=1)[:, others:])


def principal_directions(vectors: Floats, share: float, fewest: int = 1) -> Floats:
    """The fewest directions that hold a share of the squared lengths of vectors: float32 (D, d), orthonormal columns.

    Eigenvectors of the matrix of second moments, the largest eigenvalue first; nothing is centred.

    Args:
        vectors: float32 (n, D), a sample.
        share: above 0, at most 1.
        fewest: directions at least, of as many as there are.
    """
    moments, directions = np.linalg.eigh(vectors.T.astype(np.float64) @ vectors)
    held = np.cumsum(moments[::-1])
    count = max(int(np.searchsorted(held, share * held[-1])) + 1, fewest)
    return np.ascontiguousarray(directions[:, ::-1][:, :count], np.float32)
