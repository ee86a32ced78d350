"""The nearest of some vectors to many others, all compared: products in bf16, the best of them put in order in float32.

Where the processor multiplies bf16 itself that is twice as fast as float32; elsewhere all is float32. On a GPU where
there is one. A bf16 cosine is off by up to 0.002, so that where more than a dozen vectors are as near as the last one
that is wanted, some of them may stand for others.

Shapes: N vectors of D dimensions, S queries, k wanted of each.
"""

import numpy as np
import numpy.typing as npt

from data.encoders.transformer.precision import bf16_in_hardware
from data.matrices import unit_rows

Floats = npt.NDArray[np.float32]
Nodes = npt.NDArray[np.int64]

AT_ONCE = 512  # queries: their products with all vectors stay in the cache, or near it
GROUPS = 16  # vectors of a group: the k best of all are in the k groups with the largest maxima
SPARE = 12  # more of them than wanted are put in order in float32, for bf16 rounds


class ExactIndex:
    """Compares queries with all vectors. Asked as FAISS's indexes are.

    Args:
        vectors: float32 (N, D) of any length; they are kept as rows of unit length.
    """

    def __init__(self, vectors: Floats) -> None:
        import torch

        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._vectors = unit_rows(np.ascontiguousarray(vectors, np.float32))
        self.ntotal, dim = vectors.shape
        kind = torch.bfloat16 if bf16_in_hardware(self._device) else torch.float32
        columns = -(-self.ntotal // GROUPS) * GROUPS
        self._columns = torch.zeros((dim, columns), dtype=kind, device=self._device)  # full groups
        for start in range(0, self.ntotal, 8 * AT_ONCE):  # memory does not hold a second copy
            rows = torch.from_numpy(self._vectors[start : start + 8 * AT_ONCE])
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
        if wanted == 0:
            return cosines, places
        for start in range(0, len(queries), AT_ONCE):
            some = np.ascontiguousarray(queries[start : start + AT_ONCE], np.float32)
            near = self._nearest(some, min(wanted + SPARE, self.ntotal))
            exact = np.einsum("sd,scd->sc", some, self._vectors[near])
            order = np.argsort(-exact, axis=1, kind="stable")[:, :wanted]
            cosines[start : start + len(some), :wanted] = np.take_along_axis(exact, order, axis=1)
            places[start : start + len(some), :wanted] = np.take_along_axis(near, order, axis=1)
        return cosines, places

    def _nearest(self, queries: Floats, count: int) -> Nodes:
        """Places of the nearest by products as they come, ascending, int64 (S, count)."""
        torch = self._torch
        with torch.inference_mode():
            asked = torch.from_numpy(queries).to(self._device, self._columns.dtype)
            products = asked @ self._columns
            products[:, self.ntotal :] = -torch.inf
            rows, columns = products.shape
            groups = columns // GROUPS
            if groups <= count:
                return np.sort(products.topk(count, dim=1).indices.cpu().numpy(), axis=1)
            best = products.view(rows, GROUPS, groups).amax(1).topk(count, dim=1, sorted=False).indices
            within = (best[:, :, None] + groups * torch.arange(GROUPS, device=self._device)).reshape(rows, -1)
            chosen = products.gather(1, within).topk(count, dim=1, sorted=False).indices
            return np.sort(within.gather(1, chosen).cpu().numpy(), axis=1)
