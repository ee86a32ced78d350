"""``POST /v1/embeddings``, as OpenAI's, with floats, base64, or the bare bytes of float16."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import orjson
from fastapi import APIRouter, Header, Response

from serving.api.auth import OF_KEYS, needs
from serving.api.errors import documented
from serving.embedding import EmbeddingService, Made
from serving.errors import ApiError
from serving.named import NO_MODELS, NamedModels
from serving.schemas.embeddings import EmbeddingsRequest, EmbeddingsResponse

BYTES = "application/octet-stream"


def router(own: EmbeddingService, named: NamedModels = NO_MODELS) -> APIRouter:
    """The route of embeddings.

    Args:
        own: of the run's model, which answers requests that name none.
        named: further models.
    """
    routes = APIRouter(tags=["embeddings"], dependencies=[needs("embed")], responses=documented(*OF_KEYS))

    @routes.post(
        "/v1/embeddings",
        response_model=EmbeddingsResponse,
        responses={
            **documented("bad_request", "invalid_request", "not_found", "overloaded", "unavailable", "timeout"),
            200: {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}},
        },
    )
    async def embeddings(
        request: EmbeddingsRequest, accept: Annotated[str, Header(include_in_schema=False)] = "*/*"
    ) -> Response:
        """Vectors of texts. With `Accept: application/octet-stream`, float16 row after row, little endian."""
        if BYTES in accept and {*request.output} != {"dense"}:
            raise ApiError("bad_request", f"{BYTES} holds dense vectors alone; ask for JSON", "output")
        ids = request.ids()
        async with named.embedding(request.model, own) as service:
            texts = await service.texts_of(ids) if ids else request.texts()
            made = await service.embed(texts, request.input_type, request.dimensions, request.priority, request.output)
        if BYTES in accept and made.dense is not None:
            return packed(made.dense, made.read)
        return Response(body(made, len(texts), service.name, request.encoding_format), media_type="application/json")

    return routes


def packed(vectors: npt.NDArray[np.float32], tokens: int) -> Response:
    """The vectors as they lie in memory; shape, type and tokens are in the headers."""
    rows = vectors.astype("<f2")
    headers = {
        "x-shape": f"{rows.shape[0]},{rows.shape[1]}",
        "x-dtype": "float16",
        "x-prompt-tokens": str(tokens),
    }
    return Response(rows.tobytes(), media_type=BYTES, headers=headers)


def body(made: Made, texts: int, model: str, form: Literal["float", "base64"]) -> bytes:
    """The answer in JSON: numbers in the fewest digits that give their float32 back."""
    data: list[dict[str, Any]] = [{"object": "embedding", "index": place} for place in range(texts)]
    for place, one in enumerate(data):
        if made.dense is not None:
            one["embedding"] = _vector(made.dense[place], form)
        if made.sparse is not None:
            indices, values = made.sparse[place]
            one["sparse"] = {"indices": indices, "values": values}
        if made.tokens is not None:
            one["tokens"] = [_vector(row, form) for row in made.tokens[place]]
    usage = {"prompt_tokens": made.read, "total_tokens": made.read}
    answer = {"object": "list", "data": data, "model": model, "usage": usage}
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _vector(row: npt.NDArray[np.float32], form: Literal["float", "base64"]) -> npt.NDArray[np.float32] | str:
    row = np.ascontiguousarray(row, "<f4")
    return base64.b64encode(row.data).decode() if form == "base64" else row
