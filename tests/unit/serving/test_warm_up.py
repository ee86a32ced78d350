"""A service knows its rates before anybody asks."""

import asyncio
import math
from pathlib import Path

import pytest

from data.errors import EncoderUnavailable
from serving.admission import Admission
from serving.api import Services
from serving.search import SearchService
from tests.unit.serving.whole_application import whole_application


def rate(admission: Admission) -> float:
    with admission.admitted(1):
        return 1 / admission.expected_wait_s if admission.expected_wait_s else math.inf


def test_texts_and_searches_have_a_rate_after_the_warm_up(tmp_path: Path) -> None:
    api = whole_application(tmp_path)
    services: Services = api.state.services
    tokens, searches = api.state.tokens, api.state.searches
    tokens.full = 2048
    assert isinstance(services.search, SearchService)
    assert math.isinf(rate(tokens)) and math.isinf(rate(searches))
    asyncio.run(_warm_up(services))
    assert 100 < rate(tokens) < 1e9 and 1 < rate(searches) < 1e6
    api.state.index.close()


async def _warm_up(services: Services) -> None:
    await services.embedding.warm_up()
    assert isinstance(services.search, SearchService)
    await services.search.warm_up()


def test_without_an_encoder_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = whole_application(tmp_path)
    services: Services = api.state.services

    async def down(texts: list[str], kind: str) -> None:
        raise EncoderUnavailable("gone", "Start it.")

    monkeypatch.setattr(services.embedding._encoder, "embed", down)
    api.state.tokens.full = 100
    with pytest.raises(EncoderUnavailable):
        asyncio.run(services.embedding.warm_up())
    assert math.isinf(rate(api.state.tokens))
    api.state.index.close()
