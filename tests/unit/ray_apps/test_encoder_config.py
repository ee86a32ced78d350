"""Encoders nest in a run file, every key is a flag too, and a mistake deep inside is found."""

import json
from pathlib import Path

import pytest
import yaml

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
    assert run.encoder.ensemble is not None and len(run.encoder.ensemble.members) == 2
    assert run.encoder.fallback[0].hashed is not None


def test_environment_reaches_the_endpoint(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_ENCODER__ENDPOINT__MODEL", "others")
    monkeypatch.setenv("CATENA_ENDPOINT_API_KEY", "sk-hidden")  # no key of a run file, and let through
    run = load_run(run_file)
    assert run.encoder.endpoint is not None and run.encoder.endpoint.model == "others"
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
    assert load_run(run_file).encoder.fallback[1].exported == Path("onnx")
