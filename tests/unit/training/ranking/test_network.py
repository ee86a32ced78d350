"""The network: equal to cosine before training, told by its tools, folded without loss, resumed exactly."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluation.capability_metrics import reciprocal_ranks
from training.config import OptimizerConfig
from training.frame import fit
from training.ranking.baselines import cosine
from training.ranking.config import LearnConfig, Messages, NetworkConfig, Structure
from training.ranking.experience import Experience
from training.ranking.hypergraph import Attention, segment_softmax
from training.ranking.network import CapabilityNetwork
from training.ranking.replay import ReplayConfig
from training.ranking.task import CapabilityTask, TraceBatch, scores_of, weights_of

Make = Callable[..., Experience]
KINDS: tuple[Messages, ...] = ("attention", "hypergraph_conv", "two_stage", "none")
FEW = OptimizerConfig(learning_rate=5e-3, epochs=3, patience=3)


def learning(network: NetworkConfig, **others: object) -> LearnConfig:
    return LearnConfig.model_validate({"network": network, "optimizer": FEW, "batch_traces": 64, **others})


@pytest.mark.parametrize("messages", KINDS)
@pytest.mark.parametrize("structure", ["none", "concatenated", "learned"])
def test_before_training_scores_are_the_cosine_times_the_scale(
    make: Make, messages: Messages, structure: Structure
) -> None:
    experience = make(count=60, pairs=6, groups=True)
    config = NetworkConfig(messages=messages, structure=structure, layers=2, heads=3, structure_dim=8)
    network = CapabilityNetwork(experience, config).eval()
    asked = np.arange(30)
    there = experience.catalogue.can_run
    made = scores_of(network, experience)(asked)
    np.testing.assert_allclose(made[:, there] / config.scale, cosine(experience)(asked)[:, there], atol=1e-5)
    assert np.isneginf(made[:, ~there]).all() and network.message_share() == 0


def test_fixed_weights_of_structure_change_the_scores_before_training(make: Make) -> None:
    experience = make(count=60, pairs=6)
    network = CapabilityNetwork(experience, NetworkConfig(structure="weighted", structure_dim=8)).eval()
    made = scores_of(network, experience)(np.arange(30)) / 20.0
    assert np.abs(made - cosine(experience)(np.arange(30))).max() > 0.05


@pytest.mark.parametrize("messages", KINDS)
def test_training_gains_and_messages_are_measured(make: Make, messages: Messages) -> None:
    experience = make(count=500, pairs=10)
    config = learning(NetworkConfig(messages=messages))
    network = CapabilityNetwork(experience, config.network or NetworkConfig())
    progress = fit(CapabilityTask(network, experience, config), FEW)
    assert progress.best_score > progress.history[0]["score"]
    assert (network.message_share() > 0) == (messages != "none")


class Worsened(CapabilityTask):
    """Learns the contrary from its third epoch on."""

    def batches(self, epoch: int) -> Iterator[TraceBatch]:
        self.sign = 1.0 if epoch < 2 else -1.0
        return super().batches(epoch)

    def loss(self, model: nn.Module, batch: TraceBatch) -> Tensor:
        return self.sign * super().loss(model, batch)


def test_the_best_epoch_is_kept_and_not_the_last(small: Experience) -> None:
    config = learning(NetworkConfig(), optimizer=OptimizerConfig(learning_rate=1e-2, epochs=5, schedule="constant"))
    network = CapabilityNetwork(small, NetworkConfig())
    progress = fit(Worsened(network, small, config), config.optimizer)
    asked = small.successes("valid")
    kept = float(reciprocal_ranks(scores_of(network, small), asked).mean())
    assert progress.best_score == max(row["score"] for row in progress.history) == pytest.approx(kept)
    assert progress.history[-1]["score"] < progress.best_score


def test_pairs_without_traces_learn_from_what_their_tools_and_other_pairs_did(make: Make) -> None:
    """Every other pair has no trace that is learned from: text alone cannot know what was learned of its tools."""
    experience = make(count=1200, pairs=20)
    unseen = (experience.traces.chosen >= 20) & (experience.traces.chosen % 2 == 1)
    judged = experience.intents_in("test")[experience.traces.intent]
    learned = replace(experience, reward=np.where(unseen & ~judged, np.nan, experience.reward))
    numbers = np.flatnonzero(unseen & judged)
    found = {}
    for messages in ("attention", "none"):
        config = learning(
            NetworkConfig(messages=messages), optimizer=OptimizerConfig(learning_rate=1e-2, epochs=12, patience=12)
        )
        network = CapabilityNetwork(learned, config.network or NetworkConfig())
        fit(CapabilityTask(network, learned, config), config.optimizer)
        scores = scores_of(network, learned)(learned.traces.intent[numbers])
        own = scores[np.arange(len(numbers)), learned.traces.chosen[numbers]]
        found[messages] = (1 / (1 + (scores > own[:, None]).sum(axis=1))).mean()
    assert found["attention"] > 1.5 * found["none"], found


def test_a_killed_training_with_replay_ends_as_an_undisturbed_one(small: Experience, tmp_path: Path) -> None:
    config = learning(NetworkConfig(), replay=ReplayConfig())

    class Killed(Exception):
        pass

    def trained(stop: int | None, resume: Path | None) -> CapabilityNetwork:
        network = CapabilityNetwork(small, NetworkConfig())

        def on_epoch(progress: object, save: Callable[[Path], None]) -> None:
            if progress.epoch == stop:  # type: ignore[attr-defined]
                save(tmp_path / "checkpoint")
                raise Killed

        fit(CapabilityTask(network, small, config), FEW, on_epoch=on_epoch, resume=resume)
        return network

    whole = trained(None, None)
    with pytest.raises(Killed):
        trained(2, None)
    resumed = trained(None, tmp_path / "checkpoint")
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name]), name


def test_replay_draws_what_was_learned_least_more_often(small: Experience) -> None:
    config = learning(NetworkConfig(), replay=ReplayConfig())
    task = CapabilityTask(CapabilityNetwork(small, NetworkConfig()), small, config)
    fit(task, FEW)
    with torch.no_grad():
        rows = torch.arange(len(small.traces_in("train")))
        batch = next(task.batches(0))
        losses = task.losses(task.model, replace(batch, rows=rows)).numpy()
    state = task.state()["weights"].numpy()
    assert np.corrcoef(state, losses)[0, 1] > 0.2


def test_sampled_softmax_estimates_the_full_one(make: Make) -> None:
    """The mean over many draws of the estimated sum is the sum (logQ)."""
    experience = make(count=400, pairs=20)
    network = CapabilityNetwork(experience, NetworkConfig(dropout=0.0))
    full = CapabilityTask(network, experience, learning(NetworkConfig(dropout=0.0)))
    sampled = CapabilityTask(
        network, experience, learning(NetworkConfig(dropout=0.0), sampled_above=10, negatives=4000)
    )
    batch, drawn = next(full.batches(0)), next(sampled.batches(0))
    assert batch.candidates is None and drawn.candidates is not None
    with torch.no_grad():
        exact = full.losses(network, batch).numpy()
        estimated = sampled.losses(network, replace(drawn, rows=batch.rows)).numpy()
    np.testing.assert_allclose(estimated, exact, atol=0.15)


def test_failures_are_evidence_against(make: Make) -> None:
    experience = make(count=600, failures=0.5)
    failed = experience.traces_in("train")[experience.reward[experience.traces_in("train")] == 0]
    asked, chosen = experience.traces.intent[failed], experience.traces.chosen[failed]
    config = learning(NetworkConfig(), optimizer=OptimizerConfig(learning_rate=1e-3, epochs=2, warmup_fraction=0.0))
    network = CapabilityNetwork(experience, NetworkConfig())

    def mean_score() -> float:
        return float(scores_of(network.eval(), experience)(asked)[np.arange(len(asked)), chosen].mean())

    before = mean_score()
    fit(CapabilityTask(network, experience, config), config.optimizer)
    assert mean_score() < before


def test_rare_choices_weigh_more_where_propensities_were_logged(make: Make) -> None:
    logged = make(logged=True)
    numbers = logged.traces_in("train")
    weight, chance = weights_of(logged, numbers, 3.0), logged.propensity[numbers]
    assert set(np.round(chance, 2)) == {0.5, 0.25}
    ratio = weight[chance == 0.25].mean() / weight[chance == 0.5].mean()
    assert ratio == pytest.approx(1.5) and weight.mean() == pytest.approx(1.0)
    plain = make()
    assert (weights_of(plain, plain.traces_in("train"), 3.0) == 1).all()


def test_messages_do_not_depend_on_the_order_of_incidences_and_orphans_get_none() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    sender, receiver = torch.randn(5, 8), torch.randn(4, 8)
    from_M, to_M = torch.tensor([0, 1, 2, 4]), torch.tensor([0, 0, 2, 2])
    order = torch.tensor([3, 1, 0, 2])
    first, second = (
        attention(sender, sender, receiver, from_M, to_M),
        attention(sender, sender, receiver, from_M[order], to_M[order]),
    )
    torch.testing.assert_close(first, second)
    assert first.shape == (4, 8) and (first[[1, 3]] == 0).all() and (first[[0, 2]] != 0).any(dim=1).all()


def test_a_segment_softmax_sums_to_one_at_each_receiver() -> None:
    to_M = torch.tensor([2, 0, 2, 2])
    shares = segment_softmax(torch.tensor([[1.0], [900.0], [-900.0], [1.0]]), to_M, 3)
    sums = torch.zeros(3, 1).index_add(0, to_M, shares)
    torch.testing.assert_close(sums[:, 0], torch.tensor([1.0, 0.0, 1.0]))


def test_learned_vectors_follow_their_ids_into_a_grown_catalogue(make: Make, tmp_path: Path) -> None:
    before, after = make(pairs=2), make(pairs=5)
    network = CapabilityNetwork(before, NetworkConfig())
    assert network.table is not None
    with torch.no_grad():
        network.table.copy_(torch.arange(len(network.table))[:, None].expand_as(network.table).float())
    network.save(tmp_path, before)
    grown = CapabilityNetwork(after, NetworkConfig())
    assert grown.start_from(tmp_path, after) and grown.table is not None
    rows = grown.table[:, 0].tolist()
    assert rows == [*range(20), *range(20, 42), 0.0, 0.0, 0.0]
    assert not CapabilityNetwork(after, NetworkConfig(heads=5)).start_from(tmp_path, after)


def test_a_network_without_groups_goes_on_where_some_have_come(make: Make, tmp_path: Path) -> None:
    before, after = make(count=200, pairs=3), make(count=200, pairs=3, groups=True)
    config = learning(NetworkConfig())
    network = CapabilityNetwork(before, NetworkConfig())
    fit(CapabilityTask(network, before, config), FEW)
    assert not any("groups" in name for name in network.state_dict())
    network.save(tmp_path, before)
    with_groups = CapabilityNetwork(after, NetworkConfig())
    assert with_groups.start_from(tmp_path, after)
    assert any("to_groups" in name for name in with_groups.state_dict())
    torch.testing.assert_close(with_groups.intent_maps, network.intent_maps)


def test_what_is_learned_of_a_tool_is_known_to_all_that_use_it_and_own_vectors_count_a_share(make: Make) -> None:
    experience = make(count=60, pairs=6)
    told, alone = (CapabilityNetwork(experience, NetworkConfig(messages=kind)).eval() for kind in ("attention", "none"))
    pair = len(experience.catalogue.tools)  # the first capability of two tools
    assert told.table is not None and alone.table is not None
    changed = torch.zeros_like(told.table)
    changed[told.tools + pair, 0] = 1.0
    with torch.no_grad():
        before = told.states()[pair].clone()
        told.table.copy_(changed)
        alone.table.copy_(changed)
        assert float((told.states()[pair] - before)[0]) == pytest.approx(0.3)
        assert float((alone.states() - alone.text[alone.tools :])[pair, 0]) == pytest.approx(1.0)
        told.table.zero_()
        told.table[0, 0] = 1.0  # of tool t0, which c0 and the first pair use
        moved = (told.states() - told.text[told.tools :]).abs().sum(dim=1) > 1e-6
    assert np.flatnonzero(moved.numpy()).tolist() == np.flatnonzero(_uses(experience, 0)).tolist()


def _uses(experience: Experience, tool: int) -> np.ndarray:
    catalogue = experience.catalogue
    return np.isin(np.arange(len(catalogue)), catalogue.users[catalogue.members == tool])
