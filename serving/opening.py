"""Opening a release: its index, its encoder and its documents, here or by handles to where they are."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable
from weakref import WeakValueDictionary

from ray.serve.handle import DeploymentHandle

from data.cache import CacheConfig
from data.encoders.config import EncoderConfig, EndpointEncoderConfig, encoders_in
from data.encoders.model_config import ModelConfig
from data.errors import EncoderUnavailable
from retrieval.boosted import BoostedRanker
from retrieval.cross_encoder import ranker_name
from retrieval.index import IndexMeta
from retrieval.open import read_meta
from retrieval.terms import bm25_of
from serving.admission import Admission
from serving.bundles import NO_BUNDLES, BundleService
from serving.capabilities import NO_CAPABILITIES, CapabilityService
from serving.config import ServeConfig
from serving.documents import DocumentsService, LiveLookup, nothing
from serving.embedder import Embedder
from serving.embedding import EmbeddingLimits, EmbeddingService, tokens_read
from serving.errors import ApiError
from serving.index import IndexActor
from serving.links import LinkService
from serving.lookup import LookupFile
from serving.named import open_ranker
from serving.open_capabilities import FeatureStores, intent_encoder, open_capabilities
from serving.prepare import Preparer, Preparers
from serving.ranking import CrossEncoderRanker, EncoderRanker, Ranker, RankingService
from serving.remote import RemoteEmbedder, RemoteIndex, RemoteRanker
from serving.search import SearchService
from serving.stored_answers import AnswerStore, Count, decided_by, not_counted
from serving.traffic import Release
from serving.variants import Variant


@runtime_checkable
class Timed(Protocol):
    """What is worked on in this process."""

    @property
    def longest_s(self) -> float:
        """How long its batch has been worked on that is worked on longest, in seconds."""


@dataclass
class Embedders:
    """Encoders of releases: those that encode alike share one, as long as one of them is open.

    Args:
        config: how big batches are.
        cache: where questions are looked for before they are encoded.
    """

    config: ServeConfig
    cache: CacheConfig
    _loaded: WeakValueDictionary[str, Embedder] = field(default_factory=WeakValueDictionary)

    @property
    def batches(self) -> float:
        """Full batches of work that wait or are encoded, for each thread."""
        return sum(embedder.batches for embedder in self._loaded.values())

    def of(self, release: Release) -> Embedder:
        """The encoder of a release's questions.

        Raises:
            InputError: if the index holds vectors of another encoder.
        """
        meta = read_meta(release.index)
        parts = (release.encoder.model_dump_json(), meta.encoder, meta.precision, meta.link, meta.full_dim)
        key = repr((*parts, meta.projection, meta.token_projection))
        embedder = self._loaded.get(key)
        if embedder is None:
            embedder = self._loaded[key] = Embedder(release.encoder, meta, self.config, self.cache)
        return embedder


@dataclass
class Rankers:
    """Cross-encoders of releases: those that name the same one share it, as long as one of them is open.

    Args:
        config: how big batches are.
    """

    config: ServeConfig
    _loaded: WeakValueDictionary[str, CrossEncoderRanker] = field(default_factory=WeakValueDictionary)

    def of(self, release: Release) -> CrossEncoderRanker | None:
        """The cross-encoder of a release; None where its encoder ranks.

        Raises:
            InputError: if it cannot be opened.
        """
        if release.ranker is None:
            return None
        ranker = self._loaded.get(release.ranker)
        if ranker is None:
            ranker = self._loaded[release.ranker] = open_ranker(release.ranker, self.config)
        return ranker


@dataclass(frozen=True)
class Loads:
    """What waits, by the unit that it is counted in.

    Attributes:
        tokens: of texts, and of what is ranked in the same process.
        searches: by themselves.
        pairs: of the link model.
        ranker: tokens of what is ranked by replicas that do nothing else; None where there are none.
        intents: for which capabilities are ranked, by themselves.
    """

    tokens: Admission
    searches: Admission
    pairs: Admission
    ranker: Admission | None = None
    intents: Admission = field(default_factory=lambda: Admission(5.0, 64))

    @property
    def by_unit(self) -> Mapping[str, Admission]:
        """The same by names, for metrics."""
        units = {"tokens": self.tokens, "searches": self.searches, "pairs": self.pairs, "intents": self.intents}
        return units if self.ranker is None else {**units, "tokens of the ranker": self.ranker}


@dataclass(frozen=True)
class VariantOpener:
    """Opens releases in the process that takes requests.

    Args:
        config: of the service.
        loads: what waits, of all releases together: they share the cores.
        embedders: that this process holds.
        rankers: that this process holds.
        embedder: the deployment that encodes, where this process does not.
        ranker: the deployment that ranks, where this process does not.
        index: the deployment that searches, where this process does not.
        catch_up: as of ``DocumentsService``.
        preparers: of the releases that are open.
        stored: answers of searches that other replicas have kept; None where there are none.
        count: told of each look-up of a kept answer.
        features: where features of capabilities are; in the folder that it works in where None.
    """

    config: ServeConfig
    loads: Loads
    embedders: Embedders
    rankers: Rankers
    embedder: DeploymentHandle | None = None
    ranker: DeploymentHandle | None = None
    index: DeploymentHandle | None = None
    catch_up: Callable[[], Awaitable[None]] = nothing
    preparers: Preparers = field(default_factory=Preparers)
    stored: AnswerStore | None = None
    count: Count = not_counted
    features: FeatureStores | None = None

    def open(self, release: Release) -> Variant:
        """A release, ready to be asked.

        Raises:
            InputError: if an artifact is not there, or its encoder is another one.
        """
        meta, config, loads, live = read_meta(release.index), self.config, self.loads, release.live
        encoder = self.embedders.of(release) if self.embedder is None else RemoteEmbedder(self.embedder, release.id)
        here = open_with_documents(release) if self.index is None else None
        index = here if self.index is None else RemoteIndex(self.index, release.id)
        assert index is not None, "one of both"
        limits = EmbeddingLimits(config.max_texts, config.max_text_chars, tokens_read(release.encoder))
        name, corpus = model_name(release.encoder), LookupFile(release.lookup)
        ranker = self._ranker(release) or EncoderRanker(name, encoder, limits.tokens_read)
        by_others = loads.ranker if isinstance(ranker, RemoteRanker) else None
        ranking = RankingService(ranker, limits, by_others or loads.tokens)
        capabilities = self._capabilities(release, encoder, meta)
        parts = (encoder, here, ranker, capabilities)
        timeout_s, kept_mb = config.health_timeout_s, config.kept_answers_mb
        preparer = None if live is None else Preparer(live, release.encoder, meta, encoder)
        if preparer is not None:
            self.preparers.add(release.id, preparer)
        search = SearchService(
            meta,
            encoder,
            index,
            timeout_s,
            loads.searches,
            kept_mb,
            release.pipelines,
            ranking,
            self.stored,
            "" if self.stored is None else decided_by(release),
            self.count,
            links=True,
            rankers={} if release.boosted is None else {"boosted": BoostedRanker.open(release.boosted)},
        )
        embedding = EmbeddingService(name, meta.question_dim, encoder, limits, loads.tokens, bm25_of(meta))
        return Variant(
            id=release.id,
            search=search,
            embedding=embedding,
            ranking=ranking,
            lookup=corpus if live is None else LiveLookup(corpus, index),
            documents=DocumentsService(index, preparer, limits, loads.tokens, self.preparers, self.catch_up),
            links=LinkService(
                release.links, encoder, corpus.texts, config.max_text_chars, loads.pairs, config.embed_timeout_s
            ),
            capabilities=NO_CAPABILITIES if capabilities is None else capabilities,
            bundles=NO_BUNDLES if release.bundles is None else BundleService.open(release.bundles),
            warm_up=nothing if self._asks_elsewhere(release) else partial(_warm_up, embedding, search),
            close=partial(self._close, release.id, here, capabilities),
            longest_s=lambda: max((one.longest_s for one in parts if isinstance(one, Timed)), default=0.0),
        )

    def _asks_elsewhere(self, release: Release) -> bool:
        """Whether the encoder is in another process, which may not be there yet, or on a server that may charge."""
        on_servers = (isinstance(one, EndpointEncoderConfig) for one in encoders_in(release.encoder))
        return self.embedder is not None or any(on_servers)

    def _ranker(self, release: Release) -> Ranker | None:
        """The cross-encoder of a release; None where its encoder ranks."""
        if self.ranker is None or release.ranker is None:
            return self.rankers.of(release)
        return RemoteRanker(self.ranker, release.id, ranker_name(release.ranker))

    def _capabilities(
        self, release: Release, encoder: Embedder | RemoteEmbedder, meta: IndexMeta
    ) -> CapabilityService | None:
        if release.capabilities is None:
            return None
        stores = self.features or FeatureStores(self.config.rank)
        return open_capabilities(release.capabilities, intent_encoder(meta), encoder, stores, self.loads.intents)

    def _close(self, release: str, here: IndexActor | None, capabilities: CapabilityService | None) -> None:
        self.preparers.remove(release)
        if capabilities is not None:
            capabilities.close()
        if here is not None:
            here.close()


async def _warm_up(embedding: EmbeddingService, search: SearchService) -> None:
    """Let a release work before it is asked; without an encoder or an index nothing is known of their rates."""
    with suppress(EncoderUnavailable, ApiError):
        await embedding.warm_up()
        await search.warm_up()


def open_with_documents(release: Release) -> IndexActor:
    """The index of a release with the documents that were put beside it, in this process.

    Raises:
        InputError: if there is no finished index.
    """
    return IndexActor(release.index, release.live, release.lookup)


def model_name(encoder: EncoderConfig) -> str:
    """What clients call the model: the last part of its path, or what describes an encoder that has none."""
    return Path(encoder.model).name if isinstance(encoder, ModelConfig) else encoder.label
