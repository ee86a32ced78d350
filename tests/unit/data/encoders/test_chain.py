"""A chain takes the first encoder that is available; vectors that are there belong to the one that made them."""

import json
import logging
import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from data.artifacts import StageConfig
from data.encoders import check_model, load_encoder
from data.encoders.chain import (
    computing_as,
    load_again,
    record_alternative,
    recorded_alternative,
    same_encoder_elsewhere,
)
from data.encoders.config import (
    EncoderConfig,
    HashedEncoderConfig,
    SingleEncoder,
    TransformerConfig,
    alternatives,
    read_encoder,
)
from data.encoders.transformer.precision import Check
from data.errors import EncoderUnavailable, InputError
from tests.endpoint_server import Server, status

HASHED = {"hashed": {"dim": 64}}
NO_GPU = {"model": "all-MiniLM-L6-v2", "device": "cuda:63"}


def chain(*configs: object) -> EncoderConfig:
    """The first of the configs with the others as its fallbacks."""
    first, *rest = (
        config.model_dump(exclude_defaults=True) if isinstance(config, StageConfig) else config for config in configs
    )
    return read_encoder({**first, "fallback": rest})


def test_the_first_that_can_be_had_is_taken_and_the_others_are_said_in_a_line(
    endpoint: Server, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.always = status(500)
    config = chain(NO_GPU, endpoint.config(retries=0), HASHED)
    caplog.set_level(logging.WARNING, "catena")
    assert load_encoder(config).fingerprint == load_encoder(read_encoder(HASHED)).fingerprint
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
    by_server, by_hash = load_encoder(config), load_encoder(read_encoder(HASHED))
    assert load_again(config, by_server.fingerprint, "endpoint", made_by=0).fingerprint == by_server.fingerprint
    assert load_again(config, by_hash.fingerprint, "fp32", made_by=1).fingerprint == by_hash.fingerprint
    edited = chain(HASHED, endpoint.config(retries=0))  # the places have changed
    assert load_again(edited, by_server.fingerprint, "endpoint", made_by=0).fingerprint == by_server.fingerprint
    with pytest.raises(InputError, match=r"built by another encoder: 0123; .* is "):
        load_again(config, "0123", "fp32")
    endpoint.always = status(503)
    with pytest.raises(EncoderUnavailable, match="it answers 503"):
        load_again(config, by_server.fingerprint, "endpoint", made_by=0)


def test_an_index_is_asked_through_another_server_of_the_same_model(endpoint: Server) -> None:
    down = endpoint.config(base_url="http://127.0.0.1:1/v1", retries=0)
    fingerprint = load_encoder(endpoint.config()).fingerprint
    assert load_again(chain(down, endpoint.config()), fingerprint, "endpoint").fingerprint == fingerprint


def test_the_same_encoder_elsewhere_may_go_on() -> None:
    elsewhere = alternatives(
        chain({"device": "cuda"}, HASHED, {"device": "cpu", "precision": "fp32"}, {"device": "cpu"})
    )
    assert same_encoder_elsewhere(elsewhere, [0], "bf16") == 3
    assert same_encoder_elsewhere(elsewhere, [0], "fp32") == 2
    assert same_encoder_elsewhere(elsewhere, [0, 2, 3], "fp32") is None
    assert same_encoder_elsewhere(elsewhere, [1], "fp32") is None


def test_precision_is_that_of_the_vectors_where_it_is_left_open() -> None:
    def settled(config: SingleEncoder) -> str:
        bound = computing_as(config, "bf16")
        assert isinstance(bound, TransformerConfig)
        return bound.settled_precision

    assert settled(TransformerConfig()) == "bf16"
    assert settled(TransformerConfig(precision="fp32")) == "fp32"
    assert computing_as(HashedEncoderConfig(), "fp32") == HashedEncoderConfig()
    both = computing_as(read_encoder({"ensemble": {"members": [HASHED, {}]}}), "fp32+bf16")
    assert both == read_encoder({"ensemble": {"members": [HASHED, {"vectors_precision": "bf16"}]}})
    bound = computing_as(TransformerConfig(), "bf16")
    assert bound.identity() == TransformerConfig(precision="bf16").identity() != TransformerConfig().identity()


def test_a_pinned_precision_says_that_it_is_no_wish_of_the_users() -> None:
    bound = computing_as(TransformerConfig(), "bf16")
    assert bound.bound_to_vectors and pickle.loads(pickle.dumps(bound)).bound_to_vectors  # it travels to the actors
    assert not computing_as(TransformerConfig(precision="bf16"), "bf16").bound_to_vectors
    assert computing_as(TransformerConfig(gate_precision="fp32"), "bf16").settled_precision == "bf16"
    assert not TransformerConfig(gate_precision="fp32").bound_to_vectors
    assert TransformerConfig(precision="bf16", gate_precision="fp32").settled_precision == "bf16"


def test_an_index_in_bf16_is_asked_where_bf16_is_slow_and_by_no_other_encoder(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(check: Check) -> None:
        monkeypatch.setattr("data.encoders.transformer.encoder.check_short", lambda *_: check)

    config = TransformerConfig(model=str(small_model), device="cpu")
    measured(Check(1.0, 2.0))
    built_by = load_encoder(config.model_copy(update={"precision": "bf16"})).fingerprint
    measured(Check(0.9999, 0.3))
    again = load_again(config, built_by, "bf16")
    assert (again.precision, again.fingerprint) == ("bf16", built_by)
    measured(Check(0.99, 0.3))
    with pytest.raises(EncoderUnavailable, match="computed in bf16, which does not pass its check on cpu"):
        load_again(config, built_by, "bf16")


def test_another_encoder_than_the_expected_is_refused() -> None:
    config = read_encoder({**HASHED, "fingerprint": "0123"})
    with pytest.raises(InputError, match=r"hashed TF-IDF \(64 dimensions\) is the encoder .*, and 0123 is expected"):
        load_encoder(config)


def test_where_an_encoder_runs_does_not_change_its_identity(endpoint: Server) -> None:
    def identity(**endpoint_keys: object) -> str:
        settings = endpoint.config(**endpoint_keys).model_dump()
        return json.dumps(read_encoder({**HASHED, "fallback": [settings]}).identity())

    assert identity() == identity(base_url="https://elsewhere/v1", retries=9, request_timeout_s=1)
    assert identity() != identity(model="another")
    assert TransformerConfig().identity() == TransformerConfig(device="cpu").identity()
    assert TransformerConfig().identity() != chain({}, HASHED).identity()


def test_which_link_began_is_written_down(tmp_path: Path) -> None:
    assert recorded_alternative(tmp_path) == 0
    record_alternative(tmp_path, 2, "hashed")
    assert recorded_alternative(tmp_path) == 2


def test_fallbacks_are_one_list() -> None:
    with pytest.raises(ValidationError, match="fallbacks are one list"):
        chain({}, {**HASHED, "fallback": [HASHED]})
