"""What succeeded for the same intent in another trace is no negative, in the full softmax and in the sampled one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.capability_metrics import answer, reciprocal_ranks
from training.ranking.config import LearnConfig, NetworkConfig
from training.ranking.experience import Experience
from training.ranking.network import CapabilityNetwork
from training.ranking.right_answers import RightAnswers, drawn_among
from training.ranking.task import CapabilityTask

Make = Callable[..., Experience]


def twice(experience: Experience, second: float = 1.0) -> Experience:
    """Each intent asked again, answered by the next capability, which was worth ``second``."""
    traces, count = experience.traces, len(experience.traces)
    again = traces.take(np.tile(np.arange(count), 2))
    chosen = np.concatenate([traces.chosen, (traces.chosen + 1) % len(experience.catalogue)])
    reward = np.concatenate([experience.reward, np.full(count, second)])
    return experience.over(replace(again, chosen=chosen, reward=reward), experience.part, reward)


def losses(experience: Experience, **config: object) -> torch.Tensor:
    plain = NetworkConfig(dropout=0.0)
    network = CapabilityNetwork(experience, plain)
    task = CapabilityTask(network, experience, LearnConfig.model_validate({"network": plain, **config}))
    rows = torch.arange(len(experience.traces_in("train")))
    with torch.no_grad():
        return task.losses(network, replace(next(task.batches(0)), rows=rows))


def test_other_right_answers_are_found_of_the_training_intents_alone(make: Make) -> None:
    experience = twice(make(count=200))
    numbers = experience.traces_in("train")
    answers = RightAnswers.of(experience, numbers)
    place, item = answers.others(np.arange(len(numbers)))
    assert (place == np.arange(len(numbers))).all()
    chosen = experience.traces.chosen[numbers]
    half = len(numbers) // 2
    assert (item[:half] == chosen[half:]).all() and (item[half:] == chosen[:half]).all()
    assert len(np.unique(experience.traces.intent[numbers])) * 2 == len(answers.items)


def test_an_answer_worth_less_stays_a_negative(make: Make) -> None:
    experience = twice(make(count=200), second=0.5)
    numbers = experience.traces_in("train")
    place, _ = RightAnswers.of(experience, numbers).others(np.arange(len(numbers)))
    assert (experience.reward[numbers][place] == 0.5).all() and len(place) == len(numbers) // 2


def test_an_intent_without_a_success_and_one_with_a_single_answer_have_no_others(make: Make) -> None:
    experience = make(count=200, failures=0.5)
    numbers = experience.traces_in("train")
    place, item = RightAnswers.of(experience, numbers).others(np.arange(len(numbers)))
    assert len(place) == len(item) == 0
    nothing = replace(experience, reward=np.zeros(len(experience.traces)))
    assert len(RightAnswers.of(nothing, numbers).others(np.arange(len(numbers)))[0]) == 0


def test_the_softmax_leaves_them_out(make: Make) -> None:
    """The loss of each trace is that of a softmax over the capabilities less the other right answer."""
    experience = twice(make(count=200))
    numbers = experience.traces_in("train")
    found = losses(experience)
    network = CapabilityNetwork(experience, NetworkConfig(dropout=0.0))
    intents = torch.from_numpy(experience.intents[experience.traces.intent[numbers]])
    with torch.no_grad():
        scores = network(intents)
    half = len(numbers) // 2
    other = torch.from_numpy(np.roll(experience.traces.chosen[numbers], half))
    scores[torch.arange(len(numbers)), other] = -torch.inf
    chosen = torch.from_numpy(experience.traces.chosen[numbers])
    expected = torch.nn.functional.cross_entropy(scores, chosen, reduction="none")
    torch.testing.assert_close(found, expected)


def test_the_sampled_softmax_leaves_them_out_likewise(make: Make) -> None:
    experience = twice(make(count=200))
    full, sampled = losses(experience), losses(experience, sampled_above=10, negatives=6000)
    np.testing.assert_allclose(sampled, full, atol=0.15)


def test_drawn_among_finds_every_repeat() -> None:
    candidates = torch.tensor([7, 3, 7, 1, 7, 3])
    rows, columns = drawn_among(candidates, torch.tensor([0, 0, 2, 5]), torch.tensor([7, 9, 3, 1]))
    found = sorted(zip(rows.tolist(), columns.tolist(), strict=True))
    assert found == [(0, 0), (0, 2), (0, 4), (2, 1), (2, 5), (5, 3)]
    nothing = torch.empty(0, dtype=torch.int64)
    assert [len(one) for one in drawn_among(candidates, nothing, nothing)] == [0, 0]


@pytest.mark.parametrize("first", [0, 1])
def test_whichever_right_answer_is_first_counts_as_right(make: Make, first: int) -> None:
    """In figures of held-out intents all that succeeded for an intent is right, of whichever trace."""
    experience = twice(make(count=200))
    asked, count = experience.successes("test"), len(experience.catalogue)
    best = np.zeros(len(experience.intents), np.int64)
    best[experience.traces.intent] = (experience.traces.chosen - 1 + first) % count  # of the later trace: the second

    def score(intents: np.ndarray) -> np.ndarray:
        return np.eye(count)[best[intents]]

    judged = answer(score, asked, experience.catalogue.can_run)
    assert judged.means["hit@1"] == judged.means["mrr"] == 1.0
    assert (reciprocal_ranks(score, asked) == 1.0).all() and judged.top_hits[:, 0].all()
