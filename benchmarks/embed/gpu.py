"""The encoder on a GPU beside sentence-transformers in fp16, with a base-size model; nothing where there is no GPU.

The model is BERT-base with drawn weights: speed does not depend on them, and nothing has to be downloaded.
"""

import logging
import tempfile
from pathlib import Path

import torch

from benchmarks.embed.matrix_rate import flop_of
from benchmarks.embed.texts import sample
from benchmarks.rows import Row, median_ratio, median_seconds
from data.encoders import load_encoder
from data.encoders.config import TransformerConfig
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.models import find_model

logger = logging.getLogger("catena")

DOCUMENTS = 8192
LENGTH = 256  # tokens, of every text: the longer ones are cut
BATCH_TOKENS = 65536
PEER_BATCH = 256
ROUNDS = 3


def measure() -> list[Row]:
    """Both rows; about three minutes on one GPU."""
    if not torch.cuda.is_available():
        logger.info("bench embed: no CUDA device here, so the GPU's rows are left out")
        return []
    with tempfile.TemporaryDirectory() as folder:
        write_base_model(Path(folder))
        return rows(folder, "cuda", DOCUMENTS)


def rows(model: str, device: str, documents: int) -> list[Row]:
    """The ratio to the peer, and the share of the device's matrix rate, over the same texts."""
    from sentence_transformers import SentenceTransformer

    corpus, texts = sample(documents)
    texts = [text * (1 + LENGTH * 6 // len(text)) for text in texts]
    encoder = load_encoder(TransformerConfig(model=model, device=device), BATCH_TOKENS)
    assert isinstance(encoder, SentenceEncoder)
    peer = SentenceTransformer(model, device=device, model_kwargs={"dtype": torch.float16})
    lengths = encoder.encode_counted(texts).tokens.tolist()
    peer.encode(texts[:PEER_BATCH], batch_size=PEER_BATCH)
    ratio, ours_s, peer_s = median_ratio(
        lambda: encoder.encode(texts), lambda: peer.encode(texts, batch_size=PEER_BATCH), ROUNDS
    )
    shape = peer[0].auto_model.config
    limit = device_matrix_rate(device, shape.hidden_size, shape.intermediate_size, BATCH_TOKENS)
    what = f"{len(texts):,} texts from {corpus} of {sum(lengths) / len(texts):.0f} tokens, BERT-base"
    return [
        Row(
            id="embed.gpu_speed_ratio",
            what=f"documents per second of ours over those of SentenceTransformer.encode in fp16, batch {PEER_BATCH}; "
            f"{what}",
            value=ratio,
            unit="times",
            at_least=2.0,
            reach=3.0,
            peer=f"SentenceTransformer.encode: {len(texts) / peer_s:.0f} documents/s; "
            f"ours, {encoder.precision}: {len(texts) / ours_s:.0f}",
        ),
        Row(
            id="embed.gpu_share_of_matrix_rate",
            what=f"matrix products that our encoder gets done per second, of what the device does in bf16; {what}",
            value=100 * flop_of(shape, lengths) / ours_s / limit,
            unit="%",
            at_least=50.0,
            peer=f"matrix products alone: {limit / 1e12:.3f} TFLOP/s",
        ),
    ]


def write_base_model(folder: Path, layers: int = 12) -> None:
    """A sentence-transformers folder of BERT-base's shape with the default model's tokenizer."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(find_model(TransformerConfig().model))
    torch.manual_seed(0)
    inner = folder / "bert"
    BertModel(BertConfig(vocab_size=len(tokenizer), num_hidden_layers=layers), add_pooling_layer=False).save_pretrained(
        inner
    )
    tokenizer.save_pretrained(inner)
    transformer = Transformer(str(inner), max_seq_length=LENGTH)
    model: SentenceTransformer = SentenceTransformer(modules=[transformer, Pooling(768)], device="cpu")
    model.save(str(folder))


def device_matrix_rate(device: str, hidden: int, inner: int, rows: int) -> float:
    """FLOP/s of a layer's matrix products in bf16 and nothing else."""
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)]
    pairs = [
        (
            torch.randn(rows, k, dtype=torch.bfloat16, device=device),
            torch.randn(n, k, dtype=torch.bfloat16, device=device),
        )
        for k, n in shapes
    ]

    def work() -> None:
        for inputs, weights in pairs:
            torch.nn.functional.linear(inputs, weights)
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return sum(2 * rows * k * n for k, n in shapes) / median_seconds(work, 20)
