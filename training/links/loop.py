"""The training loop of the link model, readable from top to bottom; plain PyTorch, on one process or on many."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from data.graph.graph import GraphArtifact
from evaluation.links import both_directions, link_metrics, link_ranks
from training.checkpoint import load_state, save_state
from training.links.batches import Batch, LinkBatches
from training.links.config import TrainConfig
from training.links.features import FEATURES
from training.links.losses import binary, contrastive
from training.links.model import LinkModel, ModelShape
from training.links.scoring import LinkScorer
from training.schedule import warmup_cosine

_LOSSES = {"contrastive": contrastive, "binary": binary}
_RELATION_SHARE = 0.1  # of the loss: naming the relation must not bend the vectors that find the link


@dataclass
class Progress:
    """The state of a training after an epoch; all of it is in the checkpoint."""

    epoch: int = 0
    best_mrr: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def fit(
    graph: GraphArtifact,
    config: TrainConfig,
    views: bool = True,
    features: tuple[str, ...] = FEATURES,
    resume: Path | None = None,
    on_epoch: Callable[[Progress, Callable[[Path], None]], None] | None = None,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    device: torch.device | None = None,
    rank: int = 0,
    world: int = 1,
) -> tuple[LinkModel, Progress]:
    """Train a link model, or the feature-only baseline, and return it with its best epoch's weights.

    Args:
        graph: nodes, text vectors and split links; only training links are learned from or passed along.
        config: model, loss, optimiser.
        views: whether it sees learned views of the documents; without them it is a network over the pair features.
        features: the pair features it sees; with ``STRUCTURE`` and no views it is the feature-only baseline.
        resume: folder of a saved state to continue from.
        on_epoch: called after every epoch on every worker, with the progress and a function that saves the state
            into a folder it is given.
        wrap: makes the model data-parallel and moves it to its device.
        device: where batches go; the CPU where None.
        rank: this worker's number.
        world: number of workers; each takes its share of every epoch.

    Raises:
        ValueError: if there are no training or no validation links.
    """
    sources, targets = graph.links("train")
    if not len(sources) or not len(graph.links("valid")[0]):
        raise ValueError(
            f"training needs training and validation links, got {len(sources)} and {len(graph.links('valid')[0])}"
        )
    torch.manual_seed(config.seed)
    vectors = np.array(graph.vectors)  # this process's own copy: sampled rows come from memory, not from disk
    relation = graph.relation[graph.split == 0].astype(np.int64)
    batches = LinkBatches(
        graph.training_graph, vectors, sources, targets, relation, config, rank, world, views, graph.words
    )
    shape = ModelShape.of(config, vectors.shape[1] if views else None, tuple(graph.relation_names), features)
    model = LinkModel(shape)
    parallel = wrap(model) if wrap is not None else model
    optimizer = torch.optim.AdamW(parallel.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    progress = Progress()
    if resume is not None:
        best, saved = load_state(resume, model, optimizer)
        progress = Progress(**saved)
    else:
        _standardise(model, next(batches.epoch(0)))
        best = _copy(model)
    schedule = warmup_cosine(config.warmup_fraction, config.epochs * batches.steps)
    while progress.epoch < config.epochs and progress.epoch - progress.best_epoch < config.patience:
        started = time.perf_counter()
        model.train()
        # Dropout's draws follow from the epoch, so that a resumed training draws what an undisturbed one would have.
        torch.manual_seed(config.seed + 1_000_003 * (world * (progress.epoch + 1) + rank))
        losses = []
        for step, batch in enumerate(batches.epoch(progress.epoch)):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * schedule(progress.epoch * batches.steps + step)
            loss = _loss(parallel, batch.to(device), config)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parallel.parameters(), config.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
        trained = time.perf_counter()
        mrr = _validate(model, graph, vectors, config)
        progress.epoch += 1
        if mrr > progress.best_mrr:
            progress.best_mrr, progress.best_epoch, best = mrr, progress.epoch, _copy(model)
        progress.history.append(
            {
                "epoch": progress.epoch,
                "loss": round(float(torch.stack(losses).mean()), 5),
                "valid_mrr": round(mrr, 5),
                "seconds": round(trained - started, 3),
                "valid_seconds": round(time.perf_counter() - trained, 3),
                "links_per_s": round(len(losses) * config.batch_links / (trained - started), 1),
            }
        )
        if on_epoch is not None:
            on_epoch(
                progress, partial(save_state, model=model, best=best, optimizer=optimizer, progress=vars(progress))
            )
    model.load_state_dict(best)
    return model.eval(), progress


def _loss(model: nn.Module, batch: Batch, config: TrainConfig) -> Tensor:
    logits_SC, relation_SR = model(
        batch.text_ND,
        batch.edges_2E,
        batch.sources_S,
        batch.candidates_C,
        batch.positive_S,
        batch.features_FSC,
        batch.reach,
    )
    loss: Tensor = _LOSSES[config.loss](logits_SC, batch.positive_S, batch.log_weight_SC)
    if relation_SR is not None:
        # A link met from its target's side does not show its direction: only those met forward count.
        per_link_S = nn.functional.cross_entropy(relation_SR, batch.relation_S, reduction="none")
        forward_S = batch.forward_S.to(per_link_S.dtype)
        loss = loss + _RELATION_SHARE * (per_link_S * forward_S).sum() / forward_S.sum().clamp(min=1)
    return loss


def _validate(model: LinkModel, graph: GraphArtifact, vectors: np.ndarray, config: TrainConfig) -> float:
    """Filtered MRR of a fixed sample of validation links, both ways, against every document.

    Every worker computes it for itself: the weights are equal, and so all workers stop at the same epoch.
    """
    sources, targets = graph.links("valid")
    sample = np.random.default_rng(config.seed).permutation(len(sources))[: config.valid_links]
    s, t = sources[sample], targets[sample]
    scorer = LinkScorer(model, graph.training_graph, vectors, graph.words)
    return link_metrics(link_ranks(scorer.score, *both_directions(s, t), graph.known_graph))["mrr"]


def _standardise(model: LinkModel, batch: Batch) -> None:
    """Scale pair features to zero mean and unit spread, as seen in the first batch of rank 0's shuffle."""
    flat_FP = model.seen(batch.features_FSC).flatten(1)
    model.feature_mean_F.copy_(flat_FP.mean(1))
    model.feature_std_F.copy_(flat_FP.std(1).clamp(min=1e-3))


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
