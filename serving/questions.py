"""What a search asks for: a request checked against the index and its pipeline."""

import hashlib
from dataclasses import dataclass, field

from data.errors import InputError
from retrieval.filters import parse_filter
from retrieval.index import IndexMeta
from retrieval.pipelines import in_mode, later_steps, query_of
from retrieval.query import SearchQuery, check_query
from retrieval.steps import FindStep, Step
from serving.errors import ApiError
from serving.schemas import SearchRequest

TOP_K = 10  # documents answered where a request does not say


@dataclass(frozen=True)
class Asked:
    """Everything that decides which documents answer, in which order.

    Attributes:
        query: ``top_k`` of it is how many are found, of which an answer has some.
        pipeline: its name.
        steps: of it.
        ordered: whether those behind finding put documents in order.
        without_models: whether words alone do where the encoder is unavailable, and no order where a ranker is.
    """

    query: SearchQuery
    pipeline: str
    steps: tuple[Step, ...] = field(repr=False)  # named by the pipeline
    ordered: bool
    without_models: bool


def asked_for(meta: IndexMeta, request: SearchRequest, steps: tuple[Step, ...]) -> Asked:
    """What a request asks an index for, by its own fields and the steps of its pipeline.

    Raises:
        ApiError: if the index cannot answer it; it names the field.
    """
    find = steps[0]
    assert isinstance(find, FindStep), "checked when it was read"
    wanted = find.depth if request.cursor is not None else request.top_k or TOP_K
    query = checked_query(meta, request, steps, wanted)
    return Asked(query, request.pipeline, steps, bool(later_steps(steps)), request.bm25_if_encoder_down)


def checked_query(meta: IndexMeta, request: SearchRequest, steps: tuple[Step, ...], documents: int) -> SearchQuery:
    """The query of a request.

    Args:
        meta: of the index.
        request: with question, filter and perhaps a mode.
        steps: of its pipeline.
        documents: how many are wanted.

    Raises:
        ApiError: if the index cannot answer it; it names the field.
    """
    try:
        query = query_of(steps, request.query, documents, parse_filter(request.filter))
        if request.mode is not None and request.mode != query.mode:
            query = in_mode(query, request.mode)
        check_query(meta, query)
    except InputError as error:
        about = "mode" if error.problem.startswith("mode") else "filter"
        raise ApiError("invalid_request", f"{error.problem}; {error.remedy}", about) from None
    return query


def index_version(meta: IndexMeta) -> str:
    """What tells an index from those before and after it."""
    return hashlib.blake2b(meta.model_dump_json().encode(), digest_size=16).hexdigest()
