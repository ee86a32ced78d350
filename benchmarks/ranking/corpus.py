"""MetaTool as a catalogue: its traces, vectors and splits, from the artifacts of its run."""

import numpy as np
import torch

from benchmarks.whole_runs import RUNS
from evaluation.capability_metrics import Score
from evaluation.capability_split import CapabilitySplit, parts_of
from ray_apps.config import load_run
from ray_apps.learn import read_experience
from ray_apps.plan import Plan
from training.frame import fit
from training.ranking.config import LearnConfig
from training.ranking.driver import new_network
from training.ranking.experience import Experience
from training.ranking.network import CapabilityNetwork
from training.ranking.task import CapabilityTask, scores_of

TOGETHER = ("--catalogue.beir.several", "together")


def metatool(*flags: str) -> Experience:
    """Traces and vectors of MetaTool; made first where they are not there.

    Args:
        flags: of the run, such as ``TOGETHER``.
    """
    plan = Plan(load_run(RUNS / "metatool.yaml", flags))
    intents = plan.bring("intents")
    return read_experience(plan.artifact("catalogue").path, intents.path, plan.run.learn)


def split_anew(experience: Experience, seed: int) -> Experience:
    """The same with other intents held out."""
    part = parts_of(experience.traces.intents, CapabilitySplit(seed=seed))
    return experience.over(experience.traces, part, experience.reward)


def at_most(experience: Experience, outcomes: int, seed: int = 0) -> Experience:
    """The same with so many outcomes a capability to learn from and to choose by; the test intents stay whole."""
    held = experience.intents_in("test")[experience.traces.intent]
    order = np.random.default_rng(seed).permutation(len(experience.traces))
    order = order[~held[order]]
    order = order[np.argsort(experience.traces.chosen[order], kind="stable")]
    chosen = experience.traces.chosen[order]
    place = np.arange(len(order)) - np.searchsorted(chosen, chosen, side="left")
    kept = np.sort(np.concatenate([order[place < outcomes], np.flatnonzero(held)]))
    return experience.over(experience.traces.take(kept), experience.part, experience.reward[kept])


def trained(
    experience: Experience, config: LearnConfig, task: type[CapabilityTask] = CapabilityTask
) -> tuple[CapabilityNetwork, Score]:
    """The network of a config, trained in this process on one core.

    Args:
        experience: that it learns from.
        config: of the turn.
        task: how it is trained.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = new_network(experience, config, None)
        fit(task(network, experience, config), config.optimizer)
    finally:
        torch.set_num_threads(threads)
    return network, scores_of(network, experience)
