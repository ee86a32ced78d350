"""Neighbour sampling for graphs that do not fit, in NumPy alone, behind PyG's sampler interface."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.sampler import BaseSampler, EdgeSamplerInput, NodeSamplerInput, SamplerOutput

from data.graph.draws import with_replacement, without_replacement
from data.graph.neighbourhoods import Integers, Neighbourhoods, bisect
from data.graph.numbering import Numbered, OneNumbering, SeedNumbering


@dataclass(frozen=True)
class Sampled:
    """A subgraph around seeds; nodes and edges in the order they were found, hop by hop.

    Shapes:
        node: int64 (k,), global numbers, the seeds first.
        source, target: int64 (e,), local numbers; edges point towards the seeds, those of one target stand together.
        edge: int64 (e,), numbers of the edges as they were given to ``Neighbourhoods``.
        relation: int64 (e,); None where there is one relation.
        seed: int64 (k,), whose subgraph a node is in; None where all seeds share one.
        nodes_per_hop, edges_per_hop: counts; the seeds are the first of the former.
    """

    node: Integers
    source: Integers
    target: Integers
    edge: Integers
    relation: Integers | None
    seed: Integers | None
    nodes_per_hop: list[int]
    edges_per_hop: list[int]


class NeighborSampler(BaseSampler):
    """Draws for each node, and of each relation, ``fan_out[hop]`` of its neighbours, uniformly.

    GraphSAGE's sampling (Hamilton, Ying and Leskovec, NeurIPS 2017). PyG's own needs compiled packages; this one goes
    into its ``NodeLoader`` and ``LinkLoader`` as ``node_sampler`` and ``link_sampler``. Not for two threads at once.

    Args:
        neighbourhoods: edges of n nodes.
        fan_out: neighbours drawn a node and relation, one number a hop; 0 draws none, -1 takes all.
        seed: of all draws: the same seed and the same calls give the same subgraphs.
        replace: whether a neighbour may be drawn again; otherwise a node has at most as many as it has edges.

    Raises:
        ValueError: if a fan-out is below -1.
    """

    def __init__(
        self,
        neighbourhoods: Neighbourhoods,
        fan_out: Sequence[int],
        seed: int | Sequence[int] = 0,
        replace: bool = False,
    ) -> None:
        if min(fan_out, default=0) < -1:
            raise ValueError(f"a fan-out is a number of neighbours, 0 for none or -1 for all, not {min(fan_out)}")
        self.neighbourhoods, self.fan_out = neighbourhoods, tuple(fan_out)
        self.rng = np.random.default_rng(seed)
        self._draw = with_replacement if replace else without_replacement
        self._local = np.full(neighbourhoods.num_nodes, -1, np.int32)

    @property
    def edge_permutation(self) -> None:
        """PyG asks how edges were reordered; they keep the numbers they were given."""
        return None

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: object) -> SamplerOutput:
        """Subgraph around seed nodes, for ``NodeLoader``; see ``sample``."""
        time = None if index.time is None else index.time.numpy()
        return _for_pyg(self.sample(index.node.numpy(), time=time), (index.input_id, index.time))

    def sample_from_edges(self, index: EdgeSamplerInput, neg_sampling: object = None) -> SamplerOutput:
        """Subgraph around both ends of seed edges, without those edges, for ``LinkLoader``; see ``sample``.

        Raises:
            ValueError: if PyG wants negatives drawn: known links would be among them.
        """
        if neg_sampling is not None:
            raise ValueError("the sampler draws no negatives, since known links would be among them: neg_sampling=None")
        ends = np.stack([index.row.numpy(), index.col.numpy()])
        time = None if index.time is None else np.tile(index.time.numpy(), 2)
        seeds, place = np.unique(ends, return_inverse=True)
        if time is not None:
            seeds, place = ends.reshape(-1), np.arange(ends.size)
        found = self.sample(seeds, without=ends, time=time)
        labelled = torch.from_numpy(place.reshape(2, -1))
        return _for_pyg(found, (index.input_id, labelled, index.label, index.time), ends.shape[1])

    def sample(self, seeds: Integers, without: Integers | None = None, time: Integers | None = None) -> Sampled:
        """Sample ``len(fan_out)`` hops around seeds.

        With ``time`` each seed gets a subgraph of its own, since what it may see differs: no edge in it is younger than
        the seed's time. An edge of that very time may be seen.

        Args:
            seeds: int64 (s,) node numbers; without ``time``, repeats are folded and the first ones keep their order.
            without: int64 (2, k), pairs that are taken out of the graph before anything is drawn, in both directions
                and with every repeat: the supervision of a training batch.
            time: int64 (s,), in the unit of the edges' times.

        Raises:
            ValueError: if seeds have times and the edges have none.
        """
        rows = self.neighbourhoods
        if time is not None and rows.time is None:
            raise ValueError("the seeds have times and the edges have none: give times to Neighbourhoods.from_edges")
        hidden = np.zeros(0, np.int64) if without is None else rows.places(without[0], without[1])
        if time is not None:
            return self._hops(seeds, SeedNumbering(rows.num_nodes, seeds), hidden, time)
        different = seeds[np.sort(np.unique(seeds, return_index=True)[1])]
        with OneNumbering(self._local, different) as numbering:
            return self._hops(different, numbering, hidden, None)

    def _hops(self, seeds: Integers, numbers: Numbered, hidden: Integers, time: Integers | None) -> Sampled:
        rows, frontier, before, nodes = self.neighbourhoods, seeds, 0, [seeds]
        places, sources, targets = [], [], []
        for width in self.fan_out:
            seen_until = time[numbers.seed_of[before:]] if time is not None and numbers.seed_of is not None else None
            position, place = self._drawn(frontier, width, hidden, seen_until)
            source, fresh = numbers.add(rows.neighbour[place], position + before)
            places.append(place)
            sources.append(source)
            targets.append(position + before)
            before, frontier = before + len(frontier), fresh
            nodes.append(fresh)
        place = _joined(places)
        return Sampled(
            node=_joined(nodes),
            source=_joined(sources),
            target=_joined(targets),
            edge=rows.edge[place],
            relation=rows.relation_of(place) if rows.relations > 1 else None,
            seed=numbers.seed_of,
            nodes_per_hop=[len(hop) for hop in nodes],
            edges_per_hop=[len(hop) for hop in places],
        )

    def _drawn(
        self, frontier: Integers, width: int, hidden: Integers, seen_until: Integers | None
    ) -> tuple[Integers, Integers]:
        """Drawn edges of a frontier: the position in it, and the place in the rows, int64 (e,) each."""
        rows = self.neighbourhoods
        row = frontier if rows.relations == 1 else _expanded(frontier, rows.relations)
        first, last = rows.indptr[row], rows.indptr[row + 1]
        if seen_until is not None and rows.time is not None:
            last = bisect(rows.time, first, last, np.repeat(seen_until, rows.relations), "right")
        # Draws are made in rows from which the hidden edges are gone: a place there is a true place less the number of
        # hidden ones before it, and the j-th hidden one at place h is passed by the places from h - j on.
        gone = np.searchsorted(hidden, first)
        left = last - first - (np.searchsorted(hidden, last) - gone)
        drawn, entry = self._draw(left, width, self.rng)
        place = first[drawn] + entry
        if len(hidden):
            short = np.flatnonzero((left < last - first)[drawn])
            squeezed = place[short] - gone[drawn[short]]
            place[short] = squeezed + np.searchsorted(hidden - np.arange(len(hidden)), squeezed, side="right")
        return drawn // rows.relations, place


def _expanded(frontier: Integers, relations: int) -> Integers:
    return np.asarray((frontier[:, None] * relations + np.arange(relations)).reshape(-1), np.int64)


def _joined(parts: list[Integers]) -> Integers:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _for_pyg(found: Sampled, metadata: tuple[object, ...], seeds: int = 0) -> SamplerOutput:
    """As PyG's loaders read it; the relations of the edges are the last of ``metadata``.

    Args:
        found: the subgraph.
        metadata: what the loaders look up by place.
        seeds: number of seed edges, whose two ends count as one seed; 0 for seed nodes.
    """
    seed = found.seed if found.seed is None or not seeds else found.seed % seeds
    return SamplerOutput(
        node=torch.from_numpy(found.node),
        row=torch.from_numpy(found.source),
        col=torch.from_numpy(found.target),
        edge=torch.from_numpy(found.edge),
        batch=None if seed is None else torch.from_numpy(seed),
        num_sampled_nodes=found.nodes_per_hop,
        num_sampled_edges=found.edges_per_hop,
        metadata=(*metadata, None if found.relation is None else torch.from_numpy(found.relation)),
    )
