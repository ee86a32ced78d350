"""A message about a misspelt word names the nearest, or what is allowed, but not thousands of words."""

import pytest

from data.errors import nearest


@pytest.mark.parametrize(
    ("word", "allowed", "said"),
    [
        ("kidn", ["kind", "lang"], "did you mean 'kind'?"),
        ("xyz", ["kind", "lang"], "allowed: kind, lang"),
        ("xyz", [f"d{n:04}" for n in range(100)], f"allowed: {', '.join(f'd{n:04}' for n in range(100))}"),
        (
            "xyz",
            [f"d{n:04}" for n in range(2010)],
            f"allowed: {', '.join(f'd{n:04}' for n in range(10))} and 2,000 more",
        ),
    ],
)
def test_what_is_named(word: str, allowed: list[str], said: str) -> None:
    assert nearest(word, allowed) == said
