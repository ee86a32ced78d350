"""Capabilities ranked: rules, parts of the score, exploration with its propensities, and what is missing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.capabilities.vectors import embed_catalogue
from data.encoders import load_encoder
from data.errors import InputError
from data.features.sqlite import SqliteFeatures
from data.features.table import Features
from data.spread import here
from evaluation.intent_calibration import IntentCalibrator
from serving.admission import Admission
from serving.capabilities import NO_CAPABILITIES, CapabilityService
from serving.errors import ApiError
from serving.feature_feed import FeatureFeed
from serving.schemas.rank import RankRequest, RankResponse
from serving.stored_intents import StoredIntents
from tests.unit.serving.capability_rankers import ENCODER, TEXTS, CountedEncoder, cosine_ranker, ids_of, service_of

BOOK = "book a table in a hotel"


def ranked(service: CapabilityService, intent: str = BOOK, **given: Any) -> RankResponse:  # noqa: ANN401
    return asyncio.run(service.rank(RankRequest(intent=intent, **given)))


def refused(service: CapabilityService, intent: str = BOOK, **given: Any) -> ApiError:  # noqa: ANN401
    with pytest.raises(ApiError) as error:
        ranked(service, intent, **given)
    return error.value


def feed_of(folder: Path, values: dict[str, list[float]], names: tuple[str, ...]) -> FeatureFeed:
    def make(now: int) -> Features:
        return Features(names, np.array(list(values.values()), np.float32), tuple(values), now)

    feed = FeatureFeed(SqliteFeatures(folder / "f.sqlite"), "v", names, make, 60.0, 30.0)
    feed.refresh()
    return feed


def test_capabilities_come_in_the_order_of_their_cosines_and_groups_never() -> None:
    answer = ranked(service_of())
    encoder = load_encoder(ENCODER)
    cosines = dict(zip(TEXTS, encoder.encode(list(TEXTS.values())) @ encoder.encode_queries([BOOK])[0], strict=True))
    expected = sorted([id_ for id_ in TEXTS if id_ != "travel"], key=lambda id_: -cosines[id_])  # ties as they come
    assert ids_of(answer) == expected and [one.rank for one in answer.results] == [1, 2, 3, 4]
    for one in answer.results:
        assert one.raw_score == pytest.approx(float(cosines[one.id]), abs=1e-6)
        assert one.score == pytest.approx(1 / (1 + np.exp(2 - 6 * one.raw_score)))
        assert one.text == TEXTS[one.id]
    assert (answer.model, answer.model_version, answer.features_version) == ("cosine", "v1", None)
    assert answer.degraded == [] and answer.unknown == [] and answer.timing_ms is None


def test_rules_of_the_request() -> None:
    service = service_of()
    assert len(ranked(service, top_k=2).results) == 2
    assert set(ids_of(ranked(service, candidates=["maps", "weather"]))) == {"maps", "weather"}
    assert set(ids_of(ranked(service, filter={"team": "travel"}))) == {"tables", "hotels"}
    assert set(ids_of(ranked(service, filter={"cost": {"lt": 5}, "not": {"team": "sky"}}))) == {"maps"}
    assert ids_of(ranked(service, filter={"team": "travel"}, candidates=["tables", "maps"])) == ["tables"]
    scores = {one.id: one.score for one in ranked(service).results}
    least = sorted(scores.values())[1]
    assert ids_of(ranked(service, min_score=least)) == [id_ for id_ in ids_of(ranked(service)) if scores[id_] >= least]


def test_a_boost_multiplies_the_odds_and_counts_for_no_threshold() -> None:
    service = service_of()
    before = {one.id: one for one in ranked(service).results}
    last = ids_of(ranked(service))[-1]
    answer = ranked(service, boosts={last: 1000.0}, explain=True)
    assert answer.results[0].id == last
    odds, boosted = before[last].score / (1 - before[last].score), answer.results[0].score
    assert boosted / (1 - boosted) == pytest.approx(1000 * odds)
    assert answer.results[0].parts is not None
    assert answer.results[0].parts.probability == pytest.approx(before[last].score)
    assert answer.results[0].parts.boost == 1000.0
    least = before[last].score + 1e-9
    assert last not in ids_of(ranked(service, boosts={last: 1000.0}, min_score=least))


def test_an_unknown_candidate_is_left_out_and_named() -> None:
    answer = ranked(service_of(), candidates=["maps", "new"], boosts={"other": 2.0}, context=["t1", "t9"])
    assert ids_of(answer) == ["maps"] and answer.unknown == ["new", "other", "t9"]
    assert ids_of(ranked(service_of(), candidates=["new"])) == []


@pytest.mark.parametrize(
    "given", [{"candidates": ["travel"]}, {"filter": {"team": "travel"}, "candidates": ["maps"]}, {"min_score": 1.0}]
)
@pytest.mark.parametrize("explore", ["none", "epsilon", "thompson"])
def test_where_all_are_filtered_out_nothing_is_shown(given: dict[str, Any], explore: str) -> None:
    answer = ranked(service_of(), explore=explore, explain=True, **given)
    assert answer.results == [] and not answer.explored


@pytest.mark.parametrize("explore", ["none", "epsilon", "thompson"])
def test_an_empty_catalogue_and_one_of_a_single_capability(explore: str) -> None:
    assert ranked(service_of(cosine_ranker({})), explore=explore).results == []
    (only,) = ranked(service_of(cosine_ranker({"maps": TEXTS["maps"]})), explore=explore).results
    assert (only.id, only.propensity, only.rank) == ("maps", 1.0, 1)


def test_a_probability_is_of_all_capabilities_whichever_may_be_shown() -> None:
    """The level of an intent is that of all its scores: a filter makes nothing likelier."""
    plain = cosine_ranker().calibrator.calibrator
    ranker = cosine_ranker(calibrator=IntentCalibrator(plain, share=1.0, temperature=0.1))
    whole = {one.id: one for one in ranked(service_of(ranker)).results}
    (alone,) = ranked(service_of(ranker), candidates=["tables"]).results
    assert alone.score == whole["tables"].score
    scores = np.array([[one.raw_score for one in whole.values()]])
    expected = plain(alone.raw_score - 0.1 * np.log(np.exp(scores / 0.1).sum()))
    assert alone.score == pytest.approx(float(expected))
    least = (alone.score + whole["hotels"].score) / 2
    above = [one.id for one in whole.values() if one.score >= least]
    assert ids_of(ranked(service_of(ranker), min_score=least)) == above and 0 < len(above) < 4
    assert ranked(service_of(cosine_ranker({}, calibrator=ranker.calibrator))).results == []


def test_tools_at_hand_count_where_the_ranker_learned_so() -> None:
    ranker = cosine_ranker(context_map=np.eye(64, dtype=np.float32))
    alone, beside = (ranked(service_of(ranker), "a place", context=context) for context in ([], ["t1"]))
    assert ids_of(beside)[0] == "weather"  # t1 is about rain
    assert [one.raw_score for one in alone.results] != [one.raw_score for one in beside.results]


def test_intents_that_are_asked_at_once_are_scored_as_one_by_one() -> None:
    service, intents = service_of(), [f"{text} now" for text in TEXTS.values()]

    async def every() -> list[RankResponse]:
        return await asyncio.gather(*(service.rank(RankRequest(intent=intent)) for intent in intents))

    for intent, answer in zip(intents, asyncio.run(every()), strict=True):
        alone = ranked(service_of(), intent)
        assert ids_of(alone) == ids_of(answer)
        np.testing.assert_allclose(
            [one.raw_score for one in answer.results], [one.raw_score for one in alone.results], atol=1e-6
        )


def test_the_parts_of_a_score_sum_to_it(tmp_path: Path) -> None:
    weights = {"success_all": 0.5, "log_runs_all": -0.1}
    values = {id_: [0.5 + 0.1 * n, float(n)] for n, id_ in enumerate(TEXTS)}
    feed = feed_of(tmp_path, values, tuple(weights))
    answer = ranked(service_of(cosine_ranker(features=weights), feed=feed), explain=True)
    assert answer.features_version is not None and answer.degraded == [] and answer.timing_ms is not None
    for one in answer.results:
        parts = one.parts
        assert parts is not None
        assert parts.text + parts.past == pytest.approx(one.raw_score, abs=1e-6)
        assert sum(effect.effect for effect in parts.features) == pytest.approx(parts.past, abs=1e-6)
        assert {effect.name: effect.value for effect in parts.features} == pytest.approx(
            dict(zip(weights, values[one.id], strict=True))
        )
    assert [one.parts.ranked for one in answer.results if one.parts] == [1, 2, 3, 4]


def test_with_epsilon_every_answer_has_the_propensities_of_its_draw() -> None:
    service = service_of(epsilon=0.4)
    best, *others = ids_of(ranked(service))
    first = []
    for _ in range(300):
        answer = ranked(service, explore="epsilon")
        by_id = {one.id: one.propensity for one in answer.results}
        assert by_id[best] == pytest.approx(0.6 + 0.1) and all(by_id[id_] == pytest.approx(0.1) for id_ in others)
        assert answer.explored == (answer.results[0].id != best)
        first.append(answer.results[0].id)
    assert first.count(best) / 300 == pytest.approx(0.7, abs=0.1) and set(first) == {best, *others}


def test_thompson_explores_what_ran_seldom_more_and_shows_the_same_set(tmp_path: Path) -> None:
    runs = {id_: [float(np.log1p(1000 if id_ in ("tables", "maps") else 0))] for id_ in TEXTS}
    feed = feed_of(tmp_path, runs, ("log_runs_all",))
    service = service_of(cosine_ranker(features={"log_runs_all": 0.0}), feed=feed, noise=1.0, explore="thompson")
    plain = ranked(service, explore="none", top_k=3)
    answers = [ranked(service, top_k=3) for _ in range(200)]
    for answer in answers:
        assert set(ids_of(answer)) == set(ids_of(plain)) and answer.explore == "thompson"
        assert sum(one.propensity for one in answer.results) == pytest.approx(1.0)
    shares = {id_: sum(answer.results[0].id == id_ for answer in answers) / 200 for id_ in ids_of(plain)}
    logged = {one.id: one.propensity for one in answers[0].results}
    assert shares == pytest.approx(logged, abs=0.12)


def test_thompson_without_features_draws_as_if_nothing_had_run_and_says_so() -> None:
    answer = ranked(service_of(noise=0.01), "forecast of rain and sun for a city", explore="thompson")
    assert answer.degraded == ["features"]
    assert min(one.propensity for one in answer.results) == pytest.approx(0.1 / 4)
    assert sum(one.propensity for one in answer.results) == pytest.approx(1.0)
    assert ranked(service_of(), explore="epsilon").degraded == []


def test_without_exploration_the_best_has_propensity_1() -> None:
    assert [one.propensity for one in ranked(service_of()).results] == [1.0, 0.0, 0.0, 0.0]


def test_without_features_text_alone_ranks_and_the_answer_says_so() -> None:
    service = service_of(cosine_ranker(features={"success_all": 100.0}), feed=None)
    answer = ranked(service, explain=True)
    assert answer.degraded == ["features"] and answer.features_version is None
    assert ids_of(answer) == ids_of(ranked(service_of())) and answer.results[0].parts is not None
    assert answer.results[0].parts.past == 0.0 and answer.results[0].parts.features == []


def test_a_cache_that_does_not_answer_is_told() -> None:
    encoder = CountedEncoder(cache_degraded=True)
    assert ranked(service_of(encoder=encoder)).degraded == ["cache"]


def test_what_cannot_be_answered_is_told_with_its_field() -> None:
    down = CountedEncoder(down=True)
    assert refused(service_of(encoder=down)).type == "unavailable"
    wrong = refused(service_of(), filter={"teem": "travel"})
    assert (wrong.type, wrong.param) == ("invalid_request", "filter") and "team" in wrong.message
    with pytest.raises(ApiError, match="catena learn"):
        asyncio.run(NO_CAPABILITIES.rank(RankRequest(intent="x")))


def test_too_much_at_once_is_refused() -> None:
    admission = Admission(1e-9, 0.25)  # no more than one at a time
    admission.expect(1e-3)
    service = service_of(admission=admission)

    async def both() -> list[RankResponse | BaseException]:
        asked = [service.rank(RankRequest(intent=BOOK)) for _ in range(2)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second = asyncio.run(both())
    assert isinstance(first, RankResponse)
    assert isinstance(second, ApiError) and second.type == "overloaded"


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[StoredIntents]:
    texts = {"tools": ["t"], "capabilities": ["c"], "intents": [BOOK, "Other  words"]}
    embed_catalogue(texts, ENCODER, tmp_path, here)
    yield StoredIntents(tmp_path)


def test_an_intent_that_was_embedded_before_asks_no_encoder(stored: StoredIntents) -> None:
    encoder = CountedEncoder()
    service = service_of(encoder=encoder, stored=stored)
    answer = ranked(service, BOOK)
    assert encoder.asked == [] and ids_of(answer) == ids_of(ranked(service_of()))
    for _ in range(2):
        ranked(service, "other words")  # in another case it is another text, and is encoded once
    assert encoder.asked == ["other words"]


def test_an_intent_in_another_script_is_ranked() -> None:
    answer = ranked(service_of(), "מזג האוויר מחר в Лиссабоне 天気")
    assert len(answer.results) == 4 and all(np.isfinite(one.score) for one in answer.results)


def test_metadata_that_is_no_json_is_refused_when_it_is_opened() -> None:
    with pytest.raises((InputError, ValueError)):
        service_of(cosine_ranker(metadata=["{", None, None, None, None]))
