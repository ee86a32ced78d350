"""A chain of encoders: the run's own and its fallbacks, and which of them an index or a half-done embedding belongs to.

Vectors of two encoders are never mixed. So a chain is a choice at the start; once there are vectors, only the encoder
that made them may go on, on whatever device, and an index is asked by the encoder that built it alone.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data.encoders import Encoder, load_encoder
from data.encoders.config import BATCH_TOKENS, EncoderConfig
from data.errors import EncoderUnavailable, InputError
from data.partitions import whole_or_absent

logger = logging.getLogger("catena")

_NOTE = "encoder.json"  # in the folder of an embedding: which link made it


def links(config: EncoderConfig) -> list[EncoderConfig]:
    """The encoders of a chain in their order, each alone; those that compute nothing here book no GPU."""
    own = config.model_copy(update={"fallback": ()})
    return [
        link.model_copy(update={"device": "cpu"}) if link.endpoint is not None or link.hashed is not None else link
        for link in (own, *config.fallback)
    ]


def every(config: EncoderConfig) -> Iterator[EncoderConfig]:
    """Each encoder of a chain, and each member of those that are ensembles, behind the ensemble itself."""
    for link in links(config):
        yield link
        for member in link.ensemble.members if link.ensemble is not None else ():
            yield from every(member)


def for_questions(config: EncoderConfig, timeout_s: float) -> EncoderConfig:
    """The encoder as a service asks it: an endpoint anywhere in it is not retried, and answers within ``timeout_s``.

    Somebody waits for each question, and the next one is a retry in itself. Vectors and identity stay what they are.
    """
    changes: dict[str, Any] = {"fallback": tuple(for_questions(link, timeout_s) for link in config.fallback)}
    if config.endpoint is not None:
        limits = {
            key: min(timeout_s, getattr(config.endpoint, key)) for key in ("connect_timeout_s", "request_timeout_s")
        }
        changes["endpoint"] = config.endpoint.model_copy(update={**limits, "retries": 0})
    if config.ensemble is not None:
        members = tuple(for_questions(member, timeout_s) for member in config.ensemble.members)
        changes["ensemble"] = config.ensemble.model_copy(update={"members": members})
    return config.model_copy(update=changes)


def load_first(config: EncoderConfig, batch_tokens: int = BATCH_TOKENS, threads: int | None = None) -> Encoder:
    """The first encoder of a chain that can be had; those that cannot are said, one line each.

    Raises:
        InputError: if one that is tried is configured wrongly.
        EncoderUnavailable: if none can be had.
    """
    reasons = []
    for link in links(config):
        try:
            return load_encoder(link, batch_tokens, threads)
        except EncoderUnavailable as error:
            logger.warning("encoder: %s", error.problem)
            reasons.append(error)
    raise none_left(reasons)


def load_again(config: EncoderConfig, fingerprint: str, precision: str, link: int = 0) -> Encoder:
    """Load the encoder of a chain that built an index, whatever else could be had.

    Args:
        config: the chain.
        fingerprint: of the encoder that made them.
        precision: what it computed in, for links that leave the choice.
        link: its place in the chain when it made them; the others are tried after it, for chains get edited.

    Raises:
        InputError: if no encoder of the chain made its vectors.
        EncoderUnavailable: if the one that made them cannot be had.
    """
    chain = [pinned(each, precision) for each in links(config)]
    maker = chain[link if link < len(chain) else 0]
    alike = sorted((each for each in chain if each.identity() == maker.identity()), key=lambda each: each != maker)
    found: list[str] = []
    for group in (alike, [each for each in chain if each not in alike]):
        down: list[EncoderUnavailable] = []
        for each in group:
            try:
                encoder = load_encoder(each)
            except EncoderUnavailable as error:
                down.append(error)
                continue
            if encoder.fingerprint == fingerprint:
                return encoder
            found.append(f"{each.label} is {encoder.fingerprint}")
        if down and not found:
            raise down[0]
    raise InputError(
        f"the index was built by another encoder: {fingerprint}; {', '.join(found)}",
        "Use the encoder that built it, or embed and index again.",
    )


def maker_of(embedded: Path, config: EncoderConfig) -> EncoderConfig:
    """The link of a chain that made an embedding's vectors, alone, computing as it did; loaded, it is held to that.

    Args:
        embedded: the embedding stage's folder.
        config: the chain.
    """
    manifest = json.loads((embedded / "manifest.json").read_text())
    chain, link = links(config), begun_with(embedded)
    made_by = pinned(chain[link if link < len(chain) else 0], manifest["precision"])
    return made_by.model_copy(update={"fingerprint": manifest["fingerprint"]})


def pinned(config: EncoderConfig, precision: str) -> EncoderConfig:
    """The encoder with its precision fixed to that of vectors that were made, where it leaves the choice.

    Being slower than fp32 does not keep it from going on with them; being another encoder does.

    Args:
        config: one link of a chain.
        precision: what the vectors say: one word, or one for each member of an ensemble, joined by ``+``.
    """
    return _pinned(config, iter(precision.split("+")))


def _pinned(config: EncoderConfig, precisions: Iterator[str]) -> EncoderConfig:
    if config.ensemble is not None:
        members = tuple(_pinned(member, precisions) for member in config.ensemble.members)
        return config.model_copy(update={"ensemble": config.ensemble.model_copy(update={"members": members})})
    precision = next(precisions, "")
    chooses = config.endpoint is None and config.hashed is None and config.backend == "torch"
    if not chooses or precision not in ("fp32", "bf16", "fp16"):
        return config
    return config.computing_in(precision, "vectors")


def successor(chain: Sequence[EncoderConfig], failed: Sequence[int], precision: str) -> int | None:
    """Place of the encoder that may go on with vectors which the last of ``failed`` began.

    It is the same encoder elsewhere: another device, another server of the same model.
    """
    begun = pinned(chain[failed[-1]], precision).identity()
    alike = (n for n, link in enumerate(chain) if n not in failed and pinned(link, precision).identity() == begun)
    return next(alike, None)


def none_left(reasons: Sequence[InputError]) -> EncoderUnavailable:
    """What is told where every encoder of a chain has failed."""
    return EncoderUnavailable(
        "; ".join(error.problem for error in reasons), reasons[-1].remedy if len(reasons) == 1 else "Mend one of them."
    )


def begun_with(embedded: Path) -> int:
    """Place in the chain of the encoder whose vectors lie in an embedding's folder; 0 where nothing is said."""
    note = embedded / _NOTE
    return int(json.loads(note.read_text())["link"]) if note.is_file() else 0


def keep_note(embedded: Path, out: Path) -> None:
    """Carry the note on to a folder whose vectors are made of those of another."""
    if (embedded / _NOTE).is_file():
        shutil.copyfile(embedded / _NOTE, out / _NOTE)


def note_link(embedded: Path, link: int, label: str) -> None:
    """Write down which encoder of the chain makes the vectors of a folder."""
    with whole_or_absent(embedded / _NOTE) as unfinished:
        unfinished.write_text(json.dumps({"link": link, "encoder": label}))
