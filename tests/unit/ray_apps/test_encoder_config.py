"""Encoders nest in a run file, every key is a flag too, and a mistake deep inside is found."""

import json
from pathlib import Path

import pytest
import yaml

from data.encoders.config import (
    EndpointEncoderConfig,
    EnsembleEncoderConfig,
    HashedConfig,
    HashedEncoderConfig,
    OnnxConfig,
    PluginConfig,
    SingleEncoder,
    TransformerConfig,
    alternatives,
    read_encoder,
)
from data.errors import InputError
from ray_apps.cli import main
from ray_apps.config import load_run

RUN = """\
name: small
source:
  pydocs:
    packages: [json]
encoder:
  endpoint:
    base_url: https://host/v1
    model: words
  fallback:
    - ensemble:
        fusion: mean
        members:
          - hashed: {dim: 64}
          - model: all-MiniLM-L6-v2
    - hashed: {}
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RUN)
    return path


def test_config_shows_the_whole_chain(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", str(run_file), "--encoder.endpoint.retries", "9", "--encoder.on-fallback", "restart"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)["encoder"]
    assert shown["endpoint"]["retries"] == 9 and shown["on_fallback"] == "restart"
    assert shown["fallback"][0]["ensemble"]["members"][0]["hashed"]["dim"] == 64
    assert shown["fallback"][1]["hashed"]["dim"] == 2048


def test_chains_and_members_are_given_as_json_on_the_command_line(run_file: Path) -> None:
    members = json.dumps([{"hashed": {"dim": 32}}, {"hashed": {"dim": 64}}])
    run_file.write_text(RUN[: RUN.index("encoder:")])
    run = load_run(run_file, ["--encoder.ensemble.members", members, "--encoder.fallback", '[{"hashed": {}}]'])
    first, second = alternatives(run.encoder)
    assert isinstance(first, EnsembleEncoderConfig) and len(first.ensemble.members) == 2
    assert isinstance(second, HashedEncoderConfig)


def test_environment_reaches_the_endpoint(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_ENCODER__ENDPOINT__MODEL", "others")
    monkeypatch.setenv("CATENA_ENDPOINT_API_KEY", "sk-hidden")  # no key of a run file, and let through
    run = load_run(run_file)
    first = alternatives(run.encoder)[0]
    assert isinstance(first, EndpointEncoderConfig) and first.endpoint.model == "others"
    assert "sk-hidden" not in run.model_dump_json()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: words", "modell: words", "encoder.endpoint.modell: unknown key; did you mean 'model'?"),
        ("hashed: {dim: 64}", "hashed: {dim: 8}", "greater than or equal to 16, got 8"),
        ("hashed: {dim: 64}", "hashed: {din: 64}", "encoder.fallback.0.ensemble.members.0.hashed.din: unknown key"),
        ("https://host/v1", "https://me:key@host/v1", "keys are read from the environment"),
        ("fusion: mean", "fusion: sum", "'mean', 'concatenation' or 'attention', got 'sum'"),
        ("    - hashed: {}", "    - hashed: {}\n  device: cuda", "endpoint does not go with device"),
        ("    - hashed: {}", "    - backend: onnx", "encoder: fallback.1.backend: onnx without `exported`"),
        (
            "- model: all-MiniLM-L6-v2",
            "- {backend: onnx, precision: int8, exported: onnx}",
            "encoder.fallback.0.ensemble: members.1.precision: int8 has to pass the gate",
        ),
    ],
)
def test_mistakes_name_their_place(run_file: Path, old: str, new: str, said: str) -> None:
    run_file.write_text(RUN.replace(old, new))
    with pytest.raises(InputError) as raised:
        load_run(run_file)
    assert said in raised.value.problem and str(run_file) in raised.value.problem


def test_an_exported_model_in_fp32_may_be_a_fallback(run_file: Path) -> None:
    run_file.write_text(RUN.replace("    - hashed: {}", "    - {backend: onnx, exported: onnx}"))
    exported = alternatives(load_run(run_file).encoder)[2]
    assert isinstance(exported, OnnxConfig) and exported.exported == Path("onnx")


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({}, "transformer"),
        ({"model": "./models/mine"}, "transformer"),
        ({"backend": "onnx"}, "onnx"),
        ({"model": "my_package.encoders:load"}, "plugin"),
        ({"hashed": {"dim": 64}}, "hashed"),
        ({"kind": "hashed"}, "hashed"),
        ({"endpoint": {"base_url": "https://host/v1", "model": "m"}}, "endpoint"),
        ({"ensemble": {"members": [{}, {"hashed": {}}]}}, "ensemble"),
        ({"fallback": [{"hashed": {}}]}, "chain"),
        ({"hashed": {}, "endpoint": None, "fallback": []}, "hashed"),
    ],
)
def test_the_keys_of_an_encoder_say_its_kind_and_what_is_shown_reads_the_same(
    keys: dict[str, object], kind: str
) -> None:
    encoder = read_encoder(keys)
    assert encoder.kind == kind
    assert read_encoder(encoder.model_dump(mode="json")) == encoder
    assert read_encoder(encoder.model_dump(mode="json")).identity() == encoder.identity()


@pytest.mark.parametrize(
    ("flags", "variable", "expected"),
    [
        (["--encoder.model", "other"], None, TransformerConfig(model="other")),
        ([], ("CATENA_ENCODER__MODEL", "other"), TransformerConfig(model="other")),
        (["--encoder.model", "mine"], ("CATENA_ENCODER__MODEL", "other"), TransformerConfig(model="mine")),
        (["--encoder.model", "package.encoders:load"], None, PluginConfig(model="package.encoders:load")),
        (["--encoder.backend", "onnx"], ("CATENA_ENCODER__PRECISION", "int8"), OnnxConfig(precision="int8")),
        ([], ("CATENA_ENCODER__HASHED__DIM", "64"), HashedEncoderConfig(hashed=HashedConfig(dim=64))),
    ],
)
def test_flags_and_variables_choose_the_kind_too(
    run_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    variable: tuple[str, str] | None,
    expected: SingleEncoder,
) -> None:
    run_file.write_text(RUN[: RUN.index("encoder:")])
    if variable:
        monkeypatch.setenv(*variable)
    assert load_run(run_file, flags).encoder == expected


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("{modle: x}", "line 5: encoder.modle: unknown key; did you mean 'model'?"),
        ("{backend: onnx, exportet: x}", "encoder.exportet: unknown key; did you mean 'exported'?"),
        ("{hashed: {}, model: x}", "one kind of encoder: hashed does not go with model"),
        (
            "{hashed: {}, fallback: [{precison: fp32}]}",
            "encoder.fallback.0.precison: unknown key; did you mean 'precision'?",
        ),
        ("{precision: int8}", "backend torch has no precision int8"),
        ("{backend: onnx, compile: true}", "compile is for backend torch"),
        ("{kind: hashd}", "encoder: input tag 'hashd' found using 'kind' does not match any of the expected tags"),
    ],
)
def test_a_key_of_no_kind_or_of_another_is_named_with_what_is_allowed(run_file: Path, encoder: str, said: str) -> None:
    run_file.write_text(RUN[: RUN.index("encoder:")] + f"encoder: {encoder}\n")
    with pytest.raises(InputError) as raised:
        load_run(run_file)
    assert said in raised.value.problem
