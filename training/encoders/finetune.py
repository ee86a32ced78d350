"""Fine-tuning of a run's encoder on its training links, on Ray Train, judged by its validation links."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from data.encoders.config import BATCH_TOKENS, TransformerConfig
from data.encoders.transformer.batches import TextBatches
from data.encoders.transformer.encoder import TorchModel
from data.encoders.transformer.models import Prompts, open_model, prompts_of
from data.encoders.transformer.tokens import Tokeniser
from training.encoders.config import FineTuneConfig
from training.encoders.examples import Corpus
from training.encoders.linked import Encode, LinkedPairs, read_linked, write_linked
from training.encoders.seen import keep_marks, pair_marks
from training.encoders.task import FineTuneTask, Tuning
from training.encoders.tuned import MODEL, check_fits, run_tuning, tune_here

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

logger = logging.getLogger("catena")

FIGURES = ("mrr", "hit@10", "cosine")  # of validation links


def finetune_encoder(
    corpus: Corpus, passages: Path, encoder: TransformerConfig, config: FineTuneConfig, out: Path
) -> dict[str, Any]:
    """Fine-tune a run's encoder on its training links; the finetune stage.

    Killed and started again with the same ``out``, it goes on from the last epoch. The encoder that it began with is
    kept unless one of the epochs is better on validation links.

    Args:
        corpus: of the documents and the split of links.
        passages: folder of the passages table.
        encoder: a sentence-transformers model, in fp32.
        config: pairs, negatives, optimiser, workers.
        out: receives ``model/``, a sentence-transformers folder with the marks of the pairs that it has seen.

    Returns:
        ``training_pairs``, ``valid_pairs``, ``frozen`` and ``tuned`` (``FIGURES`` of the encoder as it was, and of the
        best epoch), ``kept`` (which of the two is in ``model/``), ``best_epoch``, ``history``, ``model``.

    Raises:
        InputError: if there are too few links, or the model cannot be trained so.
    """
    check_fits(encoder.model, config.dims, config.frozen_layers, "finetune")
    split = corpus.split
    assert split is not None
    counts = write_linked(passages, split, out)
    settings = {"encoder": encoder.model_dump(), "config": config.model_dump(), "out": str(out.resolve())}
    progress = run_tuning(finetune_worker, settings, out, config.spread, config.optimizer.epochs)
    history, best = progress["history"], progress["best_epoch"]
    reached = max(history[1:], key=lambda row: row["score"])
    frozen, tuned = ({name: row[f"valid_{name}"] for name in FIGURES} for row in (history[0], reached))
    if best:
        linked = corpus.linked()
        texts = corpus.texts(end for pair in linked for end in pair)
        marks = pair_marks([texts[a] for a, _ in linked], [texts[b] for _, b in linked])
        keep_marks(marks, out / MODEL, made_from=Path(encoder.model).expanduser())
        logger.info("finetune: MRR on validation links %.4f, frozen %.4f", tuned["mrr"], frozen["mrr"])
    else:
        logger.warning(
            "finetune: no epoch is better on validation links (MRR %.4f, frozen %.4f): the frozen encoder is kept",
            tuned["mrr"],
            frozen["mrr"],
        )
    return {
        **counts,
        "frozen": frozen,
        "tuned": tuned,
        "kept": "tuned" if best else "frozen",
        "best_epoch": best,
        "history": history,
        "model": str(out / MODEL) if best else encoder.model,
    }


def finetune_worker(settings: dict[str, Any]) -> None:
    """What each Ray Train worker does."""
    encoder, config = TransformerConfig(**settings["encoder"]), FineTuneConfig(**settings["config"])
    out, model = Path(settings["out"]), open_model(encoder.model, "cpu", encoder.max_length)
    prompts = prompts_of(model, encoder)
    encode = vectors_by(encoder, int(model.max_seq_length or 512), prompts, config.optimizer.precision)
    links = read_linked(out, config, encode, prompts.document)
    tune_here(
        model,
        lambda rank, world: finetune_task(model, links, config, rank, world),
        config.optimizer,
        config.spread,
        out,
    )


def finetune_task(
    model: "SentenceTransformer", links: LinkedPairs, config: FineTuneConfig, rank: int = 0, world: int = 1
) -> FineTuneTask:
    """Fine-tuning of a model on links; arguments as of ``FineTuneTask``."""
    tuning = Tuning(
        section="finetune",
        seed=config.optimizer.seed,
        **{name: getattr(config, name) for name in Tuning.__annotations__ if name in FineTuneConfig.model_fields},
    )
    return FineTuneTask(model, links, tuning, rank, world)


def vectors_by(config: TransformerConfig, length: int, prompts: Prompts, precision: str) -> Encode:
    """What makes documents' vectors of a model in training, as the embedding does: batches of like length, all cores.

    Args:
        config: says which end of a long text is cut.
        length: tokens that are read, which may be more than in training.
        prompts: put before each text.
        precision: fp32 or bf16.
    """

    def encode(model: "SentenceTransformer", texts: pa.Array) -> npt.NDArray[np.float32]:
        computed = TorchModel(model) if precision == "fp32" else TorchModel(model).in_precision(precision)
        tokenise = Tokeniser(model.tokenizer, length, config.truncate)
        batches = TextBatches(computed, tokenise, prompts, BATCH_TOKENS, torch.get_num_threads())
        return batches.documents(texts.to_pylist(), refuse=False).vectors

    return encode
