"""Which release answers which requests: a small file that ``catena deploy`` writes and every process that serves reads.

A *release* is an index, its encoder and its documents, as one run made them. One is *live*; a *canary* may answer a
share of the callers, and a *shadow* is asked what the live one is asked, without its answers being given.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data.encoders.config import EncoderConfig
from data.errors import InputError
from data.files import whole_or_absent
from data.locks import only_one
from retrieval.steps import OneStep
from serving.artifacts import CapabilityArtifacts, LinkArtifacts, LiveConfig

MOST_JUDGED = 2000  # most recent answers of a release that are kept, to judge it by


def now() -> str:
    """When a release is made, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Release(_Part):
    """What a run made, to be served."""

    id: str = ""
    index: Path
    lookup: Path
    encoder: EncoderConfig
    ranker: str | None = Field(None, description="folder or name of its cross-encoder; its encoder ranks where None")
    pipelines: dict[str, tuple[OneStep, ...]] = Field(default_factory=dict, description="ways to search, by name")
    stamps: dict[str, str] = Field(default_factory=dict, description="digests of code and models that these use")
    boosted: Path | None = Field(None, description="folder of the boosted trees that pipelines rank by")
    links: LinkArtifacts | None = Field(None, description="the link model; None where none was trained")
    capabilities: CapabilityArtifacts | None = Field(None, description="what ranks capabilities; nothing where None")
    bundles: Path | None = Field(None, description="folder of the bundles that are proposed; none are where None")
    live: LiveConfig | None = Field(None, description="how documents are taken beside the index; none are where None")
    passages: int = Field(description="in the index")
    found: float | None = Field(None, description="share of sampled passages that it finds by their own words")
    made: str = Field(default_factory=now)

    def identified(self) -> Self:
        """The same under eight digits that stand for what is served: artifacts' folders are named by their content.

        But for tables of traces, which are named by what was read to make them: where their digest is known, it counts.
        """
        told = self._told("catalogue", "intents") if self.capabilities and self.capabilities.traces else self._told()
        return self.model_copy(update={"id": hashlib.sha256(told.encode()).hexdigest()[:8]})

    def ranks_as(self, other: "Release") -> bool:
        """Whether all but the traces that are known of its capabilities is that of another."""
        of_traces = ("catalogue", "intents", "traces")
        return self._told(*of_traces) == other._told(*of_traces)

    def _told(self, *left_out: str) -> str:
        """What is served, as JSON, without some fields of ``capabilities``."""
        beside = dict.fromkeys(("id", "passages", "found", "made"), True)
        return self.model_dump_json(exclude={**beside, "capabilities": set(left_out)})


class Guardrails(_Part):
    """When a canary or a shadow is stopped by itself."""

    after: int = Field(
        200, ge=1, le=MOST_JUDGED, description="answers of it before it is judged, and the most recent that count"
    )
    errors: float = Field(0.01, ge=0, le=1, description="largest share of its answers that may be failures")
    slower: float = Field(2.0, gt=0, description="most times that its 95th percentile of latency may be the live one's")
    overlap: float = Field(
        0.0, ge=0, le=1, description="least mean share of the live one's documents that a shadow finds too"
    )


class Canary(_Part):
    """A release that answers a share of the callers."""

    release: str
    share: float = Field(gt=0, le=1, description="of callers; each stays with the release that it was given")
    guardrails: Guardrails = Guardrails()


class Shadow(_Part):
    """A release that is asked beside the live one."""

    release: str
    share: float = Field(gt=0, le=1, description="of requests")
    guardrails: Guardrails = Guardrails()


class Traffic(_Part):
    """Releases, and which of them answers what."""

    number: int = Field(0, description="of changes made to the file")
    live: str
    previous: str | None = Field(None, description="the release that was live before: where a rollback goes")
    canary: Canary | None = None
    shadow: Shadow | None = None
    stopped: str = Field("", description="why the last canary or shadow was stopped by itself")
    releases: dict[str, Release]

    @model_validator(mode="after")
    def _all_are_there(self) -> Self:
        for id_ in self.served:
            if id_ not in self.releases:
                raise ValueError(f"there is no release {id_!r}")
        return self

    @property
    def served(self) -> tuple[str, ...]:
        """Ids of the releases that a process must have open, the live one first."""
        beside = [part.release for part in (self.canary, self.shadow) if part is not None]
        return tuple(dict.fromkeys([self.live, *beside]))

    def chosen(self, caller: str) -> str:
        """The release that answers a caller: always the same one, as long as canary and share are.

        Args:
            caller: whatever names it.
        """
        canary = self.canary
        if canary is None:
            return self.live
        return canary.release if fraction(f"{canary.release} {caller}") < canary.share else self.live

    def shadowed(self, request_id: str) -> bool:
        """Whether the shadow is asked what this request asks."""
        return self.shadow is not None and fraction(f"shadow {request_id}") < self.shadow.share

    def changed(self, **changes: Any) -> "Traffic":  # noqa: ANN401 - fields of this
        """The same with some fields changed, and without the releases that nothing refers to."""
        merged = {name: getattr(self, name) for name in type(self).model_fields} | changes
        kept = {merged["live"], merged["previous"]}
        kept |= {merged[part].release for part in ("canary", "shadow") if merged[part] is not None}
        merged["releases"] = {id_: release for id_, release in merged["releases"].items() if id_ in kept}
        return Traffic(**merged)


def with_live(traffic: Traffic | None, release: Release) -> Traffic:
    """The traffic with a release live, after the one that was, and neither canary nor shadow; as it was if it is live.

    One that only knows of more traces takes the place of the live one: a rollback goes to what answered otherwise.

    Args:
        traffic: as it was; None where there was none.
        release: to be live.
    """
    if traffic is None:
        return Traffic(live=release.id, releases={release.id: release})
    if traffic.live == release.id:
        return traffic
    in_place = traffic.previous != release.id and release.ranks_as(traffic.releases[traffic.live])
    previous = traffic.previous if in_place else traffic.live
    releases = {**traffic.releases, release.id: release}
    return traffic.changed(live=release.id, previous=previous, canary=None, shadow=None, releases=releases)


def without(traffic: Traffic, release: str, reason: str) -> Traffic:
    """The traffic with a release no longer canary or shadow, and why; as it was if it is neither."""
    canary = traffic.canary if traffic.canary and traffic.canary.release != release else None
    shadow = traffic.shadow if traffic.shadow and traffic.shadow.release != release else None
    if (canary, shadow) == (traffic.canary, traffic.shadow):
        return traffic
    return traffic.changed(canary=canary, shadow=shadow, stopped=f"{release}: {reason}")


def fraction(text: str) -> float:
    """A number from 0 to 1, evenly spread over texts, and always the same for one."""
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big") / 2**64


def read_traffic(path: Path) -> Traffic | None:
    """What the file says; None where there is none.

    Raises:
        InputError: if it is not such a file.
    """
    try:
        return Traffic.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"{path} is not a file of releases: {reason}", "Remove it and serve the run again.") from None


def change_traffic(path: Path, change: Callable[[Traffic | None], Traffic | None]) -> Traffic | None:
    """Change the file, of which readers see the old or the new whole, and nobody else changes it meanwhile.

    Args:
        path: of the file; its folder is made.
        change: from what it says, None where there is no file, to what it shall say.

    Returns:
        What it says now.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with only_one(path.with_name(f".{path.name}.lock"), "deploy"):
        before = read_traffic(path)
        after = change(before)
        if after is not None and after != before:
            after = after.model_copy(update={"number": 0 if before is None else before.number + 1})
            with whole_or_absent(path) as unfinished:
                unfinished.write_text(after.model_dump_json(indent=1))
    return after
