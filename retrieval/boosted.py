"""A ranker of boosted trees over features of candidates: opened from its folder, it scores and explains."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from data.errors import InputError
from retrieval.config import IndexConfig
from retrieval.facts import Dates, DocumentFacts
from retrieval.features import NAMES, CandidateFeatures
from retrieval.hits import SearchHit

Values = npt.NDArray[np.float64]

MODEL, ABOUT = "model.txt", "ranker.json"  # the trees as LightGBM writes them, and what they were trained on
STRONGEST = 5  # effects of a document that are named

WORDS = frozenset({"language", "stop_words", "particles"})  # keys of the index that make its terms


@dataclass(frozen=True)
class Effect:
    """What one feature of a document does to its score.

    Attributes:
        name: of the feature, one of ``retrieval.features.NAMES``.
        value: of this document; None where it has none.
        effect: on the score, against what it would be without knowing the feature.
    """

    name: str
    value: float | None
    effect: float


class BoostedRanker:
    """Scores the candidates of questions by trees (LambdaMART; Burges, MSR-TR-2010-82).

    Args:
        booster: LightGBM's, with the features ``NAMES``.
        features: of candidates.
        threads: of one prediction.
    """

    def __init__(self, booster: Any, features: CandidateFeatures, threads: int = 1) -> None:  # noqa: ANN401 - untyped
        self._booster, self._features, self._threads = booster, features, threads

    @classmethod
    def open(cls, folder: Path, key: str = "boosted", threads: int = 1) -> Self:
        """A ranker from the folder that `catena ranker boost` wrote.

        Args:
            folder: with the trees and what belongs to them.
            key: of the run file that names it, for messages.
            threads: of one prediction.

        Raises:
            InputError: if it is not there, cannot be read, or was trained with other features than these.
        """
        about = read_about(folder, key)
        check_features(about["features"], folder, key)
        trees = folder / MODEL
        if not trees.is_file():
            raise InputError(f"{key}: {folder} has lost its file {MODEL}", "Train it again: `catena ranker boost RUN`.")
        lightgbm = load_lightgbm()
        try:
            booster = lightgbm.Booster(model_file=str(trees))
        except lightgbm.basic.LightGBMError as error:
            raise InputError(
                f"{key}: {trees} cannot be read: {error}", "Train it again: `catena ranker boost RUN`."
            ) from error
        dates = None if about["date"] is None else Dates(tuple(about["date"]["path"]), float(about["date"]["newest"]))
        tokenizer = IndexConfig(**about["words"]).tokenizer()
        return cls(booster, CandidateFeatures(tokenizer, DocumentFacts.open(folder), dates), threads)

    def score(self, questions: Sequence[str], found: Sequence[Sequence[SearchHit]]) -> list[Values]:
        """Scores of the candidates of each question, higher is better; they mean nothing across questions.

        Args:
            questions: Q texts.
            found: the candidates of each, best first, with the places that earlier steps gave them.

        Returns:
            float64 (N,) of each question, in the order of its candidates.
        """
        given = [self._features(text, hits) for text, hits in zip(questions, found, strict=True)]
        scores = self._predict(np.concatenate(given)) if any(map(len, given)) else np.empty(0)
        ends = np.cumsum([len(one) for one in given])
        return [scores[end - len(one) : end] for one, end in zip(given, ends, strict=True)]

    def effects(self, question: str, hits: Sequence[SearchHit]) -> list[tuple[Effect, ...]]:
        """The features that moved each candidate's score most, the strongest first, at most five.

        Effects are TreeSHAP values (Lundberg et al., Nature Machine Intelligence, 2020): those of all features, and the
        mean score, add up to the score.

        Args:
            question: its text.
            hits: its candidates, all of them: some features compare them.
        """
        if not hits:
            return []
        given_NF = self._features(question, hits)
        effect_NF = self._predict(given_NF, pred_contrib=True)[:, : len(NAMES)]  # the last column is the mean score
        strongest = np.argsort(-np.abs(effect_NF), axis=1, kind="stable")[:, :STRONGEST]
        return [
            tuple(
                Effect(NAMES[f], None if np.isnan(given_NF[n, f]) else float(given_NF[n, f]), float(effect_NF[n, f]))
                for f in row
                if effect_NF[n, f] != 0
            )
            for n, row in enumerate(strongest.tolist())
        ]

    def _predict(self, given_NF: npt.NDArray[np.float32], **how: bool) -> Values:
        return np.asarray(self._booster.predict(given_NF, num_threads=self._threads, **how), np.float64)


def read_about(folder: Path, key: str) -> dict[str, Any]:
    """What a ranker was trained on: the file ``ranker.json`` of its folder.

    Raises:
        InputError: if it is not there or cannot be read.
    """
    file = folder / ABOUT
    if not file.is_file():
        raise InputError(f"{key}: no ranker of boosted trees at {folder}", "`catena ranker boost RUN.yaml` makes one.")
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        missing = {"features", "words", "date"} - about.keys()
    except (ValueError, AttributeError) as error:
        raise InputError(f"{key}: {file} cannot be read: {error!r}", "Train it again, or copy it whole.") from error
    if missing:
        raise InputError(f"{key}: {file} lacks {', '.join(sorted(missing))}", "Train it again, or copy it whole.")
    return about


def check_features(trained_with: Sequence[str], folder: Path, key: str) -> None:
    """Refuse a ranker whose features are not those that this version makes, in this order.

    Raises:
        InputError: naming the features that it lacks or has beside them.
    """
    if tuple(trained_with) == NAMES:
        return
    lacks, beside = [n for n in NAMES if n not in trained_with], [n for n in trained_with if n not in NAMES]
    told = [f"it lacks {', '.join(lacks)}"] * bool(lacks) + [f"it has {', '.join(beside)} beside them"] * bool(beside)
    raise InputError(
        f"{key}: the ranker in {folder} was trained with other features than this version of Catena has: "
        f"{'; '.join(told) or 'theirs are in another order'}",
        "Train it again: `catena ranker boost RUN.yaml`.",
    )


def write_ranker(booster: Any, index: IndexConfig, dates: Dates | None, folder: Path, about: Mapping[str, Any]) -> None:  # noqa: ANN401 - untyped
    """Write the trees and what is needed to make their features again.

    Args:
        booster: LightGBM's.
        index: whose terms texts were compared by.
        dates: as of ``CandidateFeatures``.
        folder: receives both files; ``facts.npy`` is written by ``write_facts``.
        about: what else is told of the ranker.
    """
    booster.save_model(str(folder / MODEL))
    date = None if dates is None else {"path": list(dates.path), "newest": dates.newest}
    told = {**about, "features": list(NAMES), "words": index.model_dump(include=set(WORDS)), "date": date}
    (folder / ABOUT).write_text(json.dumps(told, indent=2), encoding="utf-8")


def load_lightgbm() -> Any:  # noqa: ANN401 - a module without types
    """LightGBM, which nothing but training and use of boosted trees loads.

    Raises:
        InputError: if the system has no OpenMP runtime, which its package does not bring.
    """
    try:
        import lightgbm
    except OSError as error:
        raise InputError(
            f"LightGBM cannot be loaded: {error}", "Install the OpenMP runtime of your system, such as libgomp1."
        ) from error
    return lightgbm
