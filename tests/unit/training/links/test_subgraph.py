"""Sampled states: in the mean those of full propagation, exactly those where all neighbours are drawn."""

import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from pydantic import ValidationError

from data.graph.graph import GraphArtifact
from training.checkpoint import keep_checkpoint
from training.frame import Progress, Save, fit
from training.links.config import SamplingConfig, TrainConfig
from training.links.propagation import propagate, root_degrees
from training.links.subgraph import Subgraphs
from training.links.task import Batch, LinkTask

ENCODERS = ("linear", "gatv2", "sage", "rgcn", "none")
ALL = SamplingConfig(from_links=0, neighbours=(-1,))


@pytest.fixture(scope="module")
def worded(planted: GraphArtifact) -> GraphArtifact:
    """The planted graph, with words."""
    return replace(planted, words=sp.random(300, 40, 0.2, "csr", np.float32, 3))


def task_of(graph: GraphArtifact, config: TrainConfig, sampling: SamplingConfig, **model: object) -> LinkTask:
    nodes = config.model.model_copy(update={"dropout": 0.0, "word_table": True, "table": True, **model})
    return LinkTask(graph, config.model_copy(update={"model": nodes, "sampling": sampling}))


def gradients(task: LinkTask, batch: Batch) -> dict[str, torch.Tensor]:
    task.model.zero_grad()
    loss = task.loss(task.model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: weights.grad for name, weights in task.model.named_parameters() if weights.grad is not None}
    return {"loss": loss.detach(), **{name: gradient.clone() for name, gradient in found.items()}}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_with_all_neighbours_loss_and_gradients_are_those_of_the_whole_graph(
    worded: GraphArtifact, small: TrainConfig, encoder: str
) -> None:
    whole, sampled = (task_of(worded, small, s, encoder=encoder) for s in (SamplingConfig(), ALL))
    for ours, theirs in zip(sampled.batches(0), whole.batches(0), strict=True):
        assert ours.around is not None and theirs.around is None
        expected, found = gradients(whole, theirs), gradients(sampled, ours)
        assert expected.keys() == found.keys() and len(expected) > 4
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-3, msg=name)


def test_gradients_go_back_along_the_drawn_links_by_their_weights(planted: GraphArtifact, small: TrainConfig) -> None:
    task = task_of(planted, small, SamplingConfig(from_links=0, neighbours=(3, 2)))
    drawn = next(task.batches(0)).around
    assert drawn is not None and len(drawn.weight_E.unique()) > 3
    n, rows = len(drawn.degrees_N), drawn.reach(2).rows
    root = root_degrees(drawn.degrees_N)
    matrix = torch.zeros(n, n).index_put((drawn.rows_E, drawn.indices_E), drawn.weight_E) * root * root.T
    x, mix = torch.randn(n, 4, requires_grad=True), torch.tensor([0.5, 0.9, -0.3], requires_grad=True)
    found = propagate(x, mix, drawn.weight_E, drawn.degrees_N, drawn)
    expected = (mix[0] * x + mix[1] * matrix @ x + mix[2] * matrix @ (matrix @ x))[:rows]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    weights = torch.randn(rows, 4)
    ours, theirs = (torch.autograd.grad((each * weights).sum(), (x, mix)) for each in (found, expected))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fan_out", [(3, 2), (1, 1)])
def test_the_mean_of_many_draws_is_full_propagation(
    planted: GraphArtifact, small: TrainConfig, fan_out: tuple[int, int]
) -> None:
    """Of the sums themselves: unit length, which comes after, is no sum."""
    task = task_of(planted, small, SamplingConfig(from_links=0, neighbours=fan_out), word_table=False)
    task.model.finish = lambda state: state  # type: ignore[method-assign]
    wanted, without = np.arange(0, 300, 7), np.stack([task.sources[::9], task.targets[::9]])

    def states(fan_out: tuple[int, ...], *seed: int) -> np.ndarray:
        subgraphs = Subgraphs(task.graph, task.model, planted.vectors, None, fan_out)
        drawn = subgraphs.around(subgraphs.sampler(*seed), wanted, without)
        with torch.no_grad():
            found, _ = task.model(drawn.inputs, drawn, drawn.weight_E, drawn.degrees_N)
        return np.asarray(found.numpy(), np.float64)

    draws = np.stack([states(fan_out, seed) for seed in range(800)])
    off = (draws.mean(0) - states((-1,), 0)) / (draws.std(0) / np.sqrt(len(draws)) + 1e-6)
    assert np.abs(off).mean() < 1 and (np.abs(off) < 5).all(), "standard errors, of which few are above 4 by chance"
    assert draws.std(0).max() > 0.01, "the draws differ"


def test_a_batch_does_not_know_its_own_links(worded: GraphArtifact, small: TrainConfig) -> None:
    task = task_of(worded, small, ALL)
    for batch in task.batches(0):
        around = batch.around
        assert around is not None
        there = set(zip(around.indices_E.tolist(), around.rows_E.tolist(), strict=True))
        for source, target in zip(batch.sources.tolist(), batch.targets.tolist(), strict=True):
            assert not {(source, target), (target, source)} & there


@pytest.mark.parametrize("encoder", ["linear", "sage"])
def test_a_sampled_training_learns_and_follows_from_the_seed(
    planted: GraphArtifact, small: TrainConfig, encoder: str
) -> None:
    sampling = SamplingConfig(from_links=0, neighbours=(4, 2))
    losses = []
    for _ in range(2):
        task = task_of(planted, small, sampling, encoder=encoder, table=False)
        losses.append([row["loss"] for row in fit(task, task.config.optimizer).history])
    assert losses[0] == losses[1] and losses[0][-1] < losses[0][0]


def test_a_sampled_training_goes_on_within_an_epoch_from_the_last_checkpoint_before_the_disk_was_full(
    planted: GraphArtifact, small: TrainConfig, tmp_path: Path
) -> None:
    told: list[str | None] = []

    def keep(progress: Progress, save: Save) -> None:
        limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)  # which answers as a full disk does
        if progress.epoch > 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
        try:
            told.append(keep_checkpoint(tmp_path / f"{progress.epoch}-{progress.step}", save))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))

    tasks = [task_of(planted, small, SamplingConfig(from_links=0, neighbours=(4, 2))) for _ in range(2)]
    fit(tasks[0], small.optimizer, on_epoch=keep, on_part=keep, parts=2)
    half = tasks[0].steps // 2
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"0-{half}", "1-0", f"1-{half}"]
    assert told[:3] == [None] * 3 and all("no checkpoint could be written" in str(failure) for failure in told[3:])
    fit(tasks[1], small.optimizer, resume=tmp_path / f"1-{half}")
    for name, weights in tasks[0].model.state_dict().items():
        assert torch.equal(weights, tasks[1].model.state_dict()[name]), name


def test_epochs_and_workers_draw_other_neighbours(planted: GraphArtifact, small: TrainConfig) -> None:
    config = small.model_copy(update={"sampling": SamplingConfig(from_links=0, neighbours=(2, 2)), "batch_links": 32})
    tasks = [LinkTask(planted, config, rank, 2) for rank in (0, 1)]

    def entries(task: LinkTask, epoch: int) -> list[int]:
        first = next(task.batches(epoch)).around
        assert first is not None
        return first.indices_E.tolist()

    assert entries(tasks[0], 0) == entries(tasks[0], 0)
    assert entries(tasks[0], 0) != entries(tasks[0], 1) and entries(tasks[0], 0) != entries(tasks[1], 0)


def test_sampling_starts_at_a_number_of_links(planted: GraphArtifact, small: TrainConfig) -> None:
    links = len(LinkTask(planted, small).sources)
    for bound, sampled in ((links, True), (links + 1, False)):
        config = small.model_copy(update={"sampling": SamplingConfig(from_links=bound)})
        assert LinkTask(planted, config).sampled is sampled


@pytest.mark.parametrize(("neighbours", "said"), [([25, 0], "0 neighbours pass nothing on"), ([-2], "greater than")])
def test_a_fan_out_that_draws_nothing_is_an_error(neighbours: list[int], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SamplingConfig(neighbours=neighbours)  # type: ignore[arg-type]
