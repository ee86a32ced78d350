"""The stage finetune: off it changes no key; on, every stage that uses the encoder takes what it has made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.artifacts import materialise
from data.encoders.config import EncoderConfig, alternatives
from data.encoders.forms import model_of
from data.errors import InputError, StageAbsent
from ray_apps.config import RunConfig, load_run
from ray_apps.encoder.check import encoder_needs, ready_encoder
from ray_apps.encoder.finetune import FineTuneResult
from ray_apps.plan import Plan
from tests.run_files import changed, write_run

ON = ["--finetune.pairs", "links"]
USERS = {
    "embed",
    "late",
    "reduce",
    "index",
    "ranker",
    "boosted",
    "graph",
    "train",
    "tune",
    "evaluate_search",
    "evaluate_links",
    "discover",
}
ONNX = {"onnx", "onnx_int8", "gate"}


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    return write_run(tmp_path, late={})


def made(run: RunConfig, kept: str) -> EncoderConfig:
    """The encoder as a stage loads it, once the stage finetune has said what it kept."""
    plan = Plan(run)
    figures: dict[str, Any] = {"mrr": 0.5}
    result = FineTuneResult(
        training_pairs=2,
        valid_pairs=1,
        frozen=figures,
        tuned=figures,
        kept=kept,
        best_epoch=0 if kept == "frozen" else 1,
        history=[],
        model="",
    )
    artifact = materialise(plan.artifact("finetune"), lambda out: result)
    return ready_encoder(plan.encoder, {"finetuned": artifact})


def test_switched_off_it_changes_no_key(run_file: Path) -> None:
    plain, other = load_run(run_file), load_run(run_file, ["--finetune.epoch-pairs", "7"])
    assert changed(plain, other) == {"finetune"}
    assert "finetune" not in Plan(other).names() and "finetuned" not in encoder_needs(Plan(other))
    with pytest.raises(StageAbsent, match="does not ask for a fine-tuned encoder"):
        Plan(plain).bring("finetune")


def test_every_stage_that_uses_the_encoder_is_made_of_the_fine_tuned_one(run_file: Path) -> None:
    off, on = load_run(run_file), load_run(run_file, ON)
    assert changed(off, on) == {"finetune", *USERS, *ONNX}
    other = load_run(run_file, [*ON, "--finetune.temperature", "0.1"])
    assert changed(on, other) == {"finetune", *USERS, *ONNX}
    plan = Plan(on)
    names = plan.names()
    assert names.index("split") < names.index("finetune") < names.index("embed")
    assert set(plan.stages["finetune"].needs(plan).values()) <= set(names[: names.index("finetune")])
    assert not changed(on, load_run(run_file, [*ON, "--finetune.spread.max-failures", "9"]))


def test_the_fine_tuned_model_stands_in_the_place_of_the_runs_own_unless_the_frozen_one_is_kept(run_file: Path) -> None:
    run = load_run(run_file, ON)
    tuned = model_of(made(run, "tuned"))
    assert tuned is not None and tuned.model == str(Plan(run).artifact("finetune").path / "model")
    chain = load_run(run_file, [*ON, "--encoder", '{"fallback": [{"hashed": {}}]}'])
    first, second = alternatives(made(chain, "tuned"))
    assert first.label.endswith("/model") and second.kind == "hashed"
    frozen = load_run(run_file, [*ON, "--finetune.temperature", "0.1"])
    assert made(frozen, "frozen") == Plan(frozen).encoder


@pytest.mark.parametrize(
    ("encoder", "problem"),
    [
        (["--encoder.hashed.dim", "64"], r"encoder.hashed: hashed TF-IDF .* cannot be fine-tuned"),
        (["--encoder", '{"endpoint": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}'], "cannot be fine-tuned"),
        (["--encoder.model", "benchmarks.embed.stub_encoder:load"], "is a custom encoder: it cannot be fine-tuned"),
        (["--encoder.backend", "onnx", "--encoder.exported", "/x"], "is an export of the encoder as it is"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_made(
    run_file: Path, encoder: list[str], problem: str
) -> None:
    for stage in ("finetune", "embed", "index"):
        with pytest.raises(InputError, match=problem):
            Plan(load_run(run_file, [*ON, *encoder])).bring(stage)
    assert not Plan(load_run(run_file)).artifact("ingest").done


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--finetune.spread.strategy", "fsdp"], "an encoder is fine-tuned on replicas"),
        (["--finetune.dims", "[8, 16]"], "dims must be at least 1 and fall"),
        (["--finetune.pairs", "qrels"], "finetune.pairs: .*'links'"),
        (["--finetune.batchpairs", "8"], "--finetune.batch-pairs"),
    ],
)
def test_a_wrong_value_names_its_key(run_file: Path, flags: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load_run(run_file, flags)


def test_a_graph_without_text_has_no_encoder_to_tune(tmp_path: Path) -> None:
    np.savez(tmp_path / "graph.npz", edges=[[0, 1], [1, 2]])
    run_file = write_run(tmp_path, source={"graph": {"links": [str(tmp_path / "graph.npz")]}})
    plan = Plan(load_run(run_file, ON))
    assert "finetune" not in plan.names()
    assert "finetuned" not in plan.stages["graph"].needs(plan)
