"""Losses over shared candidates. Shapes: B questions, C candidates, W relations and ways back."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from training.typed.config import TypedConfig
from training.typed.model import Answered
from training.typed.questions import Questions


def typed_loss(answered: Answered, asked: Questions, config: TypedConfig, distance: bool) -> Tensor:
    """Mean loss of a batch's questions, with regularisation and relation prediction.

    Predicting the relation from both ends makes relations tell entities apart (Chen, Minervini, Riedel and Stenetorp,
    AKBC 2021). Here the ways back are among the classes, so that it learns direction too.

    Args:
        answered: scores of the model.
        asked: the questions.
        config: which loss, and the weights of its parts.
        distance: whether scores are negative distances, to which the margin belongs.
    """
    mask_BC = torch.zeros_like(answered.scores_BC, dtype=torch.bool)
    mask_BC[asked.known_2K[0], asked.known_2K[1]] = True
    scores_BC = answered.scores_BC.float().masked_fill(mask_BC, -torch.inf)
    if config.loss == "softmax":
        loss = cross_entropy(scores_BC + asked.log_weight_C, asked.target_B)
    else:
        margin = config.margin if distance else 0.0
        loss = self_adversarial(scores_BC, asked, margin, config.adversarial_temperature)
    if config.relation_prediction:
        loss = loss + config.relation_prediction * cross_entropy(answered.ways_BW.float(), asked.relation_B)
    return loss + answered.penalty


def self_adversarial(scores_BC: Tensor, asked: Questions, margin: float, temperature: float) -> Tensor:
    """Margin loss in which negatives weigh as much as the model believes in them (Sun et al., ICLR 2019).

    Args:
        scores_BC: of candidates; minus infinity where one is another known answer.
        asked: where the true tails are, and how many entities a candidate stands for.
        margin: added to every score.
        temperature: how much more high scores weigh; at 0 all weigh alike.
    """
    rows = torch.arange(len(scores_BC), device=scores_BC.device)
    true_B = scores_BC[rows, asked.target_B] + margin
    negative_BC = scores_BC.index_put((rows, asked.target_B), scores_BC.new_tensor(-torch.inf))
    counted_BC = negative_BC.isfinite()
    belief_BC = (temperature * negative_BC.detach() + asked.log_weight_C).masked_fill(~counted_BC, -1e9)
    weight_BC = belief_BC.softmax(dim=1) * counted_BC
    against_BC = logsigmoid(-negative_BC.masked_fill(~counted_BC, 0.0) - margin)
    return -(logsigmoid(true_B) + (weight_BC * against_BC).sum(dim=1)).mean() / 2
