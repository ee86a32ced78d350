"""What the embedding job says of itself; the job is tested on Ray."""

import pytest

from data.embedding.embed import _computed_in
from data.vectors.table import Partition


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ("fp32", "fp32"),
        ("fp32+endpoint", "fp32+endpoint"),
        ("int8", "int8, smallest cosine to fp32 0.99950"),
        ("fp32+bf16", "fp32+bf16, smallest cosine to fp32 0.99950"),
    ],
)
def test_a_cosine_is_told_where_a_check_measured_one(precision: str, said: str) -> None:
    assert _computed_in(Partition.model_construct(precision=precision, cosine_to_fp32=0.9995)) == said
