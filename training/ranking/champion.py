"""The champion that a turn of learning starts from and is measured against, and the challenger that it leaves."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.files import whole_folder_or_absent, whole_or_absent
from training.fingerprints import Fingerprints
from training.ranking.experience import Experience, Values
from training.ranking.served import CapabilityRanker
from training.registry import CHALLENGER, CHAMPION, Registry, Version

MODEL = "model"  # folder in the registry, and in the artifact
FETCHED = "champion"


@dataclass(frozen=True)
class Champion:
    """A ranker that was promoted before.

    Attributes:
        version: its number in the registry.
        folder: with its files, weights of the network among them where it has one.
        ranker: as it is served.
    """

    version: int
    folder: Path
    ranker: CapabilityRanker


def champion_of(registry: Registry, into: Path) -> Champion | None:
    """The champion that a turn starts from, fetched once; None where there is none.

    A turn that was killed after it had made its own version champion is to find the champion that it began with: which
    one that was is written down before anything else, in ``champion.json``.

    Args:
        registry: of the run's rankers.
        into: folder of the turn.
    """
    note = into / "champion.json"
    noted = json.loads(note.read_text()) if note.exists() else {}
    if noted.get("name") != registry.name:
        now = registry.champion()
        noted = {"name": registry.name, "version": None if now is None else now.version}
        shutil.rmtree(into / FETCHED, ignore_errors=True)
        with whole_or_absent(note) as unfinished:
            unfinished.write_text(json.dumps(noted))
    number: int | None = noted["version"]
    if number is None:
        return None
    if not (into / FETCHED).exists():
        with whole_folder_or_absent(into / FETCHED) as unfinished:
            unfinished.mkdir()
            registry.load(number, registry.find(number).fingerprints, unfinished)
    folder = into / FETCHED / MODEL
    return Champion(number, folder, CapabilityRanker.open(folder))


def check_champion(champion: Champion, experience: Experience) -> None:
    """Refuse a champion that cannot be compared with what is learned now.

    Raises:
        InputError: if it takes other vectors of intents, or weighs other features.
    """
    ranker, what = champion.ranker, f"the champion, version {champion.version},"
    if ranker.fingerprint != experience.fingerprint:
        raise InputError(
            f"{what} takes intents of the encoder {ranker.fingerprint}, and this run has {experience.fingerprint}",
            "Take the encoder that it was trained with, or learn under another name: learn.tracking.register_as.",
        )
    if ranker.features != experience.features:
        there, here = (", ".join(names) or "none" for names in (ranker.features, experience.features))
        raise InputError(
            f"{what} weighs the features {there}, and this run has {here}",
            "Set learn.features to the champion's, or learn under another name: learn.tracking.register_as.",
        )


def registered(
    registry: Registry, run_id: str, folder: Path, fingerprints: Fingerprints, reciprocal: Values, key: str
) -> Version:
    """The version of an artifact, added as challenger; one that an earlier attempt has added is found again.

    Args:
        registry: of the run's rankers.
        run_id: MLflow run that receives the files.
        folder: of the artifact, with ``model/``.
        fingerprints: of what it was made from.
        reciprocal: float64 (Q,), 1 / rank of each test intent's best success.
        key: of the artifact, by which it is known.
    """
    before = [version for version in registry.versions() if version.train == key]
    if before:
        registry.introduce(before[0].version)
        return before[0]
    ranks = folder / "ranks.npz"
    places = np.arange(len(reciprocal))
    twice = np.concatenate([1 / reciprocal] * 2)  # the registry reads a rank in either direction of a link
    arrays: dict[str, Any] = {"sources": places, "targets": places, "ranks/model": twice}
    np.savez(ranks, **arrays)
    files = {f"{MODEL}/{file.name}": file for file in sorted((folder / MODEL).iterdir())}
    files["evaluation/ranks.npz"] = ranks
    mrr = float(reciprocal.mean()) if len(reciprocal) else 0.0  # before anything can be judged
    return registry.register(run_id, files, fingerprints, mrr, {"train": key})


def promoted(registry: Registry, version: Version, lost: bool, promote: bool) -> bool:
    """Make a version champion unless it has lost; returns whether it is champion now.

    What was compared is the caller's: both rankers on the same intents of today, which the registry's own ranks of an
    older turn are not.
    """
    now = next(one for one in registry.versions() if one.version == version.version)
    if CHAMPION in now.aliases:
        return True
    if lost or not promote or CHALLENGER not in now.aliases:
        return False
    registry.promote(version.version, force=True)
    return True
