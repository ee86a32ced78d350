"""`catena encoder`: the gate over a run's own questions, its verdict in the way of a form, and the export."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts import materialise
from data.encoders import load_encoder
from data.encoders.chain import computing_as
from data.encoders.config import EncoderConfig, OnnxConfig, TransformerConfig, alternatives, read_encoder
from data.encoders.forms import available_forms, form_of
from data.encoders.onnx.encoder import OnnxEncoder
from data.encoders.onnx.triton import read_repository
from data.encoders.transformer.precision import TEXTS
from data.errors import InputError
from data.partitions import write_partition
from data.schema import DOCUMENTS, QRELS, QUERIES
from evaluation import encoder_gate
from evaluation.encoder_gate import FormFigures, refusal
from ray_apps.cli import main
from ray_apps.commands import COMMANDS
from ray_apps.config import RunConfig
from ray_apps.encoder.check import usable_encoder
from ray_apps.plan import Plan
from ray_apps.stages import STAGES
from tests.results import AnyResult

WORDS = "moon sea harbour sparse matrix inverse verse kernel graph pilot almanac column wind".split()


@pytest.fixture(scope="module")
def run(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run whose corpus is read: 60 documents, and for every third of them a question that is a part of it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    run = RunConfig.model_validate(
        {
            "name": "small",
            "workspace": folder / "workspace",
            "source": {"files": {"documents": {"path": str(folder / "documents.jsonl")}}},
            "encoder": {"model": str(small_model), "device": "cpu", "precision": "fp32"},
            "evaluate": {"gate_passages": 50},
        }
    )
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 40)) for _ in range(60)]
    tables = {
        "documents": ([{"id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)], DOCUMENTS),
        "queries": ([{"id": f"q{n}", "text": texts[n][:90]} for n in range(0, 60, 3)], QUERIES),
        "qrels": ([{"query_id": f"q{n}", "document_id": f"d{n}", "score": 1} for n in range(0, 60, 3)], QRELS),
    }

    def work(out: Path) -> AnyResult:
        for name, (rows, schema) in tables.items():
            (out / name).mkdir()
            write_partition(pa.Table.from_pylist(rows, schema=schema), out / name / "part-00000.parquet")
        return AnyResult(links=0, **{name: len(rows) for name, (rows, _) in tables.items()})

    materialise(Plan(run).artifact("ingest"), work)
    return run


def with_encoder(run: RunConfig, **changes: object) -> RunConfig:
    own = run.encoder.model_dump(exclude_defaults=True)
    return run.model_copy(update={"encoder": read_encoder({**own, **changes})})


def call(action: str, run: RunConfig, *words: str) -> dict[str, Any]:
    """What `catena encoder ACTION` returns for a run."""
    command = COMMANDS[f"encoder {action}"]
    assert command.call is not None
    return dict(command.call(Plan(run), command.parser().parse_args(["run.yaml", *words])))


def usable(run: RunConfig) -> EncoderConfig:
    return usable_encoder(Plan(run))


def test_the_gate_measures_every_form_writes_its_table_and_keeps_it(run: RunConfig) -> None:
    result = call("check", run)
    checked = result["encoder"]
    lines = {line["form"]: line for line in checked["forms"]}
    assert {"torch fp32", "onnx fp32", "onnx int8"} <= lines.keys()
    assert checked["questions"] == 20 and checked["passages"] == 50 and checked["of_passages"] == 60
    assert lines["onnx fp32"]["accepted"] and lines["onnx fp32"]["cosine_min"] > 0.9999
    assert lines["onnx int8"]["cosine_min"] > 0.98 and 0 < lines["onnx int8"]["ndcg_at_10"] <= 1
    fastest = max((line for line in lines.values() if line["accepted"]), key=lambda line: line["documents_per_s"])
    assert checked["picked"] == fastest["form"]
    assert "| onnx int8 |" in (Path(result["artifact"]) / "table.md").read_text()
    shown = COMMANDS["encoder check"].show(result)
    assert "onnx int8" in shown and "20 questions" in shown and f"picked: {fastest['form']}" in shown
    assert call("check", run)["encoder"]["seconds"] == checked["seconds"]  # not measured again


def test_a_form_that_passes_is_exported_and_loads(run: RunConfig) -> None:
    config = usable(with_encoder(run, backend="onnx", precision="auto"))
    assert isinstance(config, OnnxConfig) and config.exported is not None
    loaded = load_encoder(config)
    assert isinstance(loaded, OnnxEncoder)
    exact = load_encoder(run.encoder)
    assert (loaded.encode(TEXTS) * exact.encode(TEXTS)).sum(axis=1).min() > 0.9999


def test_a_refused_form_is_refused_with_its_figures_wherever_it_is_asked_for(
    run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, beside = encoder_gate.measure_forms, set()

    def worse(*arguments: object) -> list[FormFigures]:  # a loss that no random model gives on demand
        loss = {"accepted": False, "ndcg_loss": 0.08, "reason": "loses 8.00% of nDCG@10, 0.10% is allowed"}
        lines = measure(*arguments)  # type: ignore[arg-type]
        beside.update(line.form for line in lines)
        return [line.model_copy(update=loss) if line.form == "onnx int8" else line for line in lines]

    monkeypatch.setattr(encoder_gate, "measure_forms", worse)
    asked = with_encoder(run, backend="onnx", precision="int8", tolerance=0.001)
    with pytest.raises(
        InputError,
        match=r"onnx int8 is refused on this machine: loses 8\.00%.*measured: .* documents/s .*cosine to fp32 0\.9",
    ):
        usable(asked)
    assert beside == set(available_forms(asked.encoder))  # it has to be faster than all that lose less
    without_ray = {**STAGES, "embed": replace(STAGES["embed"], on_ray=False)}
    with pytest.raises(InputError, match="onnx int8 is refused"):
        Plan(asked, without_ray).bring("embed")


@pytest.mark.parametrize(
    ("loss", "cosine", "offered"),
    [
        (0.08, 0.9, "a larger encoder.tolerance"),
        (None, 0.99, "name questions and judgments in the source"),
        (0.001, 0.99, None),  # too slow
        (None, 0.9999, None),
    ],
)
def test_what_is_offered_beside_a_form_that_passes_is_what_could_change_the_verdict(
    loss: float | None, cosine: float, offered: str | None
) -> None:
    line = FormFigures(form="onnx int8", cosine_min=cosine, ndcg_loss=loss, accepted=False, reason="")
    _, _, beside = refusal(line, 0.005).remedy.partition(", or ")
    assert beside.startswith(offered) if offered else not beside


BF16 = {"form": "torch bf16", "documents_per_s": 30.0, "speedup": 1.5, "cosine_min": 0.9991, "cosine_mean": 0.9999}


@pytest.fixture
def judged(run: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunConfig]:
    """The run with a finished verdict on bf16, on a processor that has it."""
    monkeypatch.setattr("data.encoders.transformer.precision.bf16_in_hardware", lambda device: True)

    def judge(accepted: bool, tolerance: float) -> RunConfig:
        judged = with_encoder(run, precision="auto", tolerance=tolerance, fallback=[{"hashed": {}}])
        assert usable(judged) == judged.encoder  # no verdict yet
        line = FormFigures(**BF16, accepted=accepted, reason="loses 2.00% of nDCG@10")
        measured = AnyResult(forms=[line.model_dump(mode="json")], machine={"device": "cpu"})
        materialise(Plan(judged).artifact("gate"), lambda out: measured)
        return judged

    return judge


def test_what_the_gate_refuses_is_not_chosen_in_torch(
    judged: Callable[..., RunConfig], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "catena")
    run = judged(accepted=False, tolerance=0.011)
    config = usable(run)
    first, *others = alternatives(config)
    assert isinstance(first, TransformerConfig) and first.settled_precision == "fp32"
    assert others == [*alternatives(run.encoder)[1:]]
    assert "encoder: fp32, since the gate refuses torch bf16 on this machine: loses 2.00% of nDCG@10" in caplog.text
    chosen = with_encoder(run, precision="fp32", fallback=[{"hashed": {}}])
    assert Plan(run).artifact("embed").key == Plan(chosen).artifact("embed").key
    assert computing_as(first, "bf16").settled_precision == "bf16"  # an index that was built in it before
    with pytest.raises(InputError, match=r"torch bf16 is refused on this machine: loses 2\.00%.*30\.0 documents/s"):
        usable(with_encoder(run, precision="bf16"))
    assert form_of(usable(with_encoder(run, precision="fp32"))) == "torch fp32"


def test_what_the_gate_accepts_is_left_to_auto(judged: Callable[..., RunConfig]) -> None:
    run = judged(accepted=True, tolerance=0.012)
    assert usable(run) == run.encoder


def test_without_questions_the_gate_says_that_cosine_decides(
    run: RunConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "catena")
    monkeypatch.setattr("evaluation.questions.draw_questions", lambda *_: encoder_gate.Questions({}, {}))
    made = Plan(with_encoder(run, tolerance=0.2)).bring("gate")
    assert "only cosine (at least 0.999) and speed decide" in caplog.text
    assert {line["ndcg_at_10"] for line in made.result["forms"]} == {None}


def test_a_triton_repository_is_written_and_its_model_gives_torchs_vectors(run: RunConfig, tmp_path: Path) -> None:
    result = call("export", run, "--triton", str(tmp_path / "repository"))["encoder"]
    assert result["cosine_to_torch"] >= 0.999 and result["precision"] == "fp32"
    served = read_repository(tmp_path / "repository" / "model-fp32")
    assert (served.name, served.dim) == ("model-fp32", 64)
    assert (tmp_path / "repository" / "model-fp32" / "1" / "model.onnx").stat().st_size > 1_000_000
    json.dumps(result)


def test_what_cannot_be_asked_for_is_told(run: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="required: --triton"):
        call("export", run)
    with pytest.raises(InputError, match="custom encoder: it has no forms"):
        call("check", with_encoder(run, model="benchmarks.embed.stub_encoder:load"))
    assert main(["encoder", "chek", "x.yaml"]) == 2
    assert "unknown command 'encoder chek'; did you mean 'check'?" in capsys.readouterr().err
