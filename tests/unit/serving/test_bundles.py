"""Bundles for a basket, a product, a campaign: over the candidates of a run, with and without HTTP."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import ValidationError

from data.baskets.table import Market
from discovery.bundles.config import BundlesConfig
from discovery.bundles.make import make_bundles
from serving.api.bundles import router
from serving.bundles import BundleService
from serving.errors import ApiError
from serving.schemas.bundles import BundlesRequest

ROWS: list[dict[str, Any]] = [
    {
        "bundle_id": "+".join(items),
        "title": " + ".join(items),
        "item_ids": items,
        "item_names": items,
        "price": price,
        "list_price": price,
        "discount": 0.0,
        "reason": "…",
        "sources": [source],
        "objectives": {"reach": reach, "stock_risk": risk},
    }
    for items, price, source, reach, risk in (
        (["a", "b"], 5.0, "pairs", 0.4, 2.0),
        (["a", "c"], 9.0, "text", 0.2, 0.0),
        (["b", "c", "d"], None, "pairs", 0.1, 1.0),
    )
]


def asked(**request: object) -> list[str]:
    service = BundleService(ROWS, {"reach": True, "stock_risk": False})
    return [bundle.bundle_id for bundle in service.propose(BundlesRequest.model_validate(request)).bundles]


def test_weights_of_the_run_decide_where_a_request_names_none() -> None:
    service = BundleService(ROWS, {"reach": True, "stock_risk": False}, {"reach": 9.0})
    assert [bundle.bundle_id for bundle in service.propose(BundlesRequest()).bundles] == ["a+b", "a+c", "b+c+d"]


def test_weights_decide_the_order() -> None:
    assert asked(weights={"reach": 1}) == ["a+b", "a+c", "b+c+d"]
    assert asked(weights={"stock_risk": 1}) == ["a+c", "b+c+d", "a+b"]
    assert asked(weights={"reach": 1}, top_k=1) == ["a+b"]
    with pytest.raises(ApiError, match="no objective 'margin'; there are reach, stock_risk"):
        asked(weights={"margin": 1})


def test_a_basket_gets_what_it_lacks_something_of() -> None:
    assert asked(basket=["a", "b", "unknown"], weights={"reach": 1}) == ["a+c", "b+c+d"]
    service = BundleService(ROWS, {"reach": True, "stock_risk": False})
    found = service.propose(BundlesRequest(basket=["b"], weights={"reach": 1})).bundles
    assert [bundle.missing for bundle in found] == [["a"], ["c", "d"]]
    assert asked(basket=["unknown"]) == []
    assert service.propose(BundlesRequest(basket=["b", "z"], exclude_items=["y"])).unknown == ["z", "y"]
    (bundle,) = service.propose(BundlesRequest(item="d")).bundles
    assert bundle.missing == ["b", "c"], "who looks at a product is not told to add it"


def test_beside_a_basket_the_item_is_what_would_be_put_into_it_next() -> None:
    service = BundleService(ROWS, {"reach": True, "stock_risk": False})

    def found(basket: list[str], item: str) -> dict[str, list[str]]:
        request = BundlesRequest(basket=basket, item=item, weights={"reach": 1})
        return {bundle.bundle_id: bundle.missing for bundle in service.propose(request).bundles}

    assert found(["a"], "b") == {"a+b": []}  # which completes it; the basket has nothing of the other with b
    assert found(["b"], "c") == {"b+c+d": ["d"]}
    assert found(["a", "b"], "b") == {"b+c+d": ["c", "d"]}  # a+b is whole in the basket


def test_filters() -> None:
    assert asked(item="d") == ["b+c+d"]
    assert asked(max_price=6.0) == ["a+b"]
    assert asked(max_items=2, exclude_items=["b"]) == ["a+c"]
    assert asked(sources=["text"]) == ["a+c"]
    with pytest.raises(ApiError, match="no bundle holds 'z'"):
        asked(item="z")
    without = BundleService([{**row, "price": None} for row in ROWS], {"reach": True, "stock_risk": False})
    with pytest.raises(ApiError, match="no bundle has a price"):
        without.propose(BundlesRequest(max_price=5.0))
    with pytest.raises(ValidationError, match=r"sources\.0"):
        BundlesRequest.model_validate({"sources": ["texts"]})


def test_the_artifact_of_a_run_is_served_over_http(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [[*rng.choice(np.arange(2, 15), 3, replace=False), *([0, 1] if n % 3 == 0 else [])] for n in range(600)]
    config = BundlesConfig.model_validate({"sources": ["pairs"], "constraints": {"bundles": 3}})
    made = make_bundles(Market.of_lists(rows, [f"i{n}" for n in range(15)]), None, config, tmp_path)
    (tmp_path / "result.json").write_text(json.dumps(made))
    app = FastAPI()
    app.include_router(router(BundleService.open(tmp_path)))
    client = TestClient(app)
    answer = client.post("/v1/bundles", json={"basket": ["i0"], "top_k": 1})
    assert answer.status_code == 200
    (bundle,) = answer.json()["bundles"]
    assert bundle["item_ids"] == ["i0", "i1"] and bundle["missing"] == ["i1"]
    assert client.post("/v1/bundles", json={"basket": []}).status_code == 422
