"""Opening a release: its index, its encoder and its documents, here or by handles to where they are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable
from weakref import WeakValueDictionary

from ray.serve.handle import DeploymentHandle

from data.cache import CacheConfig
from data.encoders.config import EncoderConfig
from data.encoders.model_config import ModelConfig
from retrieval.open import read_meta
from serving.admission import Admission
from serving.config import ServeConfig
from serving.embedder import Embedder
from serving.index import IndexActor
from serving.lookup import LookupFile
from serving.remote import RemoteEmbedder, RemoteIndex
from serving.search import SearchService
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


@dataclass(frozen=True)
class VariantOpener:
    """Opens releases in the process that takes requests.

    Args:
        config: of the service.
        searches: admission of searches, one for all releases: they share the cores.
        embedders: that this process holds.
        embedder: the deployment that encodes, where this process does not.
        index: the deployment that searches, where this process does not.
    """

    config: ServeConfig
    searches: Admission
    embedders: Embedders
    embedder: DeploymentHandle | None = None
    index: DeploymentHandle | None = None

    def open(self, release: Release) -> Variant:
        """A release, ready to be asked.

        Raises:
            InputError: if an artifact is not there, or its encoder is another one.
        """
        meta, config = read_meta(release.index), self.config
        encoder = self.embedders.of(release) if self.embedder is None else RemoteEmbedder(self.embedder, release.id)
        here = IndexActor(release.index) if self.index is None else None
        searcher = here if self.index is None else RemoteIndex(self.index, release.id)
        assert searcher is not None, "one of both"
        return Variant(
            id=release.id,
            search=SearchService(
                meta, encoder, searcher, config.health_timeout_s, self.searches, config.kept_answers_mb
            ),
            lookup=LookupFile(release.lookup),
            encoder=encoder,
            model=model_name(release.encoder),
            dim=meta.question_dim,
            close=(lambda: None) if here is None else here.close,
            longest_s=lambda: max((one.longest_s for one in (encoder, here) if isinstance(one, Timed)), default=0.0),
        )


def model_name(encoder: EncoderConfig) -> str:
    """What clients call the model: the last part of its path, or what describes an encoder that has none."""
    return Path(encoder.model).name if isinstance(encoder, ModelConfig) else encoder.label
