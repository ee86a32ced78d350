"""What two processes must do together, checked in both; a script: ``python -m tests.two_workers FOLDER RANK``.

Prints the names of the checks that passed.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from data.errors import InputError
from data.graph.graph import load_graph
from tests.link_graph import write_graph
from tests.point_task import Points, PointTask
from training.checkpoint import read_progress
from training.config import OptimizerConfig, SpreadConfig
from training.frame import Progress, Save, fit
from training.links.config import NodesConfig, TrainConfig
from training.links.task import LinkTask
from training.replicas import rows_of_all
from training.spreading import spreading

CPU = torch.device("cpu")
CONFIG = OptimizerConfig(learning_rate=0.02, epochs=3, patience=3)
FULL = SpreadConfig(strategy="fsdp")


def train(
    rank: int, spread: SpreadConfig, config: OptimizerConfig = CONFIG, task: PointTask | None = None, **kept: object
) -> tuple[PointTask, Progress]:
    """Train the points on both processes."""
    task = task or PointTask(rank=rank)
    wrap = spreading(spread, config.precision, CPU)
    return task, fit(task, config, wrap=wrap, rank=rank, world=2, **kept)  # type: ignore[arg-type]


def equal(one: PointTask, other: PointTask, tolerance: float = 1e-6) -> None:
    """The weights of two tasks."""
    for name, tensor in one.model.state_dict().items():
        torch.testing.assert_close(tensor, other.model.state_dict()[name], rtol=tolerance, atol=tolerance)


def replicas_and_shards_train_the_same(rank: int, folder: Path) -> None:
    """DDP, FSDP2 with all of its options, accumulation, and the other optimiser."""
    replicas, progress = train(rank, SpreadConfig())
    assert progress.history[-1]["loss"] < progress.history[0]["loss"]
    for spread in (FULL, SpreadConfig(strategy="fsdp", shard="gradients"), SpreadConfig(strategy="fsdp", offload=True)):
        shards, same = train(rank, spread)
        equal(replicas, shards, 1e-4)
        assert abs(same.history[-1]["loss"] - progress.history[-1]["loss"]) < 1e-3
    accumulate = CONFIG.model_copy(update={"accumulate": 4})
    equal(train(rank, SpreadConfig(), accumulate)[0], train(rank, FULL, accumulate)[0], 1e-4)
    adagrad = CONFIG.model_copy(update={"kind": "adagrad"})
    equal(train(rank, SpreadConfig(), adagrad)[0], train(rank, FULL, adagrad)[0], 1e-4)


def bf16_learns(rank: int, folder: Path) -> None:
    """With compressed gradients in replicas, and with shards in bf16."""
    for spread in (SpreadConfig(), FULL):
        _, progress = train(rank, spread, CONFIG.model_copy(update={"precision": "bf16"}))
        assert progress.history[-1]["loss"] < progress.history[0]["loss"]


def both_resume_exactly(rank: int, folder: Path) -> None:
    """In mid-epoch; and a checkpoint of shards is read by replicas, and by one process (see the test)."""
    for name, spread in (("replicas", SpreadConfig()), ("shards", FULL)):

        def keep(progress: Progress, save: Save, name: str = name) -> None:
            made = folder / name / f"{progress.epoch}-{progress.step}"
            made.mkdir(parents=True, exist_ok=True)
            dist.barrier()
            save(made)
            dist.barrier()

        undisturbed, whole = train(rank, spread, on_epoch=keep, on_part=keep, parts=2)
        resumed, rest = train(rank, spread, task=PointTask(seed=3, rank=rank), resume=folder / name / "1-4")
        equal(undisturbed, resumed, 0.0)
        assert [row["loss"] for row in rest.history] == [row["loss"] for row in whole.history]
    other, _ = train(rank, SpreadConfig(), task=PointTask(seed=4, rank=rank), resume=folder / "shards" / "2-0")
    equal(undisturbed, other, 1e-4)
    assert read_progress(folder / "shards" / "1-4")["world"] == 2


def a_loss_that_is_no_number_stops_both(rank: int, folder: Path) -> None:
    """Though only one of them met it."""

    class Broken(PointTask):
        def loss(self, model: nn.Module, batch: Points) -> Tensor:
            found = super().loss(model, batch)
            return found * float("nan") if self.rank == 1 and self.judged == 1 else found

    for spread in (SpreadConfig(), FULL):
        try:
            train(rank, spread, task=Broken(rank=rank), out=folder)
        except InputError as error:
            assert "in epoch 2, step 1" in error.problem
        else:
            raise AssertionError("it went on")
    assert (folder / f"bad_batch_{rank}.pt").exists()


def links_are_learnt_on_replicas_and_shards(rank: int, folder: Path) -> None:
    """A batch is compared with the targets of both workers; both strategies end with the same states."""
    graph = load_graph(write_graph(folder / f"graph{rank}"))
    found = []
    for spread in (SpreadConfig(), FULL):
        nodes = NodesConfig(width=16, words=8, word_table=True, table=True)
        config = TrainConfig(model=nodes, optimizer=CONFIG, batch_links=32)
        task = LinkTask(graph, config, rank, 2)
        progress = fit(task, CONFIG, wrap=spreading(spread, "fp32", CPU), rank=rank, world=2)
        assert progress.history[-1]["loss"] < progress.history[0]["loss"]
        found.append(task.states())
    torch.testing.assert_close(torch.from_numpy(found[0]), torch.from_numpy(found[1]), rtol=1e-3, atol=1e-3)


def rows_that_both_make_are_whole_on_each(rank: int, folder: Path) -> None:
    """In their order, also where there are fewer rows than workers."""
    for total in (7, 1):
        rows = np.arange(total * 3, dtype=np.float32).reshape(total, 3)
        asked: list[int] = []

        def make(start: int, end: int, rows: np.ndarray = rows, asked: list[int] = asked) -> np.ndarray:
            asked.append(end - start)
            return rows[start:end]

        np.testing.assert_array_equal(rows_of_all(total, make), rows)
        assert asked == [((4, 3) if total == 7 else (1, 0))[rank]]


CHECKS: tuple[Callable[[int, Path], None], ...] = (
    replicas_and_shards_train_the_same,
    bf16_learns,
    both_resume_exactly,
    a_loss_that_is_no_number_stops_both,
    links_are_learnt_on_replicas_and_shards,
    rows_that_both_make_are_whole_on_each,
)


def main(folder: Path, rank: int) -> int:
    """Meet the other process and run the checks."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for check in CHECKS:
        check(rank, folder)
        sys.stdout.write(f"{check.__name__}\n")
        sys.stdout.flush()
    dist.destroy_process_group()
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(code)  # torch's threads of the process group may still be ending: the interpreter would abort at its exit
