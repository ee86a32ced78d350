"""The cache of one embedding job: the artifacts that it copies from, and counts of the tiers."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.cache import CacheConfig, TierCounts
from data.cache.encoder import DocumentCache, open_redis
from data.cache.stored import earlier_artifacts
from data.files import whole_or_absent

logger = logging.getLogger("catena")


@contextmanager
def document_cache(config: CacheConfig, out: Path) -> Iterator[DocumentCache]:
    """Open what the job's actors share, for as long as it runs.

    The artifacts to copy from are chosen when a job begins, and recorded in ``copied_from.json``: a job that is killed
    and started again copies the same vectors, even if other artifacts were made in between.

    Args:
        config: which tiers.
        out: the job's artifact.

    Raises:
        InputError: if Redis refuses the password, or the embedded one does not start.
    """
    artifacts = _artifacts_to_copy(out) if config.stored else {}
    redis, url = open_redis(config) if config.documents else (None, None)
    try:
        yield DocumentCache(config, url, artifacts)
    finally:
        if redis is not None:
            redis.close()


def report(counts: Mapping[str, TierCounts]) -> dict[str, Any]:
    """What the tiers did, for the job's result; nothing where there were none.

    Args:
        counts: by tier.

    Returns:
        ``cache``: by tier ``lookups``, ``hits``, ``hit_rate`` and ``degraded``; ``copied_passages``.
    """
    if not counts:
        return {}
    by_tier = {
        tier: {**counted.model_dump(), "hit_rate": round(counted.hits / max(1, counted.lookups), 4)}
        for tier, counted in counts.items()
    }
    return {"cache": by_tier, "copied_passages": sum(tier.hits for tier in counts.values())}


def _artifacts_to_copy(out: Path) -> dict[str, Sequence[Path]]:
    settled = out / "copied_from.json"
    if not settled.exists():
        with whole_or_absent(settled) as unfinished:
            unfinished.write_text(json.dumps(earlier_artifacts(out), indent=2))
    names: dict[str, list[str]] = json.loads(settled.read_text())
    whole = {mark: [out.parent / name for name in known] for mark, known in names.items()}
    for path in (path for paths in whole.values() for path in paths if not (path / "_SUCCESS").exists()):
        logger.warning("cache: %s no longer exists; its texts are computed", path)
    return {mark: [path for path in paths if (path / "_SUCCESS").exists()] for mark, paths in whole.items()}
