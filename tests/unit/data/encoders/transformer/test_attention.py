"""bf16 attention by whole products gives what exact arithmetic gives, and is used where a model allows it."""

import pytest
import torch
from transformers import BertConfig, BertModel

from data.encoders.transformer import attention as module
from data.encoders.transformer.attention import NAME, attention, use_in

HEADS, DIM = 3, 32


def drawn(texts: int, length: int, size: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values as a model has them: heads beside each other in memory."""
    generator = torch.Generator().manual_seed(seed)

    def one(size: float) -> torch.Tensor:
        made = torch.randn(texts, length, HEADS * DIM, generator=generator) * size
        return made.to(torch.bfloat16).view(texts, length, HEADS, DIM).transpose(1, 2)

    return one(size), one(size), one(1.0)


def exact(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None, scale: float) -> torch.Tensor:
    """Softmax attention in float64, written out."""
    scores = q.double() @ k.double().transpose(2, 3) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None], float("-inf"))
    return torch.softmax(scores, 3) @ v.double()


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])  # of queries and keys: scores of 0.06 to 570
@pytest.mark.parametrize(("texts", "length"), [(1, 1), (5, 7), (2, 130)])
def test_it_is_softmax_attention(texts: int, length: int, size: float) -> None:
    q, k, v = drawn(texts, length, size)
    mask = torch.arange(length)[None] < torch.arange(length, length + texts)[:, None].clamp(max=length)
    mask[0, length // 2 + 1 :] = False
    for keys in (None, mask):
        assert error(attention(q, k, v, keys, DIM**-0.5), exact(q, k, v, keys, DIM**-0.5)) < 0.006


def test_rows_whose_scores_are_all_negative_keep_their_differences() -> None:
    q, k, v = drawn(2, 9, 1.0)
    q, k = q.abs() * 20, -k.abs() * 20
    assert error(attention(q, k, v, None, DIM**-0.5), exact(q, k, v, None, DIM**-0.5)) < 0.006


def test_steps_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = drawn(4, 20, 1.0)
    whole = attention(q, k, v, None, 0.2)
    monkeypatch.setattr(module, "SCORES", 900)  # two heads a step
    assert error(attention(q, k, v, None, 0.2), whole.double()) < 0.004


def test_what_is_not_finite_is_not_hidden() -> None:
    q, k, v = drawn(2, 5, 1.0)
    q[1, 2, 3, 4] = float("nan")
    found = attention(q, k, v, None, 0.2)
    assert not found[1, 2, 3].isfinite().any() and found[0].isfinite().all()


def small_bert() -> BertModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=HEADS * DIM, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=64
    )
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.mark.parametrize("padded", [True, False])
def test_a_model_that_uses_it_gives_the_vectors_it_gave(padded: bool) -> None:
    model = small_bert()
    numbers = torch.arange(24).view(2, 12)
    mask = torch.ones(2, 12, dtype=torch.long)
    mask[1, 8:] = 0 if padded else 1
    with torch.inference_mode():
        expected = model(input_ids=numbers, attention_mask=mask).last_hidden_state[mask.bool()]
        model = model.to(torch.bfloat16)
        use_in(model)
        assert model.config._attn_implementation == NAME
        found = model(input_ids=numbers, attention_mask=mask).last_hidden_state[mask.bool()]
    assert torch.nn.functional.cosine_similarity(found.float(), expected, dim=1).min() > 0.999


def test_fp32_goes_to_torchs_kernel() -> None:
    model, plain = small_bert(), small_bert()
    use_in(model)
    numbers, mask = torch.arange(24).view(2, 12), torch.ones(2, 12, dtype=torch.long)
    mask[0, 5:] = 0
    with torch.inference_mode():
        found, expected = (one(input_ids=numbers, attention_mask=mask).last_hidden_state for one in (model, plain))
    assert torch.allclose(found[mask.bool()], expected[mask.bool()], atol=1e-6)


def test_a_model_that_cannot_be_told_stays_as_it_is() -> None:
    use_in(torch.nn.Linear(2, 2))
