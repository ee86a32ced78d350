"""Learning the attention of a run's ensemble: examples of the corpus, encoded by every member, judged beside them."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from data.encoders import check_model, load_encoder
from data.encoders.config import EnsembleConfig
from data.encoders.ensemble.fusion import Concatenation, shares
from data.encoders.protocol import Vectors
from data.errors import InputError
from training.encoders.config import FuseConfig
from training.encoders.examples import Corpus, draw, numbered
from training.encoders.fusion import Examples, judge, learn
from training.encoders.seen import Marks, pair_marks

logger = logging.getLogger("catena")

Encode = Callable[[list[str]], list[Vectors]]
"""Texts to the vectors of each member, float32 (n, d_i)."""


class FuseExamples:
    """Pairs of a corpus that a fusion is learned from, with their texts; nothing is encoded yet.

    Args:
        corpus: questions and answers, or training links.
        config: which of them, how many pairs and documents.

    Raises:
        InputError: if the corpus has neither answers nor links, or not those asked for.
    """

    def __init__(self, corpus: Corpus, config: FuseConfig) -> None:
        answered, linked = corpus.answered(), corpus.linked()
        if answered and config.learn_from != "links":
            self._of_links, pairs = False, answered
        elif linked and config.learn_from != "qrels":
            self._of_links, pairs = True, linked
        else:
            raise _nothing_to_learn_from(len(answered), len(linked), config.learn_from)
        rng = np.random.default_rng(config.seed)
        drawn = draw(pairs, config.max_pairs, rng)
        needed = {end for pair in drawn for end in (pair if self._of_links else pair[1:])}
        documents = corpus.texts(needed, max(0, config.max_documents - len(needed)), rng)
        questions = documents if self._of_links else corpus.questions()
        self._documents, self._questions = list(documents.values()), list(questions.values())
        number_of_document = {id_: number for number, id_ in enumerate(documents)}
        number_of_question = {id_: number for number, id_ in enumerate(questions)}
        self.pairs = numbered(drawn, number_of_question, number_of_document)
        logger.info("fuse: %d pairs, %d documents", len(self.pairs), len(documents))

    def encoded(self, encode: Encode, encode_queries: Encode) -> Examples:
        """The examples as the members of an ensemble see them."""
        vectors = encode(self._documents)
        asked = vectors if self._of_links else encode_queries(self._questions)
        return Examples(asked, vectors, self.pairs, same=self._of_links)

    def seen(self, held_out: npt.NDArray[np.int64]) -> Marks:
        """Marks of the pairs that are learned from or chosen by: all but those of the questions held out."""
        pairs = self.pairs[~np.isin(self.pairs[:, 0], held_out)]
        return pair_marks([self._questions[q] for q in pairs[:, 0]], [self._documents[d] for d in pairs[:, 1]])


def fuse_members(examples: FuseExamples, ensemble: EnsembleConfig, config: FuseConfig) -> dict[str, Any]:
    """Learn the attention of an ensemble, judge it beside its members, and write the file that the ensemble names.

    Args:
        examples: what to learn from.
        ensemble: members, their weights, and the file to write, ``attention``.
        config: optimiser, splits, seed.

    Returns:
        nDCG@10 on questions held out, of each member alone, of the concatenation and of the attention; ``pairs``,
        ``test_questions``, ``best_epoch`` (0: nothing learned was better) and ``file``.

    Raises:
        InputError: if a member cannot be loaded, or there are too few questions to hold some out.
    """
    file = ensemble.attention
    assert file is not None  # the config's own check
    for member in ensemble.members:
        check_model(member)
    members = [load_encoder(member) for member in ensemble.members]
    seen = examples.encoded(
        lambda texts: [member.encode(texts) for member in members],
        lambda texts: [member.encode_queries(texts) for member in members],
    )
    learned = learn(seen, config, ensemble.weights)
    plain = Concatenation(shares(ensemble.weights, len(members)), tuple(member.dim for member in members))
    figures = judge(seen, learned.test, {"concatenation": plain, "attention": learned.fusion})
    learned.fusion.save(file, [member.fingerprint for member in members], examples.seen(learned.test))
    by_name = zip([member.label for member in ensemble.members], list(figures.values())[: len(members)], strict=True)
    return {
        **{f"ndcg@10 {name}": round(figure, 4) for name, figure in by_name},
        **{f"ndcg@10 {name}": round(figures[name], 4) for name in ("concatenation", "attention")},
        "pairs": len(seen.pairs),
        "test_questions": len(learned.test),
        "best_epoch": learned.epoch,
        "file": str(file),
    }


def _nothing_to_learn_from(answers: int, links: int, learn_from: str) -> InputError:
    return InputError(
        f"catena encoder fuse: nothing to learn from: {answers} answers to questions and {links} training links, and "
        f"fuse.learn_from is {learn_from}",
        f"{'Change fuse.learn_from, or use' if answers or links else 'Use'} fusion: concatenation, which "
        "learns nothing.",
    )
