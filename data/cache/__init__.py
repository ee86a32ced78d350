"""A cache of vectors: in this process, in Redis, in the partitions of earlier artifacts.

``keys``       what a vector is kept under
``memory``     the tier in this process; ``redis`` the one on a server, which ``embedded`` starts; ``stored`` the one
               on disk
``encoder``    an encoder that asks the tiers first, for queries and for documents
``job``        the cache of one embedding job
``metrics``    what the tiers did, for Ray's dashboard
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, field_validator

from data.artifacts import StageConfig
from data.errors import InputError

Mask = npt.NDArray[np.bool_]
_SCHEMES = ("redis://", "rediss://", "unix://")


class CacheConfig(StageConfig):
    """Where vectors are cached. None of it is part of an artifact's identity."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {
            "memory_mb",
            "redis",
            "redis_mb",
            "folder",
            "stored",
            "documents",
            "query_ttl_s",
            "document_ttl_s",
            "fold_case",
            "timeout_ms",
        }
    )

    memory_mb: int = Field(64, ge=0, description="vectors kept in each process, in MiB; 0 keeps none")
    redis: str = Field(
        "none",
        description="'none'; 'embedded' starts one for this machine; or a server's redis://, rediss:// or unix:// URL "
        "without password, which is read from CATENA_REDIS_PASSWORD",
    )
    redis_mb: int = Field(
        256, ge=1, description="memory of the embedded Redis, in MiB; the least used vectors go first"
    )
    folder: Path | None = Field(
        None, description="where the embedded Redis keeps its file; `cache` in the workspace where unset"
    )
    stored: bool = Field(
        False,
        description="whether embedding copies the vectors of passages that an earlier artifact of the same encoder "
        "holds, and those of sentences where chunk.strategy is semantic, which are kept for it; the last bits of a "
        "vector may differ from those of computing it again",
    )
    documents: bool = Field(
        False,
        description="whether passages are looked for in memory and Redis too, where other jobs leave theirs; which "
        "job came first then decides the last bits of a vector",
    )
    query_ttl_s: float = Field(86_400.0, gt=0, description="how long a query's vector is kept, in seconds")
    document_ttl_s: float = Field(2_592_000.0, gt=0, description="how long a passage's vector is kept, in seconds")
    fold_case: bool = Field(False, description="whether queries that differ in case only are one query")
    timeout_ms: int = Field(
        50, ge=1, le=60_000, description="longest wait for Redis before it is skipped, in milliseconds"
    )

    @field_validator("redis")
    @classmethod
    def _refuse_password(cls, redis: str) -> str:
        if redis in ("none", "embedded"):
            return redis
        if not redis.startswith(_SCHEMES):
            raise ValueError(f"'none', 'embedded' or a URL that begins with {', '.join(_SCHEMES)}")
        userinfo, at, _ = redis.partition("://")[2].rpartition("@")
        if at and ":" in userinfo:
            raise InputError(  # pydantic's own error would print the value
                "cache.redis: the URL holds a password", "Take it out, and put it into CATENA_REDIS_PASSWORD."
            )
        return redis

    def in_workspace(self, workspace: Path) -> Self:
        """The same config with its folder: the workspace's where none is named."""
        return self if self.folder else self.model_copy(update={"folder": workspace.resolve() / "cache"})


class TierCounts(BaseModel):
    """What was asked of a tier and what came back, in keys; ``degraded`` is what a dead or slow one was not asked."""

    lookups: int = 0
    hits: int = 0
    degraded: int = 0

    def plus(self, other: "TierCounts") -> "TierCounts":
        """The sum."""
        return TierCounts(**{name: getattr(self, name) + getattr(other, name) for name in TierCounts.model_fields})


def sum_counts(several: Iterable[Mapping[str, TierCounts]]) -> dict[str, TierCounts]:
    """The sum, by tier."""
    whole: dict[str, TierCounts] = {}
    for counts in several:
        for tier, counted in counts.items():
            whole[tier] = whole.get(tier, TierCounts()).plus(counted)
    return whole


@dataclass(frozen=True)
class Entries:
    """Some vectors, and the tokens of each text.

    Args:
        vectors: float32 of shape (n, dim).
        tokens: int32 of shape (n, 2): those that were read, and those that were cut off.
    """

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int32]

    @classmethod
    def empty(cls, count: int, dim: int) -> Self:
        """Room for ``count`` vectors."""
        return cls(np.empty((count, dim), np.float32), np.empty((count, 2), np.int32))

    def select(self, rows: npt.NDArray[np.int64] | Mask) -> "Entries":
        """The entries at some positions, or where a mask is true."""
        return Entries(self.vectors[rows], self.tokens[rows])


Found = tuple[Entries, Mask]


class Tier(Protocol):
    """One place where vectors are kept."""

    name: str
    counts: TierCounts

    def get_many(self, keys: Sequence[bytes]) -> Found:
        """The entries that are there, in the order of their keys, and which keys they are, bool of shape (n,)."""
        ...

    def put_many(self, keys: Sequence[bytes], entries: Entries) -> None:
        """Keep entries; a tier that cannot be written passes over them."""
        ...


class TieredCache:
    """Asks tiers one after another, nearest first; vectors found in a farther tier are copied to the nearer ones.

    Args:
        tiers: nearest first.
        dim: of the vectors.
    """

    def __init__(self, tiers: Sequence[Tier], dim: int) -> None:
        self._tiers = tiers
        self._dim = dim

    def get_many(self, keys: Sequence[bytes]) -> Found:
        """The entries that any tier has, in the order of their keys, and which keys they are, bool of shape (n,)."""
        whole, found = Entries.empty(len(keys), self._dim), np.zeros(len(keys), np.bool_)
        missing = np.arange(len(keys))
        for depth, tier in enumerate(self._tiers):
            if not len(missing):
                break
            wanted = [keys[row] for row in missing.tolist()]
            entries, hit = tier.get_many(wanted)
            tier.counts.lookups += len(wanted)
            tier.counts.hits += len(entries.tokens)
            rows = missing[hit]
            whole.vectors[rows], whole.tokens[rows], found[rows] = entries.vectors, entries.tokens, True
            if len(rows):
                for nearer in self._tiers[:depth]:
                    nearer.put_many(list(compress(wanted, hit)), entries)
            missing = missing[~hit]
        return whole.select(found), found

    def put_many(self, keys: Sequence[bytes], entries: Entries) -> None:
        """Keep entries in every tier that can be written."""
        for tier in self._tiers:
            tier.put_many(keys, entries)

    def take_counts(self) -> dict[str, TierCounts]:
        """What each tier did since the last call."""
        taken = {tier.name: tier.counts for tier in self._tiers}
        for tier in self._tiers:
            tier.counts = TierCounts()
        return taken
