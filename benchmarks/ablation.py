"""What each choice of the link model is worth: one thing changed at a time, on several corpora, over several seeds.

Two parts: states, judged by their cosines alone; and scorers of pairs over the states of the default.
"""

import hashlib
import json
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmarks.ablation_rows import rows_of
from benchmarks.rows import Row
from benchmarks.whole_runs import RUNS
from data.errors import InputError, nearest
from data.graph.graph import GraphArtifact, load_graph
from evaluation.config import LinkJudging
from evaluation.link_questions import link_questions
from evaluation.links import Scorer, both_directions, link_metrics, link_ranks
from ray_apps.config import load_run
from ray_apps.plan import Plan
from training.frame import fit
from training.links.build import decided
from training.links.config import ScorerConfig, TrainConfig
from training.links.driver import held_out_lists, hidden_lists
from training.links.features import FEATURES, STRUCTURE, TEXTS
from training.links.features import STATES as STATE_FEATURES
from training.links.scorer import Lists, fit_scorer
from training.links.scoring import LinkScorer
from training.links.stacking import cross_fitted
from training.links.task import LinkTask, told_graph
from training.tune_config import with_values

logger = logging.getLogger("catena")

STATES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "one step": {"model.steps": 1},
    "three steps": {"model.steps": 3},
    "no propagation": {"model.encoder": "none"},
    "gatv2": {"model.encoder": "gatv2"},
    "sage": {"model.encoder": "sage"},
    "rgcn": {"model.encoder": "rgcn"},
    "texts alone": {"model.words": 0, "model.word_table": False},
    "words alone": {"model.text": False, "model.table": False},
    "table alone": {"model.text": False, "model.words": 0, "model.word_table": False, "model.table": True},
    "table of documents": {"model.table": True},
    "table of words": {"model.word_table": True},
    "no table of words": {"model.word_table": False},
    "node2vec": {"model.node2vec": 128},
    "bce": {"negatives.loss": "bce"},
    "bpr": {"negatives.loss": "bpr"},
    "uniform negatives": {"negatives.kind": "uniform"},
    "negatives by degree": {"negatives.kind": "degree"},
    "hard negatives": {"negatives.hard": 1024, "negatives.mine_every": 1},
}
"""Keys of ``train`` that differ from the run's own, by the name of the choice."""

SCORERS: Mapping[str, tuple[tuple[str, ...], bool]] = {
    "default": (FEATURES, True),
    "no shared neighbours by states": (tuple(name for name in FEATURES if name != "state_paths"), True),
    "linear": (FEATURES, False),
    "features without states": (STRUCTURE + TEXTS, True),
    "features without states and words": (STRUCTURE, True),
}
"""Features of the scorer, and whether it is a network, by the name of the choice."""


class Measured(BaseModel):
    """One choice measured with one seed; ``key`` says of which graph and settings.

    ``valid`` of states is the filtered MRR among all documents, of a scorer that in the lists which it is chosen by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    corpus: str
    part: Literal["states", "scorer"]
    choice: str
    seed: int
    epochs: int
    valid: float
    test: float
    seconds: float


def measure(
    corpora: str = "demo,cora", seeds: int = 3, epochs: int | None = None, choices: str | None = None
) -> list[Row]:
    """The ablation of some corpora.

    What was measured is kept in ``ablation.jsonl`` of the workspace and not measured again, so that a killed ablation
    continues.

    Args:
        corpora: names of run files in ``runs/``, by commas.
        seeds: trainings of each choice.
        epochs: most of a training; those of the run file where None.
        choices: of states, by commas; all where None. With "default" come the scorers.
    """
    wanted = list(STATES) if choices is None else choices.split(",")
    for choice in wanted:
        if choice not in STATES:
            raise InputError(f"bench ablation: no choice {choice!r}; {nearest(choice, STATES)}", "Name one of these.")
    measured = []
    for name in corpora.split(","):
        if not (RUNS / f"{name}.yaml").exists():
            known = sorted(path.stem for path in RUNS.glob("*.yaml"))
            raise InputError(f"bench ablation: there is no run {name!r}; {nearest(name, known)}", "Name runs of runs/.")
        plan = Plan(load_run(RUNS / f"{name}.yaml", []))
        config = plan.run.train
        if epochs is not None:
            config = with_values(config, {"optimizer.epochs": epochs})
        graph = plan.bring("graph").path
        measured += ablate(graph, name, config, seeds, plan.run.workspace / "ablation.jsonl", wanted)
    return rows_of([row.model_dump() for row in measured])


def ablate(
    path: Path, name: str, config: TrainConfig, seeds: int, kept: Path, wanted: Collection[str] = tuple(STATES)
) -> list[Measured]:
    """Measure every choice on one graph.

    Args:
        path: of the graph artifact.
        name: of the corpus.
        config: the default.
        seeds: trainings of each choice.
        kept: JSON Lines of what was measured before, to which the new is added.
        wanted: names of ``STATES``.
    """
    lines = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
    known = {row.key: row for row in map(Measured.model_validate_json, lines)}
    corpus, found = Corpus(path, name), list[str]()
    for seed in range(seeds):
        for choice, changed in settings(corpus.graph, with_values(config, {"optimizer.seed": seed})).items():
            if choice not in wanted:
                continue
            keys = corpus.keys(changed, choice == "default")
            found += keys
            if known.keys() >= set(keys):
                continue
            for made in corpus.measured(changed, choice, choice == "default"):
                known[made.key] = made
                with kept.open("a", encoding="utf-8") as file:
                    file.write(made.model_dump_json() + "\n")
                told = f"{name}, {made.part}, {made.choice}, seed {seed}"
                logger.info("ablation: %s: valid %.4f, test %.4f", told, made.valid, made.test)
    return [known[key] for key in found]


def settings(graph: GraphArtifact, config: TrainConfig) -> dict[str, TrainConfig]:
    """The settings of each choice of states that a corpus has the inputs for and that differs from the default."""
    found: dict[str, TrainConfig] = {}
    for choice, values in STATES.items():
        changed = with_values(config, values)
        try:
            settled = changed.model_copy(update={"model": decided(changed.model, graph)})
        except InputError:
            continue
        if settled not in found.values() and (choice != "rgcn" or len(graph.relation_names) > 1):
            found[choice] = settled
    return found


class Corpus:
    """A corpus that choices are measured on.

    Args:
        path: of its graph artifact.
        name: of the corpus.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name, self.graph = path, name, load_graph(path)
        questions = link_questions(self.graph, LinkJudging(hard_negatives=0))
        linked = questions.valid.linked
        self._test = both_directions(questions.sources, questions.targets)
        self._valid = both_directions(questions.valid.sources[linked], questions.valid.targets[linked])

    def keys(self, config: TrainConfig, scored: bool) -> list[str]:
        """What ``measured`` gives its rows as keys, in their order."""
        parts = ["states", *(str(SCORERS[choice]) for choice in SCORERS)] if scored else ["states"]
        described = [json.dumps([self.path.name, part, config.identity()], sort_keys=True) for part in parts]
        return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in described]

    def measured(self, config: TrainConfig, choice: str, scored: bool) -> Iterator[Measured]:
        """Figures of one training's states and, where asked for, of all scorers over them.

        Args:
            config: of the training.
            choice: its name.
            scored: whether scorers are fitted and measured too.
        """
        keys = iter(self.keys(config, scored))
        about = {"corpus": self.name, "seed": config.optimizer.seed, "epochs": config.optimizer.epochs}
        started = time.perf_counter()
        task = LinkTask(self.graph, config)
        fit(task, config.optimizer)
        states = task.states()
        valid, test = self._mrr(lambda sources: states[sources] @ states.T)
        spent = round(time.perf_counter() - started, 2)
        yield Measured(key=next(keys), part="states", choice=choice, valid=valid, test=test, seconds=spent, **about)
        if not scored:
            return
        lists = held_out_lists(
            self.graph, config, states, lambda parts: [hidden_lists(self.path, config, *part) for part in parts]
        )
        for name, (features, network) in SCORERS.items():
            started = time.perf_counter()
            settings = config.scorer if network else config.scorer.model_copy(update={"units": 0})
            valid, test = self._scored(lists, features, settings, config.optimizer.seed, states)
            spent = round(time.perf_counter() - started, 2)
            yield Measured(key=next(keys), part="scorer", choice=name, valid=valid, test=test, seconds=spent, **about)

    def _scored(
        self, lists: Lists, features: tuple[str, ...], config: ScorerConfig, seed: int, states: np.ndarray
    ) -> tuple[float, float]:
        """MRR in lists of validation links, by scorers fitted on others; of test links, among all documents."""
        valid = cross_fitted(lists, features, config.model_copy(update={"members": 1}), seed)
        sees_states = any(name in STATE_FEATURES for name in features)
        scorer = LinkScorer(fit_scorer(lists, features, config, seed), self.graph, states if sees_states else None)
        return valid, link_metrics(link_ranks(scorer.score, *self._test, self.graph.known_graph))["mrr"]

    def _mrr(self, score: Scorer) -> tuple[float, float]:
        """Filtered MRR among all documents of validation links, as if there were no test links, and of test links."""
        valid = link_ranks(score, *self._valid, told_graph(self.graph))
        return link_metrics(valid)["mrr"], link_metrics(link_ranks(score, *self._test, self.graph.known_graph))["mrr"]
