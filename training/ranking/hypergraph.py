"""Messages between tools, the capabilities that use them, and the groups that capabilities are part of.

A capability is a hyperedge over tools, and a group one over capabilities: a super-hypergraph. A round of messages goes
up (tools to capabilities to groups) and down again. What is sent is what was learned of the sender, whole, and its text
through a gate of zeros; so before training, when nothing has been learned, no state is changed, and how much it is
after is something to measure. What arrives is summed: a request that needs two tools is like what was learned of both.

Shapes: S senders, R receivers, M incidences (pairs of both), A heads of attention, D dimensions of a state.
"""

import torch
from torch import Tensor, nn


def segment_mean(values_MD: Tensor, to_M: Tensor, count: int) -> Tensor:
    """Mean of what each receiver gets, (count, D); zeros where it gets nothing."""
    sums = values_MD.new_zeros(count, values_MD.shape[1]).index_add(0, to_M, values_MD)
    got = torch.bincount(to_M, minlength=count).clamp(min=1)
    return sums / got[:, None]


def segment_softmax(logits_MA: Tensor, to_M: Tensor, count: int) -> Tensor:
    """Softmax over the incidences of each receiver, (M, A)."""
    heads = logits_MA.shape[1]
    largest = logits_MA.new_full((count, heads), -torch.inf)
    largest = largest.scatter_reduce(0, to_M[:, None].expand(-1, heads), logits_MA.detach(), "amax")
    powers = torch.exp(logits_MA - largest[to_M])
    sums = powers.new_zeros(count, heads).index_add(0, to_M, powers)
    return powers / sums[to_M].clamp(min=1e-12)


class Attention(nn.Module):
    """Multi-head attention along incidences; each head weighs its own stretch of what is sent.

    A receiver asks by ``W_q x``, a sender answers by ``W_k x``; the softmax of their scaled products is over what is
    joined to the receiver (Vaswani et al., 2017, on the sparse pattern of Velickovic et al., ICLR 2018), and times its
    degree, so that equal shares are a sum (a degree scaler, Corso et al., NeurIPS 2020).

    Args:
        dim: D.
        heads: A, a divisor of D.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask, self.told = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)

    def forward(self, sent_SD: Tensor, sender_SD: Tensor, receiver_RD: Tensor, from_M: Tensor, to_M: Tensor) -> Tensor:
        """What arrives, (R, D); zeros where nothing is joined.

        Args:
            sent_SD: what is sent.
            sender_SD: states of the senders, by which they are weighed.
            receiver_RD: states of the receivers.
            from_M: int64, number of the sender of each incidence.
            to_M: int64, number of its receiver.
        """
        count, dim = receiver_RD.shape
        asked = self.ask(receiver_RD).view(count, self.heads, -1)[to_M]
        told = self.told(sender_SD).view(len(sender_SD), self.heads, -1)[from_M]
        logits_MA = (asked * told).sum(-1) / (dim / self.heads) ** 0.5
        degrees_R = torch.bincount(to_M, minlength=count)
        shares_MA = segment_softmax(logits_MA, to_M, count) * degrees_R[to_M][:, None]
        stretches = sent_SD.view(len(sent_SD), self.heads, -1)[from_M] * shares_MA[..., None]
        return stretches.new_zeros(count, dim).index_add(0, to_M, stretches.reshape(len(to_M), dim))


class Mean(nn.Module):
    """The mean of what is sent, through a map that starts as the identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(dim, dim, bias=False)
        nn.init.eye_(self.map.weight)

    def forward(self, sent_SD: Tensor, sender_SD: Tensor, receiver_RD: Tensor, from_M: Tensor, to_M: Tensor) -> Tensor:
        """As of ``Attention``."""
        return segment_mean(self.map(sent_SD)[from_M], to_M, len(receiver_RD))


class Gate(nn.Module):
    """What a sender sends: what was learned of it, and its text, nothing of that before training (ReZero, 2020)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.learned, self.share = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, sender_SD: Tensor, text_SD: Tensor) -> Tensor:
        """(S, D), of the senders' states and texts."""
        return self.learned * (sender_SD - text_SD) + self.share * text_SD


class Round(nn.Module):
    """One round of messages by one kind of them: tools to capabilities to groups, and back down.

    Args:
        dim: D.
        heads: of attention; None for means from vertices to hyperedges and back (two stages, as in UniGNN, Huang and
            Yang, IJCAI 2021).
        last: whether nobody asks for the tools' states afterwards.
        grouped: whether there are groups.
    """

    def __init__(self, dim: int, heads: int | None, last: bool, grouped: bool) -> None:
        super().__init__()
        self.last, self.grouped = last, grouped
        names = ("up", *(("to_groups", "from_groups") if grouped else ()), *(() if last else ("down",)))
        self.messages = nn.ModuleDict({name: Attention(dim, heads) if heads else Mean(dim) for name in names})
        self.gates = nn.ModuleDict({name: Gate(dim) for name in names})

    def forward(
        self, tool_TD: Tensor, capability_CD: Tensor, text_ND: Tensor, uses_M2: Tensor, parts_P2: Tensor
    ) -> tuple[Tensor, Tensor]:
        """States of tools and capabilities after the round.

        Args:
            tool_TD: states of tools.
            capability_CD: states of capabilities, groups among them.
            text_ND: what tools, then capabilities, are without anything learned.
            uses_M2: int64, tool and capability of each use.
            parts_P2: int64, capability and group of each membership.
        """
        tool_text, capability_text = text_ND[: len(tool_TD)], text_ND[len(tool_TD) :]

        def told(name: str, sender: Tensor, text: Tensor, receiver: Tensor, from_M: Tensor, to_M: Tensor) -> Tensor:
            sent = self.gates[name](sender, text)
            changed: Tensor = receiver + self.messages[name](sent, sender, receiver, from_M, to_M)
            return changed

        def among(name: str, capability_CD: Tensor, from_M: Tensor, to_M: Tensor) -> Tensor:
            return told(name, capability_CD, capability_text, capability_CD, from_M, to_M)

        capability_CD = told("up", tool_TD, tool_text, capability_CD, uses_M2[:, 0], uses_M2[:, 1])
        if self.grouped:
            capability_CD = among("to_groups", capability_CD, parts_P2[:, 0], parts_P2[:, 1])
            capability_CD = among("from_groups", capability_CD, parts_P2[:, 1], parts_P2[:, 0])
        if not self.last:
            tool_TD = told("down", capability_CD, capability_text, tool_TD, uses_M2[:, 1], uses_M2[:, 0])
        return tool_TD, capability_CD


class ConvRound(nn.Module):
    """PyG's ``HypergraphConv`` over the tools (Bai, Zhang and Torr, 2021), then the mean of a capability's tools."""

    def __init__(self, dim: int, last: bool) -> None:
        super().__init__()
        from torch_geometric.nn import HypergraphConv

        self.conv = HypergraphConv(dim, dim, bias=False)
        nn.init.eye_(self.conv.lin.weight)
        self.gates = nn.ModuleDict({name: Gate(dim) for name in ("tools", "up", "to_groups")})

    def forward(
        self, tool_TD: Tensor, capability_CD: Tensor, text_ND: Tensor, uses_M2: Tensor, parts_P2: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As of ``Round``."""
        tool_text, capability_text = text_ND[: len(tool_TD)], text_ND[len(tool_TD) :]
        count = len(capability_CD)
        tool_TD = tool_TD + self.conv(self.gates["tools"](tool_TD, tool_text), uses_M2.T, num_edges=count)
        sent = self.gates["up"](tool_TD, tool_text)
        capability_CD = capability_CD + segment_mean(sent[uses_M2[:, 0]], uses_M2[:, 1], count)
        sent = self.gates["to_groups"](capability_CD, capability_text)
        return tool_TD, capability_CD + segment_mean(sent[parts_P2[:, 0]], parts_P2[:, 1], count)
