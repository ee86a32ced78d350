"""Fine-tuning an encoder so that the first numbers of its vectors are a vector too; plain PyTorch, readable in order.

Kusupati et al., "Matryoshka Representation Learning", NeurIPS 2022: one loss for each of a few dimensions, summed.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from data.errors import InputError
from training.checkpoint import load_state, save_state
from training.encoders.config import MatryoshkaConfig
from training.encoders.matryoshka_judge import Figures, tokens, validate
from training.encoders.pairs import Pairs
from training.schedule import warmup_linear

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@dataclass
class Progress:
    """The state of a fine-tuning after an epoch; all of it is in the checkpoint. Epoch 0 is before training."""

    epoch: int = 0
    best_score: float = -1.0
    best_epoch: int = 0
    history: list[Figures] = field(default_factory=list)


def matryoshka_loss(
    anchors_BW: Tensor, positives_BW: Tensor, masked_BB: Tensor, dims: Sequence[int], temperature: float
) -> Tensor:
    """Sum over dimensions of the in-batch contrastive loss of the vectors cut to that dimension, both ways.

    For each dimension d, vectors are cut to their first d numbers and brought to unit length again; the softmax of
    cosines over ``temperature`` is to name each anchor's positive among the batch's, and each positive's anchor
    (van den Oord et al., 2018; Radford et al., 2021).

    Args:
        anchors_BW: vectors of B anchors.
        positives_BW: vectors of what belongs to each.
        masked_BB: bool, true where column j is no negative of row i, because it belongs to it as well; its diagonal,
            the pairs themselves, is false.
        dims: dimensions, each at most W.
        temperature: above 0.
    """
    same_B = torch.arange(len(anchors_BW), device=anchors_BW.device)
    loss = anchors_BW.new_zeros(())
    for dim in dims:
        anchors_BD = nn.functional.normalize(anchors_BW[:, :dim], dim=1)
        positives_BD = nn.functional.normalize(positives_BW[:, :dim], dim=1)
        logits_BB = (anchors_BD @ positives_BD.T / temperature).masked_fill(masked_BB, -math.inf)
        both = [nn.functional.cross_entropy(logits, same_B) for logits in (logits_BB, logits_BB.T)]
        loss = loss + sum(both) / 2
    return loss


class PairEncoder(nn.Module):
    """Both sides of a batch in one forward pass, as data-parallel training wants it.

    Args:
        model: a sentence-transformers model.
    """

    def __init__(self, model: "SentenceTransformer") -> None:
        super().__init__()
        self.model = model

    def forward(self, anchors: dict[str, Tensor], positives: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Vectors of anchors and positives, each float32 of shape (B, W)."""
        return self.model(anchors)["sentence_embedding"], self.model(positives)["sentence_embedding"]


def freeze_lowest(model: "SentenceTransformer", layers: int) -> None:
    """Leave word embeddings and the lowest ``layers`` layers of a transformer as they are.

    Raises:
        InputError: if it has fewer layers.
    """
    stacks = [module for module in model[0].modules() if isinstance(module, nn.ModuleList)]
    stack = max(stacks, key=len, default=nn.ModuleList())
    if layers > len(stack):
        raise InputError(
            f"matryoshka.frozen_layers: {layers}, and the model has {len(stack)}", f"Give at most {len(stack)}."
        )
    if layers:
        for weights in model[0].parameters():
            weights.requires_grad_(False)
        for layer in list(stack)[layers:]:
            layer.requires_grad_(True)


def fit(
    model: "SentenceTransformer",
    pairs: Pairs,
    config: MatryoshkaConfig,
    resume: Path | None = None,
    on_epoch: Callable[[Progress, Callable[[Path], None]], None] | None = None,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    device: torch.device | None = None,
    rank: int = 0,
    world: int = 1,
) -> Progress:
    """Fine-tune a model in place; it ends with its best epoch's weights, which may be those it came with.

    Args:
        model: a sentence-transformers model, in fp32.
        pairs: training and held-out pairs.
        config: dimensions, loss, optimiser.
        resume: folder of a saved state to go on from.
        on_epoch: called after every epoch on every worker, with the progress and a function that saves the state
            into a folder it is given.
        wrap: makes the model data-parallel and moves it to its device.
        device: where batches go; the CPU where None.
        rank: this worker's number.
        world: number of workers; each takes its share of every epoch.
    """
    freeze_lowest(model, config.frozen_layers)
    model.max_seq_length = min(config.max_length, model.max_seq_length or config.max_length)
    encoder = PairEncoder(model)
    parallel = wrap(encoder) if wrap is not None else encoder
    place = device or torch.device("cpu")
    trained = [weights for weights in encoder.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = pairs.steps(config.batch_pairs, world)
    schedule = warmup_linear(config.warmup_fraction, config.epochs * steps)
    if resume is not None:
        best, saved = load_state(resume, model, optimizer)
        progress = Progress(**saved)
    else:
        figures = validate(model, pairs, config, place)
        progress = Progress(best_score=_score(figures), history=[{"epoch": 0, **figures}])
        best = _copy(model)
    while progress.epoch < config.epochs:
        started = time.perf_counter()
        model.train()
        # Dropout's draws follow from the epoch, so that a resumed training draws what an undisturbed one would have.
        torch.manual_seed(config.seed + 1_000_003 * (world * (progress.epoch + 1) + rank))
        losses = []
        for step, batch in enumerate(pairs.batches(progress.epoch, config.batch_pairs, config.seed, rank, world)):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule(progress.epoch * steps + step)
            anchors_BW, positives_BW = parallel(
                tokens(model, batch.anchors, place), tokens(model, batch.positives, place)
            )
            masked_BB = torch.from_numpy(batch.masked_BB).to(place)
            loss = matryoshka_loss(anchors_BW, positives_BW, masked_BB, config.dims, config.temperature)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(trained, config.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
        seconds = time.perf_counter() - started
        figures = validate(model, pairs, config, place)
        progress.epoch += 1
        if _score(figures) > progress.best_score:
            progress.best_score, progress.best_epoch, best = _score(figures), progress.epoch, _copy(model)
        loss_mean = round(float(torch.stack(losses).mean()), 5)
        rate = round(steps * config.batch_pairs / seconds, 2)
        progress.history.append({"epoch": progress.epoch, "loss": loss_mean, **figures, "pairs_per_s": rate})
        if on_epoch is not None:
            on_epoch(
                progress, partial(save_state, model=model, best=best, optimizer=optimizer, progress=vars(progress))
            )
    model.load_state_dict(best)
    model.eval()
    return progress


def _score(figures: Figures) -> float:
    """What an epoch is chosen by: the mean over the dimensions."""
    return sum(figures.values()) / len(figures)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: weights.detach().clone() for name, weights in model.state_dict().items()}
