"""Bundles for a basket, a product or a campaign, of the candidates that ``catena bundles`` has measured and priced.

Candidates are few and are read once; a request is answered from arrays.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from serving.errors import ApiError
from serving.schemas.bundles import BundlesAnswer, BundlesRequest, ProposedBundle

CANDIDATES = "candidates.jsonl"

Flags = npt.NDArray[np.bool_]


class BundleProposals(Protocol):
    """What proposes bundles, of one release or of several."""

    def propose(self, request: BundlesRequest) -> BundlesAnswer:
        """The best bundles for a request.

        Raises:
            ApiError: if there are none, or the request names what is not there.
        """


class NoBundles:
    """Where no bundles were made."""

    def propose(self, request: BundlesRequest) -> BundlesAnswer:
        """As of ``BundleProposals``: there are none."""
        raise ApiError("not_found", "this service has no bundles: `catena bundles RUN.yaml` makes some of order lines")


NO_BUNDLES = NoBundles()


class BundleService:
    """Ranks candidates for requests.

    Args:
        rows: candidates as in the feed.
        maximise: of each objective, whether more is better.
        weights: of objectives where a request names none; 1 of each that is not named.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        maximise: Mapping[str, bool],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self._rows = rows
        self._default = np.array([(weights or {}).get(name, 1.0) for name in maximise])
        self._objectives = list(maximise)
        ids = sorted({item for row in rows for item in row["item_ids"]})
        self._place = {item: number for number, item in enumerate(ids)}
        self._holds = np.zeros((len(rows), len(ids)), bool)
        for number, row in enumerate(rows):
            self._holds[number, [self._place[item] for item in row["item_ids"]]] = True
        values = np.array([[row["objectives"][name] for name in maximise] for row in rows]).reshape(len(rows), -1)
        signed = values * np.where(list(maximise.values()), 1.0, -1.0)
        self._scaled = signed / np.maximum(np.abs(signed).max(axis=0, initial=0.0), 1e-12)
        self._prices = np.array([np.nan if row["price"] is None else row["price"] for row in rows], np.float64)
        self._sizes = self._holds.sum(axis=1)

    @classmethod
    def open(cls, folder: Path) -> "BundleService":
        """Of the artifact of the stage ``bundles``."""
        lines = (folder / CANDIDATES).read_text(encoding="utf-8").splitlines()
        result = json.loads((folder / "result.json").read_text())
        objectives = result["objectives"]
        return cls(
            [json.loads(line) for line in lines],
            {o["name"]: o["maximise"] for o in objectives},
            {o["name"]: o["weight"] for o in objectives},
        )

    def propose(self, request: BundlesRequest) -> BundlesAnswer:
        """The best bundles for a request.

        Raises:
            ApiError: if a weight names no objective, or the product is in no bundle.
        """
        weights = self._weights(request.weights)
        named = [*(request.basket or []), *([] if request.item is None else [request.item])]
        having = self._flags(named)
        allowed = self._allowed(request)
        if request.basket is not None:
            basket = self._flags(request.basket)
            held = (self._holds & basket).sum(axis=1)
            allowed &= (held > 0) & (held < self._sizes)
        scores = self._scaled @ weights
        best = np.flatnonzero(allowed)
        best = best[np.argsort(-scores[best], kind="stable")][: request.top_k]
        unknown = [item for item in (*named, *request.exclude_items) if item not in self._place]
        return BundlesAnswer(
            bundles=[self._answer(int(row), float(scores[row]), having) for row in best], unknown=unknown
        )

    def _weights(self, given: Mapping[str, float]) -> npt.NDArray[np.float64]:
        for name in given:
            if name not in self._objectives:
                listed = ", ".join(self._objectives)
                raise ApiError("invalid_request", f"no objective {name!r}; there are {listed}", "weights")
        return np.array([given.get(name, 0.0) for name in self._objectives]) if given else self._default

    def _allowed(self, request: BundlesRequest) -> Flags:
        allowed = np.asarray(~(self._holds & self._flags(request.exclude_items)).any(axis=1), bool)
        if request.item is not None:
            if request.item not in self._place:
                raise ApiError("not_found", f"no bundle holds {request.item!r}", "item")
            allowed &= self._holds[:, self._place[request.item]]
        if request.max_price is not None:
            if not np.isfinite(self._prices).any():
                raise ApiError("invalid_request", "no bundle has a price", "max_price")
            allowed &= self._prices <= request.max_price  # a price that is unknown is not
        if request.max_items is not None:
            allowed &= self._sizes <= request.max_items
        if request.sources is not None:
            wanted = set(request.sources)
            allowed &= np.array([not wanted.isdisjoint(row["sources"]) for row in self._rows], bool)
        return allowed

    def _flags(self, items: Sequence[str]) -> Flags:
        """Bool (items of all candidates,): which are named; those in no candidate change nothing."""
        flags = np.zeros(len(self._place), bool)
        flags[[self._place[item] for item in items if item in self._place]] = True
        return flags

    def _answer(self, row: int, score: float, basket: Flags) -> ProposedBundle:
        found = self._rows[row]
        missing = [item for item in found["item_ids"] if not basket[self._place[item]]]
        shown = {name: found[name] for name in ProposedBundle.model_fields if name in found}
        return ProposedBundle(**shown, missing=missing, score=score)
