"""Training of the network on traces: a softmax over all capabilities for what succeeded, and less for what failed.

What succeeded for the same intent in another trace is no negative of this one: it is left out of the softmax.

Shapes: N traces that are learned from, B of a batch, C capabilities, K of them that a step compares with, A pairs of a
trace of the batch and another right answer to its intent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.capability_metrics import Score, reciprocal_ranks
from training.ranking.config import LearnConfig
from training.ranking.experience import Experience, Floats, Numbers
from training.ranking.network import CapabilityNetwork, contexts_of
from training.ranking.replay import ReplayBuffer
from training.ranking.right_answers import RightAnswers, drawn_among
from training.task import Figures, Task

FEWEST_STEPS = 8  # of an epoch, by smaller batches where traces are few


@dataclass(frozen=True)
class TraceBatch:
    """A batch: rows of the traces that are learned from, (B,); empty where the buffer is to draw them."""

    rows: Tensor
    candidates: Tensor | None  # int64 (K,), drawn capabilities, with repeats; None: all are compared with
    log_expected: Tensor | None  # float32 (K,), log of how often each was to be expected among those drawn

    def to(self, device: torch.device) -> "TraceBatch":
        """The same on a device."""
        moved = [None if one is None else one.to(device) for one in (self.rows, self.candidates, self.log_expected)]
        assert moved[0] is not None
        return TraceBatch(moved[0], moved[1], moved[2])


class CapabilityTask(Task[TraceBatch]):
    """Training of a network, judged by the mean reciprocal rank of validation intents.

    Args:
        network: what is trained; it may come with the weights of a champion.
        experience: traces, vectors, parts.
        config: batches, loss, optimiser.
        rank: this worker's number.
        world: number of workers; each takes its share of every epoch.
    """

    model: CapabilityNetwork
    unit = "traces"
    judges_first = True

    def __init__(
        self, network: CapabilityNetwork, experience: Experience, config: LearnConfig, rank: int = 0, world: int = 1
    ) -> None:
        self.model, self._config, self._rank, self._world = network, config, rank, world
        self._experience = experience
        numbers = experience.traces_in("train")
        self._count = len(numbers)
        self.per_step = min(config.batch_traces, max(1, self._count // (FEWEST_STEPS * world)))
        self.steps = self._count // (self.per_step * world)
        self._intents = torch.from_numpy(np.asarray(experience.intents[experience.traces.intent[numbers]]))
        contexts = contexts_of(experience, numbers)
        self._contexts = None if contexts is None else torch.from_numpy(contexts)
        self._view = torch.from_numpy(experience.past.view[numbers])
        self._chosen = torch.from_numpy(experience.traces.chosen[numbers])
        self._reward = torch.from_numpy(experience.reward[numbers].astype(np.float32))
        self._weight = torch.from_numpy(weights_of(experience, numbers, config.largest_weight))
        self.answers = RightAnswers.of(experience, numbers)
        self._asked = experience.successes("valid")
        self._runnable = np.flatnonzero(experience.catalogue.can_run)
        self._sampled = len(self._runnable) > config.sampled_above
        counts = np.bincount(experience.traces.chosen[numbers], minlength=len(experience.catalogue))[self._runnable]
        self._proposal = (counts + 1) / (counts + 1).sum()
        self._buffer: ReplayBuffer | None = None
        if config.replay is not None:
            kept = config.replay.model_copy(update={"capacity": max(self._count, 1)})
            self._buffer = ReplayBuffer(kept, {"row": np.int64(0)})
            self._buffer.add({"row": np.arange(self._count)})

    def batches(self, epoch: int) -> Iterator[TraceBatch]:
        """Rows of this worker's share, shuffled; with replay only how many, since what is drawn depends on the step."""
        seed = self._config.optimizer.seed
        order = np.random.default_rng((seed, epoch)).permutation(self._count)
        for step in range(self.steps):
            start = (step * self._world + self._rank) * self.per_step
            rows = order[start : start + self.per_step] if self._buffer is None else np.empty(0, np.int64)
            rng = np.random.default_rng((seed, epoch, step, self._rank, 1))
            yield TraceBatch(torch.from_numpy(rows), *self._candidates(rng))

    def loss(self, model: nn.Module, batch: TraceBatch) -> Tensor:
        """The mean over the batch of its weighted losses; with replay they become the priorities of what was drawn."""
        if self._buffer is None:
            losses_B = self.losses(model, batch)
            plain: Tensor = (losses_B * self._weight[batch.rows.cpu()].to(losses_B.device)).mean()
            return plain
        drawn = self._buffer.draw(self.per_step)
        rows = torch.from_numpy(drawn.rows["row"])
        losses_B = self.losses(model, replace(batch, rows=rows))
        self._buffer.update(drawn.numbers, losses_B.detach().cpu().numpy())
        weights_B = self._weight[rows] * torch.from_numpy(drawn.weights.astype(np.float32))
        mean: Tensor = (losses_B * weights_B.to(losses_B.device)).mean()
        return mean

    def losses(self, model: nn.Module, batch: TraceBatch) -> Tensor:
        """Loss of each trace, (B,): by its reward the softmax that has its choice, else a failure's logistic term."""
        rows, device = batch.rows.cpu(), bare_threshold(model).device
        contexts = None if self._contexts is None else self._contexts[rows].to(device)
        intents, chosen = self._intents[rows].to(device), self._chosen[rows].to(device)
        reward, view = self._reward[rows].to(device), self._view[rows].to(device)
        others = tuple(torch.from_numpy(one).to(device) for one in self.answers.others(rows.numpy()))
        if batch.candidates is None:
            scores = model(intents, contexts, None, view)
            own = scores.gather(1, chosen[:, None])[:, 0]
            normaliser = torch.logsumexp(scores.index_put(others, scores.new_tensor(-torch.inf)), dim=1)
        else:
            own, normaliser = self._sampled_scores(model, (intents, contexts, view), chosen, others, batch)
        succeeds = normaliser - own
        fails = nn.functional.softplus(own - bare_threshold(model))
        losses: Tensor = reward * succeeds + (1 - reward) * fails
        return losses

    def _sampled_scores(
        self,
        model: nn.Module,
        asked: tuple[Tensor, Tensor | None, Tensor],
        chosen: Tensor,
        others: tuple[Tensor, ...],
        batch: TraceBatch,
    ) -> tuple[Tensor, Tensor]:
        """Score of each choice, and the log of the estimated sum over all (logQ, Bengio and Senecal, 2008)."""
        assert batch.candidates is not None and batch.log_expected is not None
        intents, contexts, view = asked
        scores = model(intents, contexts, torch.cat([chosen, batch.candidates]), view)
        own = scores[:, : len(chosen)].diagonal()
        drawn = scores[:, len(chosen) :] - batch.log_expected
        drawn = drawn.masked_fill(batch.candidates == chosen[:, None], -torch.inf)
        drawn = drawn.index_put(drawn_among(batch.candidates, *others), drawn.new_tensor(-torch.inf))
        return own, torch.logsumexp(torch.cat([own[:, None], drawn], dim=1), dim=1)

    def judge(self, model: nn.Module) -> Figures:
        """Mean reciprocal rank of validation intents."""
        mrr = float(reciprocal_ranks(scores_of(self.model, self._experience), self._asked).mean())
        return {"score": mrr, "valid_mrr": round(mrr, 5)}

    def groups(self) -> list[dict[str, Any]]:
        """Maps turn slowly, gates open quickly; weight decay would pull rotations to zero."""
        named = [(name, weights) for name, weights in self.model.named_parameters() if weights.requires_grad]
        maps = [weights for name, weights in named if "maps" in name]
        gates = [weights for name, weights in named if "gates" in name]
        seen = {id(weights) for weights in (*maps, *gates)}
        others = [weights for _, weights in named if id(weights) not in seen]
        found: list[dict[str, Any]] = [{"params": others}, {"params": maps, "rate": 0.3, "weight_decay": 0.0}]
        return [*found, {"params": gates, "rate": 5.0, "weight_decay": 0.0}] if gates else found

    def state(self) -> dict[str, Tensor]:
        """The replay buffer."""
        if self._buffer is None:
            return {}
        return {name: torch.from_numpy(np.array(array)) for name, array in self._buffer.state().items()}

    def load(self, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave."""
        if self._buffer is not None and state:
            kept = {name: tensor.numpy() for name, tensor in state.items()}
            self._buffer = ReplayBuffer.restored(self._buffer.config, kept)

    def _candidates(self, rng: np.random.Generator) -> tuple[Tensor | None, Tensor | None]:
        if not self._sampled:
            return None, None
        count = self._config.negatives
        drawn = rng.choice(len(self._runnable), count, p=self._proposal)
        expected = np.log(count * self._proposal[drawn]).astype(np.float32)
        return torch.from_numpy(self._runnable[drawn]), torch.from_numpy(expected)


def bare_threshold(model: nn.Module) -> Tensor:
    """The network's threshold, inside whatever wraps it."""
    inner = model.module if hasattr(model, "module") else model
    assert isinstance(inner, CapabilityNetwork)
    return inner.threshold


def weights_of(experience: Experience, numbers: Numbers, largest: float) -> Floats:
    """What each trace counts: one over the probability of its choice, cut, over the mean; float32 (n,).

    So what a biased policy hardly ever showed counts as if all had been shown alike. Traces without a probability
    weigh as the mean of the others does.
    """
    chance = experience.propensity[numbers]
    known = chance > 0
    if not known.any():
        return np.ones(len(numbers), np.float32)
    weight = np.minimum(1.0 / np.where(known, chance, 1.0), largest)
    return np.where(known, weight / weight[known].mean(), 1.0).astype(np.float32)


def scores_of(network: CapabilityNetwork, experience: Experience) -> Score:
    """The network as ``evaluation.capability_metrics`` asks it; keys are computed once, here."""
    with torch.no_grad():
        keys = network.keys().T
        prior = network.features @ network.feature_weights

    def score(intents: Numbers) -> Floats:
        with torch.no_grad():
            asked = torch.from_numpy(np.asarray(experience.intents[intents])).to(keys.device)
            scores = (network.queries(asked) @ keys + prior).masked_fill(~network.can_run, -torch.inf)
            return np.asarray(scores.cpu().numpy())

    return score
