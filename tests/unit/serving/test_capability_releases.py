"""A release brings its ranker: opened with its features and stored intents, and taken up without a restart."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from data.cache import CacheConfig
from data.capabilities.catalogue import Catalogue
from data.capabilities.ingest import ingest_catalogue
from data.capabilities.traces import Traces
from data.capabilities.vectors import embed_catalogue, manifest_of, vectors_of
from data.errors import InputError
from data.sources.catalogue_source import CatalogueSource
from data.spread import here
from evaluation.calibration import Calibrator
from evaluation.intent_calibration import IntentCalibrator
from retrieval.open import read_meta
from serving.admission import Admission
from serving.artifacts import CapabilityArtifacts
from serving.config import RankConfig, ServeConfig
from serving.errors import ApiError
from serving.open_capabilities import FeatureStores, check_ranker, intent_encoder
from serving.opening import Embedders, Loads, Rankers, VariantOpener
from serving.releases import Releases
from serving.schemas.rank import RankRequest, RankResponse
from serving.sight import Metrics
from serving.traffic import Release, change_traffic, with_live
from serving.variants import Variant, Variants, watched
from tests.unit.serving.capability_rankers import ids_of
from tests.unit.serving.whole_application import ENCODER, write_whole_run
from training.ranking.served import CapabilityRanker

TOOLS = {"rain": "forecast of rain and sun", "route": "distance between two places", "table": "book a table to eat"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, and a catalogue of three tools with traces in which ``route`` always succeeds, embedded."""
    folder = tmp_path_factory.mktemp("run")
    write_whole_run(folder)
    lines = {
        "tools": [{"id": id_, "name": id_, "description": text} for id_, text in TOOLS.items()],
        "traces": [
            {"id": f"t{n}", "intent": f"asked {n}", "chosen": id_, "outcome": outcome, "time": "2026-01-01"}
            for n, (id_, outcome) in enumerate([("route", "success"), ("rain", "failure"), ("table", "failure")] * 5)
        ],
    }
    for name, rows in lines.items():
        (folder / f"{name}.jsonl").write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    files = {name: {"path": str(folder / f"{name}.jsonl")} for name in lines}
    ingest_catalogue(CatalogueSource.model_validate(files), folder / "catalogue", here)
    catalogue = Catalogue.open(folder / "catalogue")
    texts = {
        "tools": catalogue.tool_texts,
        "capabilities": catalogue.texts,
        "intents": Traces.open(folder / "catalogue", catalogue).intents,
    }
    embed_catalogue(texts, ENCODER, folder / "intents", here)
    return folder


def ranker_of(folder: Path, weights: Mapping[str, float] = {}, version: str = "v1") -> CapabilityRanker:
    """By cosines of texts, with weights of features."""
    catalogue, intents = Catalogue.open(folder / "catalogue"), folder / "intents"
    dim = manifest_of(intents)["dim"]
    return CapabilityRanker(
        kind="cosine",
        version=version,
        capabilities=catalogue.capabilities,
        texts=catalogue.texts,
        metadata=catalogue.metadata,
        can_run=catalogue.can_run,
        tools=catalogue.tools,
        fingerprint=manifest_of(intents)["fingerprint"],
        intent_map=np.eye(dim, dtype=np.float32),
        context_map=None,
        tool_vectors=np.array(vectors_of(intents, "tools")),
        keys=np.array(vectors_of(intents, "capabilities")),
        heads=1,
        features=tuple(weights),
        feature_weights=np.array(list(weights.values()), np.float32),
        calibrator=IntentCalibrator(Calibrator("platt", np.empty(0), np.empty(0), 4.0, -1.0)),
    )


def saved(folder: Path, out: Path, **given: Any) -> CapabilityArtifacts:  # noqa: ANN401 - of ranker_of
    ranker_of(folder, **given).save(out)
    return CapabilityArtifacts(ranker=out, catalogue=folder / "catalogue", intents=folder / "intents")


class Service:
    """A service over releases, as a process that takes requests has it."""

    def __init__(self, folder: Path, work: Path, first: Release, rank: RankConfig, cache: CacheConfig) -> None:
        config, self.path = ServeConfig(rank=rank), work / "traffic.json"
        change_traffic(self.path, lambda traffic: with_live(traffic, first))
        loads = Loads(*(Admission(5.0, 10_000) for _ in range(3)))
        stores = FeatureStores(rank, cache, work)
        opener = VariantOpener(config, loads, Embedders(config, cache), Rankers(config), features=stores)
        self.releases = Releases[Variant](self.path, opener.open, lambda variant: variant.close())
        self.variants: Variants = watched(self.path, self.releases, Metrics({}), busy=lambda: False)

    async def rank(self, intent: str = "asked 1", **given: Any) -> RankResponse:  # noqa: ANN401 - of RankRequest
        await self.releases.follow()
        return await self.variants.rank(RankRequest(intent=intent, **given))

    def close(self) -> None:
        for variant in self.releases.opened:
            variant.close()


def release_of(folder: Path, id_: str, artifacts: CapabilityArtifacts | None) -> Release:
    return Release(
        id=id_, index=folder / "run" / "out", lookup=folder, encoder=ENCODER, passages=18, capabilities=artifacts
    )


def test_a_new_ranker_is_taken_up_and_rolled_back_without_a_restart(folder: Path, tmp_path: Path) -> None:
    old = release_of(folder, "old", saved(folder, tmp_path / "old"))
    new = release_of(folder, "new", saved(folder, tmp_path / "new", version="v2", weights={"success_all": 50.0}))
    without = release_of(folder, "none", None)

    async def turns() -> list[RankResponse]:
        service = Service(folder, tmp_path, old, RankConfig(), CacheConfig())
        answers = [await service.rank()]
        for release in (new, old, without):
            change_traffic(service.path, lambda traffic, release=release: with_live(traffic, release))  # type: ignore[misc]
            try:
                answers.append(await service.rank())
            except ApiError as error:
                assert error.type == "not_found" and release is without
        service.close()
        return answers

    first, second, third = asyncio.run(turns())
    assert [one.model_version for one in (first, second, third)] == ["v1", "v2", "v1"]
    assert ids_of(second)[0] == "route" and second.features_version is not None  # it alone has succeeded
    assert first.features_version is None and ids_of(first) == ids_of(third)


def test_vectors_that_are_stored_are_those_that_the_encoder_makes(folder: Path, tmp_path: Path) -> None:
    artifacts = saved(folder, tmp_path / "ranker")

    async def both() -> list[RankResponse]:
        answers = []
        for name, one in (("a", artifacts), ("b", artifacts.model_copy(update={"intents": None}))):
            service = Service(folder, tmp_path / name, release_of(folder, name, one), RankConfig(), CacheConfig())
            answers.append(await service.rank("asked 3"))
            service.close()
        return answers

    stored, made = asyncio.run(both())
    np.testing.assert_allclose(
        [one.raw_score for one in stored.results], [one.raw_score for one in made.results], atol=1e-6
    )


@pytest.mark.parametrize(("explore", "there"), [("none", False), ("thompson", True)])
def test_a_ranker_without_features_has_them_where_exploration_asks_how_often_each_ran(
    folder: Path, tmp_path: Path, explore: str, there: bool
) -> None:
    release = release_of(folder, "one", saved(folder, tmp_path / "ranker"))

    async def ask() -> RankResponse:
        rank = RankConfig.model_validate({"explore": explore})
        service = Service(folder, tmp_path, release, rank, CacheConfig(memory_mb=0))
        answer = await service.rank(explain=True)
        service.close()
        return answer

    answer = asyncio.run(ask())
    assert (answer.features_version is not None) is there and answer.degraded == []
    assert all(one.parts and one.parts.past == 0 and one.parts.features == [] for one in answer.results)


def test_the_first_request_for_thompson_has_features_computed_where_the_configuration_does_not_ask_for_them(
    folder: Path, tmp_path: Path
) -> None:
    release = release_of(folder, "one", saved(folder, tmp_path / "ranker"))

    async def ask() -> list[RankResponse]:
        service = Service(folder, tmp_path, release, RankConfig(), CacheConfig(memory_mb=0))
        answers = [await service.rank(), await service.rank(explore="thompson")]
        while answers[-1].degraded and len(answers) < 500:
            await asyncio.sleep(0.01)
            answers.append(await service.rank(explore="thompson"))
        answers.append(await service.rank())
        service.close()
        return answers

    plain, first, *_, last, plain_again = asyncio.run(ask())
    assert plain.degraded == [] and first.degraded == ["features"] and first.features_version is None
    assert last.degraded == [] and last.features_version is not None
    assert plain_again.features_version is None  # of the features that counted


def test_with_redis_down_it_answers_without_features_and_cache_and_says_so(folder: Path, tmp_path: Path) -> None:
    nobody = CacheConfig(redis=f"unix://{tmp_path / 'nobody'}", memory_mb=0)
    artifacts = saved(folder, tmp_path / "ranker", weights={"success_all": 50.0})
    release = release_of(folder, "one", artifacts)

    async def ask() -> RankResponse:
        service = Service(folder, tmp_path, release, RankConfig(store="redis"), nobody)
        answer = await service.rank("where is the next forecast")
        service.close()
        return answer

    answer = asyncio.run(ask())
    assert sorted(answer.degraded) == ["cache", "features"] and len(answer.results) == 3


def test_redis_keeps_features_for_all_replicas(folder: Path, tmp_path: Path) -> None:
    embedded = CacheConfig(redis="embedded", folder=tmp_path / "redis")
    artifacts = saved(folder, tmp_path / "ranker", weights={"success_all": 50.0})

    async def ask() -> list[RankResponse]:
        rank, release = RankConfig(store="redis"), release_of(folder, "one", artifacts)
        services = [Service(folder, tmp_path / name, release, rank, embedded) for name in ("a", "b")]
        answers = [await service.rank() for service in services]
        for service in services:
            service.close()
        return answers

    first, second = asyncio.run(ask())
    assert first.degraded == second.degraded == [] and ids_of(first)[0] == "route"
    assert first.features_version == second.features_version != None  # noqa: E711 - both, and the same


def test_a_ranker_of_another_encoder_or_of_unknown_features_is_refused(folder: Path, tmp_path: Path) -> None:
    fingerprint = intent_encoder(read_meta(folder / "run" / "out"))
    ranker = ranker_of(folder)
    check_ranker(ranker, tmp_path, fingerprint)
    with pytest.raises(InputError, match="takes vectors of the encoder other"):
        check_ranker(replace(ranker, fingerprint="other"), tmp_path, fingerprint)
    with pytest.raises(InputError, match="success_al"):
        check_ranker(ranker_of(folder, {"success_al": 1.0}), tmp_path, fingerprint)


def test_redis_for_features_needs_a_redis(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cache\.redis is none"):
        FeatureStores(RankConfig(store="redis"), CacheConfig(), tmp_path).open()
