"""What an encoder learns from a run's corpus: ``catena encoder idf`` and ``catena encoder fuse``.

Both write the file that the run file names, so that the encoder which reads it is described there whole.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.encoders.chain import encoders_in
from data.encoders.config import (
    EncoderConfig,
    EnsembleConfig,
    EnsembleEncoderConfig,
    HashedConfig,
    HashedEncoderConfig,
    alternatives,
)
from data.errors import InputError
from data.partitions import partitions, read_batches, read_table
from data.passages.text import passage_text
from ray_apps.config import RunConfig
from ray_apps.ingest import chunk, ingest

if TYPE_CHECKING:
    from training.encoders.fusion import Examples, Pairs

logger = logging.getLogger("catena")

_COUNTED = 64  # partitions that words are counted in, evenly spread


def idf(run: RunConfig) -> dict[str, Any]:
    """Count the words of a sample of the passages, and write the weights that the run's hashed encoders name.

    Returns:
        ``run``, and ``encoder`` with the ``files`` written and the number of ``terms``.

    Raises:
        InputError: if the run has no hashed encoder that names a file.
    """
    from data.encoders.hashed import Idf

    wanted = {config.idf: config for config in _hashed(run.encoder) if config.idf is not None}
    if not wanted:
        raise InputError(
            "catena encoder idf: no hashed encoder of this run names a file for its weights",
            "Set encoder.hashed.idf (or that of a member or fallback) to the file to write.",
        )
    passages = chunk(run).path / "passages"
    terms = 0
    for path, config in wanted.items():
        assert path is not None
        fitted = Idf.fit(_sampled(passages), config.language)
        fitted.save(path, config.language)
        terms = len(fitted.terms)
        logger.info("encoder: weights of %d terms in %s", terms, path)
    return {"run": run.name, "encoder": {"files": ", ".join(map(str, wanted)), "terms": terms}}


def fuse(run: RunConfig) -> dict[str, Any]:
    """Learn the attention of the run's ensemble, judge it beside its members, and write the file that it names.

    Returns:
        ``run``, and ``encoder``: nDCG@10 on questions held out, of each member alone, of the concatenation and of the
        attention; ``pairs``, ``test_questions``, ``best_epoch`` (0: nothing learned was better) and ``file``.

    Raises:
        InputError: if the run has no such ensemble, or the corpus nothing to learn from.
    """
    from data.encoders import check_model
    from data.encoders.config import BATCH_TOKENS
    from data.encoders.ensemble.encoder import load_members
    from data.encoders.ensemble.fusion import Concatenation, shares
    from training.encoders.fusion import judge, learn

    config = _ensemble(run.encoder)
    for member in config.members:
        check_model(member)
    assert config.attention is not None  # the config's own check
    encode_with = gather(run)
    members = load_members(config, BATCH_TOKENS, None)
    examples = encode_with(
        lambda texts: [member.encode(texts) for member in members],
        lambda texts: [member.encode_queries(texts) for member in members],
    )
    learned = learn(examples, run.fuse, config.weights)
    plain = Concatenation(shares(config.weights, len(members)), tuple(member.dim for member in members))
    figures = judge(examples, learned.test, {"concatenation": plain, "attention": learned.fusion})
    learned.fusion.save(config.attention, [member.fingerprint for member in members])
    by_name = zip([member.label for member in config.members], list(figures.values())[: len(members)], strict=True)
    return {
        "run": run.name,
        "encoder": {
            **{f"ndcg@10 {name}": round(figure, 4) for name, figure in by_name},
            **{f"ndcg@10 {name}": round(figures[name], 4) for name in ("concatenation", "attention")},
            "pairs": len(examples.pairs),
            "test_questions": len(learned.test),
            "best_epoch": learned.epoch,
            "file": str(config.attention),
        },
    }


Encode = Callable[[list[str]], list[Any]]


def _hashed(config: EncoderConfig) -> Iterator[HashedConfig]:
    """Every hashed encoder in a chain and its ensembles."""
    yield from (encoder.hashed for encoder in encoders_in(config) if isinstance(encoder, HashedEncoderConfig))


def _ensemble(config: EncoderConfig) -> EnsembleConfig:
    for encoder in alternatives(config):
        if isinstance(encoder, EnsembleEncoderConfig) and encoder.ensemble.attention is not None:
            return encoder.ensemble
    raise InputError(
        "catena encoder fuse: the run has no ensemble with fusion: attention",
        "Set encoder.ensemble: members, fusion: attention, and attention, the file to write.",
    )


def _sampled(passages: Path) -> Iterator[str]:
    paths = partitions(passages)
    for path in paths[:: -(-len(paths) // _COUNTED) or 1]:
        table = pq.read_table(path, columns=["title", "text"])
        yield from map(passage_text, table["title"].to_pylist(), table["text"].to_pylist())


def gather(run: RunConfig) -> Callable[[Encode, Encode], "Examples"]:
    """Find what belongs together in a run's corpus.

    Returns:
        Makes the examples once it is given functions from documents and from questions to one array of each member:
        nothing is encoded before it is known that there is something to learn from.

    Raises:
        InputError: if the corpus has neither answers nor links, or not those asked for.
    """
    from training.encoders.fusion import Examples

    ingested, wanted = ingest(run), run.fuse.learn_from
    tables, counts = ingested.path, ingested.result
    answers, linked = counts["queries"] > 0 and counts["qrels"] > 0, counts["links"] > 0
    has_answers = wanted != "links" and answers
    from_links = not has_answers and wanted != "qrels" and linked
    if not (has_answers or from_links):
        raise InputError(
            f"catena encoder fuse: nothing to learn from: {counts['qrels']} answers to questions and {counts['links']} "
            f"links, and fuse.learn_from is {wanted}",
            f"{'Set fuse.learn_from to what it has, or use' if answers or linked else 'Use'} fusion: concatenation, "
            "which learns nothing.",
        )
    if has_answers:
        ids, texts = _questions(tables)
        pairs = _pairs(tables / "qrels", "query_id", "document_id")
    else:
        ids, texts = [], []
        pairs = _pairs(tables / "links", "source", "target")
    rng = np.random.default_rng(run.fuse.seed)
    drawn = [pairs[n] for n in np.sort(rng.permutation(len(pairs))[: run.fuse.max_pairs])]
    needed = {end for pair in drawn for end in (pair if from_links else pair[1:])}
    documents, read = _documents(tables / "documents", needed, run.fuse.max_documents, rng)
    if from_links:
        numbered = _numbered(drawn, documents, documents)
    else:
        numbered = _numbered(drawn, {id_: n for n, id_ in enumerate(ids)}, documents)
    logger.info("fuse: %d pairs, %d documents", len(numbered), len(documents))

    def encode(documents_by: Encode, questions_by: Encode) -> Examples:
        vectors = documents_by(read)
        return Examples(vectors if from_links else questions_by(texts), vectors, numbered, same=from_links)

    return encode


def _questions(tables: Path) -> tuple[list[str], list[str]]:
    table = read_table(tables / "queries", ["id", "text"])
    return table["id"].to_pylist(), table["text"].to_pylist()


def _pairs(table: Path, left: str, right: str) -> list[tuple[str, str]]:
    """Both ends of every row; of judgements, those above 0."""
    rows = read_table(table)
    if "score" in rows.column_names:
        rows = rows.filter(pc.greater(rows["score"], 0))
    return list(zip(rows[left].to_pylist(), rows[right].to_pylist(), strict=True))


def _documents(table: Path, needed: set[str], most: int, rng: np.random.Generator) -> tuple[dict[str, int], list[str]]:
    """Numbers and texts of the documents that pairs name, and of others drawn evenly up to a number in all."""
    room = max(0, most - len(needed))
    found: list[tuple[str, str]] = []
    drawn: list[tuple[str, str]] = []
    passed = 0
    for batch in read_batches(table, ["id", "title", "text"]):
        for id_, title, text in zip(*(batch[name].to_pylist() for name in ("id", "title", "text")), strict=True):
            if id_ in needed:
                found.append((id_, passage_text(title, text)))
                continue
            passed += 1  # reservoir sampling (Vitter, 1985): the corpus may be of any size
            place = len(drawn) if len(drawn) < room else int(rng.integers(passed))
            if place < room:
                drawn[place : place + 1] = [(id_, passage_text(title, text))]
    both = found + drawn
    return {id_: n for n, (id_, _) in enumerate(both)}, [text for _, text in both]


def _numbered(pairs: list[tuple[str, str]], left: dict[str, int], right: dict[str, int]) -> "Pairs":
    """Pairs by number, int64 (P, 2); those of which an end is unknown are left out."""
    known = [(left[a], right[b]) for a, b in pairs if a in left and b in right]
    return np.array(sorted(set(known)), dtype=np.int64).reshape(-1, 2)
