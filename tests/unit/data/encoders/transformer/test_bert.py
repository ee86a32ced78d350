"""The packed forward pass of BERT gives what the model gives, for every batch, and is used for such models alone."""

from collections.abc import Iterator

import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from data.encoders.transformer.bert import PackedBert, can_be_packed

SIZES = {"vocab_size": 50, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


def bert(seed: int = 0, **others: object) -> BertModel:
    torch.manual_seed(seed)
    model = BertModel(BertConfig(**SIZES, **others)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # all of them count, biases and types of tokens too
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def batch(lengths: list[int], left: bool = False) -> dict[str, torch.Tensor]:
    """Token numbers and mask of texts of these lengths."""
    generator, longest = torch.Generator().manual_seed(1), max(lengths)
    numbers = torch.randint(1, 50, (len(lengths), longest), generator=generator)
    mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    mask = mask.flip(1) if left else mask
    return {"input_ids": numbers * mask, "attention_mask": mask.long()}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("lengths", [[1], [9], [7, 7, 7], [1, 12, 5], [30, 2, 2, 2, 2, 17]])
def test_tokens_have_the_vectors_of_the_model(lengths: list[int], left: bool) -> None:
    model, features = bert(), batch(lengths, left)
    expected = model(**features).last_hidden_state
    found = PackedBert(bert().to(torch.bfloat16))(features)
    tokens = features["attention_mask"].bool()
    cosines = torch.cosine_similarity(found["token_embeddings"].float(), expected, dim=2)[tokens]
    assert cosines.min() > 0.999 and not found["token_embeddings"][~tokens].any()
    assert torch.equal(found["attention_mask"], features["attention_mask"])  # pooling reads it


def test_a_text_has_the_same_vectors_whatever_is_beside_it() -> None:
    packed, together = PackedBert(bert().to(torch.bfloat16)), batch([8, 3, 20])
    states = packed(together)["token_embeddings"].float()
    for row, length in enumerate([8, 3, 20]):
        alone = packed({name: values[row : row + 1, :length] for name, values in together.items()})
        assert torch.cosine_similarity(alone["token_embeddings"][0].float(), states[row, :length], dim=1).min() > 0.999


def test_tokens_of_a_pair_are_of_two_types() -> None:
    model, features = bert(), batch([9, 4])
    kinds = (torch.arange(9)[None] >= torch.tensor([[5], [2]])).long() * features["attention_mask"]
    expected = model(**features, token_type_ids=kinds).last_hidden_state
    found = PackedBert(bert().to(torch.bfloat16))({**features, "token_type_ids": kinds})["token_embeddings"].float()
    tokens = features["attention_mask"].bool()
    assert torch.cosine_similarity(found, expected, dim=2)[tokens].min() > 0.999
    one_type = PackedBert(bert().to(torch.bfloat16))(features)["token_embeddings"].float()
    assert (one_type - found)[tokens].abs().mean() > 3 * (found - expected)[tokens].abs().mean()


def test_other_models_and_precisions_are_left_alone() -> None:
    assert can_be_packed(bert().to(torch.bfloat16))
    assert not can_be_packed(bert())
    assert not can_be_packed(bert(hidden_act="relu").to(torch.bfloat16))
    assert not can_be_packed(bert(is_decoder=True).to(torch.bfloat16))
    assert not can_be_packed(RobertaModel(RobertaConfig(**SIZES)).to(torch.bfloat16))
