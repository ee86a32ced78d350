"""Count the weights of words of the run's hashed encoders, and write the files that the run names for them."""

import logging
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data.encoders.config import HashedEncoderConfig, encoders_in
from data.errors import InputError
from data.partitions import partitions
from ray_apps.command import Command
from ray_apps.plan import Plan

logger = logging.getLogger("catena")

SAMPLED_PARTITIONS = 64  # evenly spread


def idf(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Count the words of a sample of the passages, and write the weights that the run's hashed encoders name.

    Returns:
        ``run``, and ``encoder`` with the ``files`` written and the number of ``terms``.

    Raises:
        InputError: if the run has no hashed encoder that names a file.
    """
    from data.encoders.hashed import Idf

    hashed = (one.hashed for one in encoders_in(plan.run.encoder) if isinstance(one, HashedEncoderConfig))
    wanted = {config.idf: config for config in hashed if config.idf is not None}
    if not wanted:
        raise InputError(
            "catena encoder idf: no hashed encoder of this run names a file for its weights",
            "Set encoder.hashed.idf (or that of a member or fallback) to the file to write.",
        )
    passages = plan.bring("chunk").path / "passages"
    terms = 0
    for path, config in wanted.items():
        assert path is not None
        fitted = Idf.fit(_texts(passages), config.language)
        fitted.save(path, config.language)
        terms = len(fitted.terms)
        logger.info("encoder: weights of %d terms in %s", terms, path)
    return {"run": plan.run.name, "encoder": {"files": ", ".join(map(str, wanted)), "terms": terms}}


def _texts(passages: Path) -> Iterator[str]:
    from data.passages.text import passage_texts

    paths = partitions(passages)
    for path in paths[:: -(-len(paths) // SAMPLED_PARTITIONS) or 1]:
        table = pq.read_table(path, columns=["title", "text"])
        yield from passage_texts(table["title"], table["text"]).to_pylist()


COMMAND = Command(
    name="encoder idf",
    summary="count the weights of words of hashed encoders",
    call=idf,
    sections=("source", "chunk", "encoder"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["encoder", "idf", *sys.argv[1:]]))
