"""A chain takes the first encoder that can be had; vectors that are there belong to the one that made them."""

import json
import logging
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.encoders import check_model, load_encoder
from data.encoders.chain import begun_with, links, load_again, note_link, pinned, successor
from data.encoders.config import EncoderConfig
from data.encoders.transformer.precision import Check
from data.errors import EncoderUnavailable, InputError
from tests.endpoint_server import Server, status

HASHED = {"hashed": {"dim": 64}}
NO_GPU = {"model": "all-MiniLM-L6-v2", "device": "cuda:63"}


def chain(*configs: object) -> EncoderConfig:
    """The first of the configs with the others as its fallbacks."""
    first, *rest = (
        config.model_dump(exclude_defaults=True) if isinstance(config, EncoderConfig) else config for config in configs
    )
    return EncoderConfig.model_validate({**first, "fallback": rest})


def test_the_first_that_can_be_had_is_taken_and_the_others_are_said_in_a_line(
    endpoint: Server, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.always = status(500)
    config = chain(NO_GPU, endpoint.config(retries=0), HASHED)
    caplog.set_level(logging.WARNING, "catena")
    assert load_encoder(config).fingerprint == load_encoder(EncoderConfig.model_validate(HASHED)).fingerprint
    said = [record.getMessage() for record in caplog.records if record.name == "catena"]
    assert len(said) == 2 and all("\n" not in line for line in said)
    assert "cuda:63 is not on this machine" in said[0] and "it answers 500" in said[1]


def test_a_mistake_is_not_passed_over(endpoint: Server) -> None:
    endpoint.always = status(401)
    with pytest.raises(InputError, match="answers 401"):
        load_encoder(chain(endpoint.config(), HASHED))
    with pytest.raises(InputError, match="no model folder at /no/such"):
        check_model(chain(HASHED, {"model": "/no/such/model"}))


def test_none_left_names_every_reason(endpoint: Server) -> None:
    endpoint.always = status(500)
    with pytest.raises(EncoderUnavailable, match=r"cuda:63 is not on this machine.*; .*it answers 500"):
        load_encoder(chain(NO_GPU, endpoint.config(retries=0)))


def test_an_index_is_asked_by_the_encoder_that_built_it_alone(endpoint: Server) -> None:
    config = chain(endpoint.config(retries=0), HASHED)
    by_server, by_hash = load_encoder(config), load_encoder(EncoderConfig.model_validate(HASHED))
    assert load_again(config, by_server.fingerprint, "endpoint", link=0).fingerprint == by_server.fingerprint
    assert load_again(config, by_hash.fingerprint, "fp32", link=1).fingerprint == by_hash.fingerprint
    edited = chain(HASHED, endpoint.config(retries=0))  # the places have changed
    assert load_again(edited, by_server.fingerprint, "endpoint", link=0).fingerprint == by_server.fingerprint
    with pytest.raises(InputError, match=r"built by another encoder: 0123; .* is "):
        load_again(config, "0123", "fp32")
    endpoint.always = status(503)
    with pytest.raises(EncoderUnavailable, match="it answers 503"):
        load_again(config, by_server.fingerprint, "endpoint", link=0)


def test_an_index_is_asked_through_another_server_of_the_same_model(endpoint: Server) -> None:
    down = endpoint.config(base_url="http://127.0.0.1:1/v1", retries=0)
    fingerprint = load_encoder(endpoint.config()).fingerprint
    assert load_again(chain(down, endpoint.config()), fingerprint, "endpoint").fingerprint == fingerprint


def test_the_same_encoder_elsewhere_may_go_on() -> None:
    elsewhere = links(chain({"device": "cuda"}, HASHED, {"device": "cpu", "precision": "fp32"}, {"device": "cpu"}))
    assert successor(elsewhere, [0], "bf16") == 3
    assert successor(elsewhere, [0], "fp32") == 2
    assert successor(elsewhere, [0, 2, 3], "fp32") is None
    assert successor(elsewhere, [1], "fp32") is None


def test_precision_is_that_of_the_vectors_where_it_is_left_open() -> None:
    assert pinned(EncoderConfig(), "bf16").precision == "bf16"
    assert pinned(EncoderConfig(precision="fp32"), "bf16").precision == "fp32"
    assert pinned(EncoderConfig.model_validate(HASHED), "fp32").precision == "auto"
    both = pinned(EncoderConfig.model_validate({"ensemble": {"members": [HASHED, {}]}}), "fp32+bf16")
    assert both.ensemble is not None and [m.precision for m in both.ensemble.members] == ["auto", "bf16"]


def test_a_pinned_precision_says_that_it_is_no_wish_of_the_users() -> None:
    assert pinned(EncoderConfig(), "bf16").as_vectors
    assert pickle.loads(pickle.dumps(pinned(EncoderConfig(), "bf16"))).as_vectors  # it travels to the actors
    assert not pinned(EncoderConfig(precision="bf16"), "bf16").as_vectors
    assert pinned(EncoderConfig().computing_in("fp32", "gate"), "bf16").precision == "bf16"
    assert EncoderConfig(precision="bf16").computing_in("fp32", "gate").precision == "bf16"


def test_an_index_in_bf16_is_asked_where_bf16_is_slow_and_by_no_other_encoder(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(check: Check) -> None:
        monkeypatch.setattr("data.encoders.transformer.encoder.check_short", lambda *_: check)

    config = EncoderConfig(model=str(small_model), device="cpu")
    measured(Check(1.0, 2.0))
    built_by = load_encoder(config.model_copy(update={"precision": "bf16"})).fingerprint
    measured(Check(0.9999, 0.3))
    again = load_again(config, built_by, "bf16")
    assert (again.precision, again.fingerprint) == ("bf16", built_by)
    measured(Check(0.99, 0.3))
    with pytest.raises(EncoderUnavailable, match="computed in bf16, which does not pass its check on cpu"):
        load_again(config, built_by, "bf16")


def test_another_encoder_than_the_expected_is_refused() -> None:
    config = EncoderConfig.model_validate({**HASHED, "fingerprint": "0123"})
    with pytest.raises(InputError, match=r"hashed TF-IDF \(64 dimensions\) is the encoder .*, and 0123 is expected"):
        load_encoder(config)


def test_where_an_encoder_runs_does_not_change_its_identity(endpoint: Server) -> None:
    def identity(**endpoint_keys: object) -> str:
        settings = endpoint.config(**endpoint_keys).model_dump()
        return json.dumps(EncoderConfig.model_validate({**HASHED, "fallback": [settings]}).identity())

    assert identity() == identity(base_url="https://elsewhere/v1", retries=9, request_timeout_s=1)
    assert identity() != identity(model="another")
    assert EncoderConfig().identity() == EncoderConfig(device="cpu", on_fallback="restart").identity()
    assert EncoderConfig().identity() != chain({}, HASHED).identity()


def test_which_link_began_is_written_down(tmp_path: Path) -> None:
    assert begun_with(tmp_path) == 0
    note_link(tmp_path, 2, "hashed")
    assert begun_with(tmp_path) == 2


def test_fallbacks_stand_in_one_list() -> None:
    with pytest.raises(ValidationError, match="fallbacks stand in one list"):
        chain({}, {**HASHED, "fallback": [HASHED]})
