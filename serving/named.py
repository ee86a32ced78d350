"""Models that requests name: those of ``serve.models``, beside the ones of the run."""

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol, TypeVar

from data.errors import EncoderUnavailable, nearest
from retrieval.cross_encoder import CrossEncoderModel
from serving.admission import Admission
from serving.config import ServeConfig, ServedModel
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService, VectorSource, tokens_read
from serving.errors import ApiError
from serving.model_cache import ModelCache
from serving.ranking import CrossEncoderRanker, Ranker, RankingService
from serving.schemas.models import Model

Entered = TypeVar("Entered")


class NamedEncoder(VectorSource, Protocol):
    """An encoder that is loaded, in this process or another."""

    @property
    def dim(self) -> int:
        """Dimensions of its vectors."""


class ModelHost(Protocol):
    """Where the models are: in this process, or in others.

    Both methods that hand out a model raise ``EncoderUnavailable`` if it cannot be loaded, and ``ApiError`` if too many
    wait for it.
    """

    def encoder(self, name: str) -> AbstractAsyncContextManager[NamedEncoder]:
        """An encoder for the time of a block."""

    def ranker(self, name: str) -> AbstractAsyncContextManager[Ranker]:
        """A ranker for the time of a block."""

    async def loaded(self) -> frozenset[str]:
        """Names of the models that are loaded."""


class LocalModels:
    """The models in this process.

    Args:
        config: names them, and says how many stay loaded and how big batches are.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._cache = ModelCache[Embedder | CrossEncoderRanker](
            self._load, _give_back, config.loaded_models, config.embed_timeout_s
        )

    @asynccontextmanager
    async def encoder(self, name: str) -> AsyncIterator[Embedder]:
        """As of ``ModelHost``."""
        async with self._cache.use(name) as model:
            assert isinstance(model, Embedder), "the config says which it is"
            yield model

    @asynccontextmanager
    async def ranker(self, name: str) -> AsyncIterator[CrossEncoderRanker]:
        """As of ``ModelHost``."""
        async with self._cache.use(name) as model:
            assert isinstance(model, CrossEncoderRanker), "the config says which it is"
            yield model

    async def loaded(self) -> frozenset[str]:
        """As of ``ModelHost``."""
        return self._cache.loaded

    @property
    def batches(self) -> float:
        """Full batches of work that wait or are worked on, for each thread."""
        return sum(model.batches for model in self._cache.models)

    @property
    def longest_s(self) -> float:
        """How long the batch has been worked on that is worked on longest, in seconds; 0 where none is."""
        return max((model.longest_s for model in self._cache.models), default=0.0)

    def _load(self, name: str) -> Embedder | CrossEncoderRanker:
        """A model that has passed its self-test, and so is warm."""
        model = self._config.models[name]
        if model.ranker is not None:
            ranker = open_ranker(model.ranker, self._config, f"serve.models.{name}.ranker")
            ranker.name = name
            return ranker
        assert model.encoder is not None, "one of both"
        embedder = Embedder(model.encoder, None, self._config)
        embedder.check()
        return embedder


class NamedModels:
    """Services over the models of ``serve.models``, each with its own admission.

    Args:
        config: names the models, and limits requests.
        host: of the models; None where the config names none.
    """

    def __init__(self, config: ServeConfig, host: ModelHost | None = None) -> None:
        self._config, self._host = config, host
        # Of its own for each: the rates of a small model and of a large one are not to be added up.
        full = {ranks: config.max_batch_tokens * config.replicas_of(ranks) for ranks in (False, True)}
        self.admissions: Mapping[str, Admission] = {
            name: Admission(config.longest_wait_s, full[model.ranker is not None])
            for name, model in config.models.items()
        }

    @asynccontextmanager
    async def embedding(self, name: str | None, own: EmbeddingService) -> AsyncIterator[EmbeddingService]:
        """The service that a request names, for as long as it is answered.

        Args:
            name: of an encoder; None means ``own``.
            own: of the run.

        Raises:
            ApiError: if there is no such encoder, it cannot be loaded, or too many wait for it.
        """
        if name is None or own.is_named(name):
            yield own
            return
        model = self._model(name, own.name, ranks=False)
        assert model.encoder is not None, "it embeds"
        limits = EmbeddingLimits(self._config.max_texts, self._config.max_text_chars, tokens_read(model.encoder))
        async with AsyncExitStack() as stack:
            encoder = await _entered(stack, self._of_host.encoder(name))
            yield EmbeddingService(name, encoder.dim, encoder, limits, self.admissions[name])

    @asynccontextmanager
    async def ranking(self, name: str | None, own: RankingService) -> AsyncIterator[RankingService]:
        """The same of rankers."""
        if name is None or name == own.ranker.name:
            yield own
            return
        self._model(name, own.ranker.name, ranks=True)
        limits = EmbeddingLimits(self._config.max_texts, self._config.max_text_chars)
        async with AsyncExitStack() as stack:
            ranker = await _entered(stack, self._of_host.ranker(name))
            yield RankingService(ranker, limits, self.admissions[name])

    async def listed(self) -> list[Model]:
        """The models, loaded or not."""
        loaded = frozenset[str]()
        if self._config.models:
            with suppress(EncoderUnavailable):  # of processes that do not answer nothing is known
                loaded = await self._of_host.loaded()
        return [
            Model(
                id=name,
                purposes=["embeddings"] if model.encoder is not None else ["rerank"],
                dimensions=None,
                loaded=name in loaded,
            )
            for name, model in self._config.models.items()
        ]

    @property
    def _of_host(self) -> ModelHost:
        assert self._host is not None, "whoever names models says where they are"
        return self._host

    def _model(self, name: str, own: str, ranks: bool) -> ServedModel:
        fitting = {known: model for known, model in self._config.models.items() if (model.ranker is not None) == ranks}
        if name not in fitting:
            purpose = "reranks" if ranks else "makes vectors"
            message = f"there is no model {name!r} that {purpose}; {nearest(name, [own, *fitting])}"
            raise ApiError("not_found", message, "model")
        return fitting[name]


NO_MODELS = NamedModels(ServeConfig())


def open_ranker(model: str, config: ServeConfig, key: str = "serve.ranker") -> CrossEncoderRanker:
    """A cross-encoder that has passed its self-test.

    Args:
        model: folder or name.
        config: how big batches are.
        key: of the run file that names it, for messages.

    Raises:
        InputError: if there is no such model, it has not one output, or fails its self-test.
    """
    opened = CrossEncoderModel(model, config.max_batch_tokens, key)
    opened.check()
    return CrossEncoderRanker(opened, config.max_batch_tokens, config.max_age_s, config.embed_timeout_s)


async def _entered(stack: AsyncExitStack, model: AbstractAsyncContextManager[Entered]) -> Entered:
    try:
        return await stack.enter_async_context(model)
    except EncoderUnavailable as error:
        raise ApiError("unavailable", error.problem, "model", "model_not_loaded", {"Retry-After": "2"}) from None


def _give_back(model: Embedder | CrossEncoderRanker) -> None:
    import torch

    model.close()
    gc.collect()  # sentence-transformers' models are in cycles; a tenth of a second, where a load takes seconds
    if torch.cuda.is_available():  # what the model leaves is for others too
        torch.cuda.empty_cache()
