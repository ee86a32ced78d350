"""One turn of learning: baselines, the centroid step and the network, the choice between them, and their figures.

Killed and started again with the same folder, a turn goes on: what has been made is found there.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.errors import InputError
from data.files import whole_folder_or_absent, whole_or_absent
from evaluation.capability_metrics import Score, reciprocal_ranks
from training.frame import fit
from training.ranking import baselines
from training.ranking.centroid import Judged, choose, moved
from training.ranking.champion import MODEL, Champion, check_champion
from training.ranking.choice import Choice, choose_kind, lost
from training.ranking.config import LearnConfig
from training.ranking.experience import Experience, Floats
from training.ranking.judging import counterfactual, figures_of, score_of
from training.ranking.lambdamart import lambdamart
from training.ranking.network import CapabilityNetwork, ranker_over
from training.ranking.outcomes import Basis, basis_of
from training.ranking.probabilities import calibrated, reliability_of
from training.ranking.served import CapabilityRanker
from training.ranking.task import CapabilityTask, scores_of

logger = logging.getLogger("catena")

NETWORK, HISTORY, RECIPROCAL = "network", "history.json", "reciprocal.npy"
FEWEST = 20  # intents with a success in each part: fewer say nothing
COLD = "scores are not calibrated: they are cosines through a fixed curve, and no probabilities of success"
ALIKE = "scores are not calibrated, as all held-out outcomes are alike"

Train = Callable[[Experience, LearnConfig, Path, Path | None], None]
"""Trains the network into a folder, from the weights of another one where that is given."""


def learn(
    experience: Experience, config: LearnConfig, out: Path, champion: Champion | None, version: str, train: Train
) -> dict[str, Any]:
    """Everything of a turn but the registry.

    Args:
        experience: catalogue, traces and vectors.
        config: of the turn.
        out: receives ``model/``, which ``CapabilityRanker`` opens, and ``reciprocal.npy`` of the test intents.
        champion: the last turn's; None in the first.
        version: name of the new ranker.
        train: of the network.

    Returns:
        ``table`` (by ranker, its figures on test intents), ``kind`` and ``sentence`` of the choice, ``compared``,
        ``share``, ``doubt`` and ``away`` of the centroid step, ``network`` (how its training went, None without),
        ``message_share``, ``against_champion`` (None without), ``calibrated_by`` (``run``, ``places`` or ``nothing``),
        ``calibration`` (a sentence of what probabilities are of), ``lost_by`` (``mrr`` or ``calibration``, which the
        champion has and the new ranker has not; None where it did not lose), ``lost``, ``counterfactual`` by ranker and
        ``with_success`` (intents with a success, by part).

    Raises:
        InputError: if a champion does not fit, or learned from more than there is now.
    """
    few = too_few(experience)
    if few is not None:
        if champion is not None and (champion.ranker.kind != "cosine" or champion.ranker.calibrated):
            raise InputError(f"learn: {few}", f"Version {champion.version}, the champion, stays. Gather more traces.")
        return start_cold(experience, out, version, few)
    if champion is not None:
        check_champion(champion, experience)
    numbers = experience.traces_in("train")
    judged = choose(experience, numbers, config.centroid)
    simple = {
        "cosine": baselines.cosine(experience),
        "centroid": baselines.by_keys(experience, moved(experience, numbers, judged.move)),
    }
    trained = history = None
    if config.network is not None:
        if not (out / NETWORK).exists():
            train(experience, config, out / NETWORK, None if champion is None else champion.folder)
        trained = open_network(experience, config, out / NETWORK)
        history = json.loads((out / NETWORK / HISTORY).read_text())
    scored = {**simple, **({} if trained is None else {"hypergraph": scores_of(trained, experience)})}
    choice = decide(experience, judged, scored)
    logger.info("learn: %s", choice.sentence)
    basis = basis_of(scored[choice.kind], experience)
    ranker = ranker_of(choice.kind, experience, scored, judged, trained, version, choice.sentence, basis)
    against, lost_by = None, None
    test = experience.successes("test")
    reciprocal = reciprocal_ranks(score_of(ranker, experience), test)
    if champion is not None:
        before = reciprocal_ranks(score_of(champion.ranker, experience), test)
        worse, compared = lost(reciprocal, before)
        lost_by = "mrr" if worse else "calibration" if champion.ranker.calibrated and not ranker.calibrated else None
        against = {"version": champion.version, "mrr": float(before.mean()), **compared}
    write_model(out, ranker, trained if choice.kind == "hypergraph" else None, experience)
    with whole_or_absent(out / RECIPROCAL) as unfinished, unfinished.open("wb") as file:
        np.save(file, reciprocal)
    table = table_of(experience, scored, judged, champion, basis)
    judged_by = {"challenger": ranker, **({} if champion is None else {"champion": champion.ranker})}
    logged = {
        who: counterfactual(score_of(one, experience), one.calibrator if one.calibrated else None, experience)
        for who, one in judged_by.items()
    }
    calibrator = ranker.calibrator if ranker.calibrated else None
    return {
        "table": table,
        "kind": choice.kind,
        "sentence": choice.sentence,
        "compared": choice.compared,
        "move": asdict(judged.move),
        "network": history,
        "message_share": None if trained is None else round(trained.message_share(), 4),
        "against_champion": against,
        "calibrated_by": "nothing" if calibrator is None else "run" if basis.of_run else "places",
        "calibration": ALIKE if calibrator is None else basis.sentence,
        "lost": lost_by is not None,
        "lost_by": lost_by,
        "counterfactual": logged,
        "reliability": reliability_of(score_of(ranker, experience), experience, calibrator, basis),
        "with_success": with_success(experience),
    }


def with_success(experience: Experience) -> dict[str, int]:
    """How many intents with a success each part has."""
    return {part: len(experience.successes(part)) for part in ("train", "valid", "judge", "test")}


def too_few(experience: Experience) -> str | None:
    """Why nothing can be learned: how many intents with a success each part has. None where they are enough."""
    counts = with_success(experience)
    if min(counts.values()) >= FEWEST:
        return None
    told = ", ".join(f"{part} {count}" for part, count in counts.items())
    return f"intents with a success are too few to learn from and to judge by: {told}; {FEWEST} of each wanted"


def start_cold(experience: Experience, out: Path, version: str, few: str) -> dict[str, Any]:
    """What is served before anything can be learned: the cosine of texts, neither judged nor calibrated.

    Returns:
        As of ``learn``, with nothing measured.
    """
    sentence = f"cosine is served: {few}"
    logger.info("learn: %s", sentence)
    keys = np.asarray(experience.capabilities, np.float32)
    write_model(out, ranker_of_keys("cosine", experience, keys, version, {"sentence": sentence}), None, experience)
    with whole_or_absent(out / RECIPROCAL) as unfinished, unfinished.open("wb") as file:
        np.save(file, np.empty(0))
    nothing: dict[str, Any] = {name: {} for name in ("table", "compared", "move", "counterfactual", "reliability")}
    absent = {name: None for name in ("network", "message_share", "against_champion", "lost_by")}
    told = {"kind": "cosine", "sentence": sentence, "calibrated_by": "nothing", "calibration": COLD}
    return {**nothing, **absent, **told, "lost": False, "with_success": with_success(experience)}


def train_here(experience: Experience, config: LearnConfig, out: Path, start: Path | None) -> None:
    """Train in this process."""
    network = new_network(experience, config, start)
    progress = fit(CapabilityTask(network, experience, config), config.optimizer, out=out.parent)
    keep_network(network, experience, progress.figures(), out)


def new_network(experience: Experience, config: LearnConfig, start: Path | None) -> CapabilityNetwork:
    """The network before training: from the champion's weights where they fit, else with the scores of cosine."""
    assert config.network is not None
    network = CapabilityNetwork(experience, config.network, config.optimizer.seed)
    if start is not None and network.start_from(start, experience):
        logger.info("learn: the network goes on from the champion's weights")
    return network


def keep_network(network: CapabilityNetwork, experience: Experience, figures: dict[str, Any], out: Path) -> None:
    """Write the trained network; the folder is whole or absent."""
    with whole_folder_or_absent(out) as unfinished:
        unfinished.mkdir()
        network.save(unfinished, experience)
        (unfinished / HISTORY).write_text(json.dumps(figures))


def open_network(experience: Experience, config: LearnConfig, folder: Path) -> CapabilityNetwork:
    """The network that ``keep_network`` wrote."""
    assert config.network is not None
    network = CapabilityNetwork(experience, config.network, config.optimizer.seed)
    if not network.start_from(folder, experience):
        raise InputError(f"{folder} has no network of this config", "Delete the folder; it is made again.")
    return network.eval()


def decide(experience: Experience, judged: Judged, scored: dict[str, Score]) -> Choice:
    """The kind that is served, by intents that chose nothing of what is compared."""
    asked = experience.successes("judge")
    found = {name: reciprocal_ranks(score, asked) for name, score in scored.items()}
    return choose_kind(judged.moved, judged.still, found.pop("hypergraph", None), found)


def ranker_of(
    kind: str,
    experience: Experience,
    scored: dict[str, Score],
    judged: Judged,
    trained: CapabilityNetwork | None,
    version: str,
    sentence: str,
    basis: Basis,
) -> CapabilityRanker:
    """What is served, calibrated by held-out intents."""
    about = {"sentence": sentence, "move": asdict(judged.move)}
    if kind == "hypergraph":
        assert trained is not None, "it was compared"
        made = trained.ranker(experience, version, about)
    else:
        keys = experience.capabilities
        if kind == "centroid":
            keys = moved(experience, experience.traces_in("train"), judged.move)
        made = ranker_of_keys(kind, experience, np.asarray(keys, np.float32), version, about)
    calibrator = calibrated(scored[kind], experience, basis)
    return made if calibrator is None else replace(made, calibrator=calibrator)


def ranker_of_keys(
    kind: str, experience: Experience, keys_CD: Floats, version: str, about: dict[str, Any]
) -> CapabilityRanker:
    """Cosine with a key of each capability, in the form that is served; not calibrated yet."""
    return ranker_over(
        experience,
        kind=kind,
        version=version,
        intent_map=np.eye(keys_CD.shape[1], dtype=np.float32),
        context_map=None,
        keys=keys_CD,
        heads=1,
        feature_weights=np.zeros(len(experience.features), np.float32),
        about=about,
    )


def write_model(out: Path, ranker: CapabilityRanker, trained: CapabilityNetwork | None, experience: Experience) -> None:
    """Write ``model/``: the ranker, and the network's weights for the next turn where it is what is served."""
    if (out / MODEL).exists():
        return
    with whole_folder_or_absent(out / MODEL) as unfinished:
        unfinished.mkdir()
        ranker.write(unfinished)
        if trained is not None:
            trained.save(unfinished, experience)


def table_of(
    experience: Experience, scored: dict[str, Score], judged: Judged, champion: Champion | None, basis: Basis
) -> dict[str, dict[str, Any]]:
    """Every baseline and model by its figures on the test intents."""
    numbers = experience.traces_in("train")
    rankers: dict[str, Score] = {
        "popularity": baselines.popularity(experience, numbers),
        "random projection": baselines.random_projection(experience),
        "bm25": baselines.bm25(experience),
        "cosine": scored["cosine"],
        "cosine x success rate": baselines.cosine_times_rate(experience, numbers),
        "centroid": scored["centroid"],
        "lambdamart": lambdamart(experience, numbers, judged.move),
    }
    if "hypergraph" in scored:
        rankers["hypergraph"] = scored["hypergraph"]
    if champion is not None:
        rankers[f"champion (version {champion.version})"] = score_of(champion.ranker, experience)
    with torch.no_grad():
        return {
            name: figures_of(score, experience, calibrated(score, experience, basis), basis)
            for name, score in rankers.items()
        }
