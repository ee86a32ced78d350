"""How likely links are, by the run's link model: of pairs of documents, and of texts that are not in the corpus.

The model and its graph are opened when they are first asked for, in a thread: a service that is never asked pays
nothing for them.
"""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from data.errors import EncoderUnavailable, TextRefused
from data.labels import label
from data.vectors.projection import Projection
from discovery.unseen import NewDocument
from serving.admission import Admission
from serving.artifacts import LinkArtifacts
from serving.batcher import Batcher
from serving.embedding import TextEncoder
from serving.errors import ApiError
from serving.schemas.links import LinkScore, LinkScoreRequest, LinkScores

if TYPE_CHECKING:
    from discovery.predictor import LinkPredictor, Texts

Pair = tuple[str, str]
Row = dict[str, Any]

NEW = "new document"
BATCH = 4096  # pairs
TEXT_COSTS = 500  # pairs: a text is compared with a shortlist of all documents
TOP_K = 10


@dataclass(frozen=True)
class _Asked:
    """A new document, its vector, and what is asked of it."""

    document: NewDocument
    vector: npt.NDArray[np.float32]
    targets: list[str] | None
    top: int


class LinkScoring(Protocol):
    """What scores links, of one release or of several."""

    async def score(self, request: LinkScoreRequest) -> LinkScores:
        """The links that are asked about.

        Raises:
            ApiError: if they cannot be scored.
        """


class LinkService:
    """Scores links by one model.

    Args:
        artifacts: where the model is; None where the run has none.
        encoder: of new texts.
        texts: finds texts of documents, for the words in reasons.
        max_chars: of a new text.
        admission: of pairs.
        timeout_s: after which a request fails.
    """

    def __init__(
        self,
        artifacts: LinkArtifacts | None,
        encoder: TextEncoder,
        texts: "Texts",
        max_chars: int,
        admission: Admission,
        timeout_s: float,
    ) -> None:
        self._artifacts, self._encoder, self._texts = artifacts, encoder, texts
        self._max_chars, self._admission = max_chars, admission
        self._predictor: LinkPredictor | None = None
        self._opens = ThreadPoolExecutor(1)
        self._pairs = Batcher[Pair, Row](self._pair_batch, BATCH, timeout_s=timeout_s)
        self._news = Batcher[_Asked, list[Row]](self._new_batch, 1, timeout_s=timeout_s)

    async def score(self, request: LinkScoreRequest) -> LinkScores:
        """The links that are asked about.

        Raises:
            ApiError: if there is no model, the request asks for nothing or for two things, a document is unknown, a
                text is too long or refused, too much waits already, or the encoder is unavailable.
        """
        self._check(request)
        predictor = await self._opened()
        try:
            if request.pairs is not None:
                rows = await self._of_pairs(predictor, request.pairs)
            else:
                rows = await self._of_new(predictor, request)
        except TextRefused as error:
            raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", "text", "text_refused") from None
        except (EncoderUnavailable, TimeoutError) as error:
            message = (
                error.problem if isinstance(error, EncoderUnavailable) else "the link model did not answer in time"
            )
            raise ApiError("unavailable", message, headers={"Retry-After": "2"}) from None
        calibrated = self._artifacts is not None and self._artifacts.calibrator is not None
        return LinkScores(calibrated=calibrated, links=[_shown(row) for row in rows])

    @property
    def opened(self) -> bool:
        """Whether somebody has asked it."""
        return self._predictor is not None

    async def open(self) -> None:
        """Open the model before anybody asks, where there is one.

        Raises:
            OSError: or another error, if its files are not whole.
        """
        if self._artifacts is not None:
            await self._opened()

    def _check(self, request: LinkScoreRequest) -> None:
        """What can be said of a request without the model."""
        if self._artifacts is None:
            how = (
                "`catena discover RUN.yaml` makes one of a corpus that has links, then `catena deploy promote RUN.yaml`"
            )
            message = f"this service has no link model: {how} brings it"
            raise ApiError("not_found", message, code="no_link_model")
        if request.pairs is not None:
            if not request.model_fields_set <= {"pairs"}:
                raise ApiError("invalid_request", "pairs are asked about by themselves, without other fields", "pairs")
            return
        if not (request.text or "").strip() and not request.links:
            raise ApiError("invalid_request", "give `pairs`, or the `text` of a new document, or its `links`", "text")
        if len(request.text or "") > self._max_chars:
            message = f"the text has {len(request.text or ''):,} characters; at most {self._max_chars:,}"
            raise ApiError("invalid_request", message, "text")
        if request.targets is not None and request.top_k is not None:
            raise ApiError("invalid_request", "give `targets`, or `top_k` for the likeliest of all", "top_k")

    async def _opened(self) -> "LinkPredictor":
        if self._predictor is None:
            await asyncio.get_running_loop().run_in_executor(self._opens, self._open)
        assert self._predictor is not None, "it was opened"
        return self._predictor

    def _open(self) -> None:
        from discovery.predictor import LinkPredictor

        if self._predictor is None and self._artifacts is not None:  # one thread opens it, for all who wait
            paths = self._artifacts
            self._predictor = LinkPredictor(paths.graph, paths.train, paths.calibrator)

    async def _of_pairs(self, predictor: "LinkPredictor", pairs: list[Pair]) -> list[Row]:
        _check_ids(predictor, (id_ for pair in pairs for id_ in pair), "pairs")
        same = next((place for place, (a, b) in enumerate(pairs) if a == b), None)
        if same is not None:
            raise ApiError("invalid_request", f"pair {same} is a document with itself", "pairs")
        with self._admission.admitted(len(pairs)):
            return await self._pairs.many(pairs)

    async def _of_new(self, predictor: "LinkPredictor", request: LinkScoreRequest) -> list[Row]:
        if predictor.typed:
            message = "this service's link model is of typed links: it scores pairs of its documents alone"
            raise ApiError("bad_request", message, "text")
        _check_ids(predictor, request.links, "links")
        _check_ids(predictor, request.targets or (), "targets")
        id_ = NEW
        while id_ in predictor.numbers:
            id_ += "*"
        document = NewDocument(id_, request.title, request.text or "", tuple(dict.fromkeys(request.links)))
        with self._admission.admitted(TEXT_COSTS):
            vectors = (await self._encoder.embed([document.whole], "document")).vectors
            asked = _Asked(document, vectors, request.targets, request.top_k or TOP_K)
            rows = await self._news(asked)
        brought = set(document.links)
        return [
            {**row, "source": None, "outgoing": True, "known": here, "seen": here}
            for row in rows
            for here in (row["target"] in brought,)
        ]

    def _pair_batch(self, pairs: list[Pair]) -> list[Row]:
        assert self._predictor is not None, "opened before"
        return self._predictor.pairs(pairs, self._texts)

    def _new_batch(self, asked: list[_Asked]) -> list[list[Row]]:
        """One new document after the other: together, the links that one brings would tell on the others."""
        assert self._predictor is not None and self._artifacts is not None, "opened before"
        found = []
        for one in asked:
            vector = one.vector
            if self._artifacts.projection is not None:
                vector = Projection.load(self._artifacts.projection)(vector)
            (rows,) = self._predictor.links_of([one.document], vector, self._texts, one.top, one.targets)
            found.append(rows)
        return found


def _check_ids(predictor: "LinkPredictor", ids: Iterable[str], param: str) -> None:
    strange = next((id_ for id_ in ids if id_ not in predictor.numbers), None)
    if strange is not None:
        shown = strange if len(strange) < 200 else f"{strange[:200]}…"
        raise ApiError("not_found", f"there is no document {shown!r}", param)


def _shown(row: Row) -> LinkScore:
    source = row["source"]
    return LinkScore(
        source=source,
        target=row["target"],
        source_title=row["source_title"] if source is None else label(source, row["source_title"]),
        target_title=label(row["target"], row["target_title"]),
        score=None if row["seen"] else row["score"],
        probability=None if row["seen"] else row["probability"],
        known=row["known"],
        relation=row["relation"],
        direction="out" if row["outgoing"] else "in",
        reason=row["reason"],
    )
