"""An untrained model for a corpus: which inputs its documents have, and what is learned for each."""

import torch

from data.errors import InputError
from data.graph.graph import Graph, GraphArtifact
from training.links.config import NodesConfig, TrainConfig
from training.links.inputs import walk_vectors, words_map
from training.links.nodes import LinkModel, Shape

LINKS_A_WORD = 5  # training links for each word, from which on words have learned vectors


def model_for(graph: GraphArtifact, config: TrainConfig, links: Graph) -> LinkModel:
    """An untrained model for a graph; its weights follow from the seed.

    Args:
        graph: the corpus.
        config: what states are made of.
        links: of the training, the only ones that walks go along.
    """
    nodes = decided(config.model, graph)
    map_TV = words_map(graph.words, nodes.words, config.optimizer.seed)
    shape = Shape(
        nodes=len(graph.ids),
        text=graph.vectors.shape[1],
        words=map_TV.shape[1],
        terms=graph.words.shape[1] if graph.words is not None and graph.words.nnz else 0,
        walked=nodes.node2vec,
        relations=tuple(graph.relation_names),
        config=nodes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optimizer.seed)
        model = LinkModel(shape)
    model.words_map_TV.copy_(torch.from_numpy(map_TV))
    if model.walked_ND is not None:
        model.walked_ND.copy_(torch.from_numpy(walk_vectors(links, nodes.node2vec, config.optimizer.seed)))
    return model


def decided(nodes: NodesConfig, graph: GraphArtifact) -> NodesConfig:
    """The inputs that are left open, decided by what the corpus has.

    Learned vectors are for corpora with links enough to learn them from: with few, they learn the links by heart
    (docs/link-learning.md).

    Raises:
        InputError: if the documents bring none of the inputs that are asked for.
    """
    terms = graph.words.shape[1] if graph.words is not None and graph.words.nnz else 0
    text = nodes.text and graph.vectors.shape[1] > 0
    words = bool(nodes.words and terms)
    word_table = len(graph.links("train")[0]) >= LINKS_A_WORD * terms if nodes.word_table is None else nodes.word_table
    word_table = word_table and terms > 0
    inputs = text or words or word_table or nodes.node2vec > 0
    table = not inputs if nodes.table is None else nodes.table
    if not (inputs or table):
        raise InputError(
            "the documents have neither vectors nor words, and train.model.table is off: nothing to make states of",
            "Set train.model.table to true.",
        )
    known = {"text": text, "words": nodes.words if words else 0, "word_table": word_table, "table": table}
    return nodes.model_copy(update=known)
