"""A transformer of random weights, small enough to make for each test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

WORDS = "query document passage alpha beta gamma delta epsilon zeta : moon sea harbour matrix inverse".split()


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Saves a sentence-transformers model: prompts, pooling and limits as given; returns its folder."""

    def make(
        name: str = "tiny", include_prompt: bool = True, max_length: int = 16, prompts: dict[str, str] | None = None
    ) -> Path:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling
        from transformers import BertConfig, BertModel, BertTokenizerFast

        folder = tmp_path / name
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
        torch.manual_seed(7)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.5,
        )
        BertModel(config).save_pretrained(tmp_path / "bert")
        BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
        transformer = Transformer(str(tmp_path / "bert"), max_seq_length=max_length)
        pooling = Pooling(32, pooling_mode="mean", include_prompt=include_prompt)
        SentenceTransformer(modules=[transformer, pooling], device="cpu", prompts=prompts).save(str(folder))
        return folder

    return make
