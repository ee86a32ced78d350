"""The stages that a run has only where it asks for them, and their commands."""

from pathlib import Path

import pytest

from data.errors import InputError
from ray_apps.cli import main
from ray_apps.config import RunConfig, load_run
from ray_apps.plan import Plan
from tests.run_files import write_run


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    return write_run(tmp_path)


def keys(run: RunConfig) -> dict[str, str]:
    return {stage: Plan(run).artifact(stage).key for stage in ("embed", "index", "evaluate_search", "train")}


def test_a_run_without_them_has_neither_stage(run_file: Path) -> None:
    assert not {"late", "matryoshka"} & set(Plan(load_run(run_file)).names())


def test_token_vectors_change_the_index_and_nothing_before_it(run_file: Path) -> None:
    without, with_late = load_run(run_file), load_run(run_file, ["--late.dim", "64"])
    assert with_late.late is not None and with_late.late.dim == 64
    assert {stage for stage, key in keys(with_late).items() if key != keys(without)[stage]} == {
        "index",
        "evaluate_search",
    }
    assert "late" in Plan(with_late).names()
    other = load_run(run_file, ["--late.dim", "32"])
    assert Plan(other).artifact("index").key != Plan(with_late).artifact("index").key


def test_the_command_late_needs_its_section(run_file: Path) -> None:
    with pytest.raises(InputError, match="no section `late`"):
        Plan(load_run(run_file)).bring("late")


def test_an_encoder_of_ones_own_is_not_tuned(run_file: Path) -> None:
    with pytest.raises(InputError, match=r"encoder.model: benchmarks.* is a custom encoder: it cannot be fine-t"):
        Plan(load_run(run_file, ["--encoder.model", "benchmarks.embed.stub_encoder:load"])).bring("matryoshka")


def test_what_is_no_model_is_neither_tuned_nor_asked_for_tokens(run_file: Path) -> None:
    hashed = load_run(run_file, ["--encoder.hashed.dim", "64", "--late.dim", "32"])
    with pytest.raises(InputError, match=r"encoder.hashed: hashed TF-IDF .* cannot be fine-tuned"):
        Plan(hashed).bring("matryoshka")
    for stage in ("late", "index"):
        with pytest.raises(InputError, match=r"late: encoder.hashed: .* not those of its tokens"):
            Plan(hashed).bring(stage)
    assert not Plan(hashed).artifact("embed").done


def test_an_unknown_action_is_told(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encoder", "matroshka", str(run_file)]) == 2
    assert "unknown command 'encoder matroshka'; did you mean 'matryoshka'?" in capsys.readouterr().err


def test_a_wrong_value_names_its_key(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", str(run_file), "--late.storage", "int4"]) == 2
    assert "late.storage" in capsys.readouterr().err
    assert main(["config", str(run_file), "--matryoshka.dims", "[24, 48]"]) == 2
    assert "must be at least 1 and fall" in capsys.readouterr().err
