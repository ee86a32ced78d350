"""The embedding's table: a part that cannot be measured does not take the others with it; the GPU's rows work."""

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.embed import gpu as embed_gpu
from benchmarks.embed import suite as embed
from benchmarks.rows import Row
from data.errors import InputError
from ray_apps.cli import main

ROW = Row(id="embed.x", what="x", value=1.0, unit="s", hardware="h", date="2026-11-25")


def test_a_part_that_cannot_be_measured_is_told_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)  # where the page is written

    def fail() -> list[Row]:
        raise InputError("no corpus", "Fetch it.")

    for part in embed.PARTS:
        module = importlib.import_module(f"benchmarks.embed.{part}")  # each is there
        monkeypatch.setattr(module, "measure", fail if part == "storage" else lambda: [ROW])
    assert main(["bench", "embed", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(result["rows"]) == len(embed.PARTS) - 1
    assert result["not_measured"] == {"storage": "no corpus Fetch it."}
    (page,) = result["files"]
    assert Path(page).read_text().endswith("\n\nNot measured: `storage`: no corpus Fetch it.\n")
    assert "storage was not measured: no corpus" in caplog.text
    assert main(["bench", "embed"]) == 0
    assert "not measured: storage: no corpus Fetch it." in capsys.readouterr().out


def test_where_nothing_could_be_measured_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail() -> list[Row]:
        raise OSError("no memory")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embed, "PARTS", ("speed",))
    monkeypatch.setattr(importlib.import_module("benchmarks.embed.speed"), "measure", fail)
    assert main(["bench", "embed"]) == 2
    assert "nothing was measured: {'speed': 'no memory'}" in capsys.readouterr().err


def test_the_gpus_rows_on_whatever_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_gpu, "BATCH_TOKENS", 512)
    monkeypatch.setattr(embed_gpu, "ROUNDS", 1)
    embed_gpu.write_base_model(tmp_path, layers=1)
    ratio, share = embed_gpu.rows(str(tmp_path), "cpu", 2)
    assert ratio.value > 0 and 0 < share.value < 200 and "of 256 tokens" in ratio.what
