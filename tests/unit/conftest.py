"""A model that is small enough to be exported and calibrated in seconds."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights, and one input channel that is far larger than the others."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import AutoTokenizer, BertConfig, BertModel

    from data.encoders.transformer.models import find_model

    folder = tmp_path_factory.mktemp("small") / "bert"
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    bert = BertModel(BertConfig(**sizes, initializer_range=0.1))
    with torch.no_grad():
        bert.encoder.layer[0].attention.output.LayerNorm.weight[5] = 30.0
    bert.save_pretrained(folder)
    AutoTokenizer.from_pretrained(find_model("all-MiniLM-L6-v2")).save_pretrained(folder)
    built = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(64)], device="cpu")
    built.save(str(folder.with_name("model")))
    return folder.with_name("model")
