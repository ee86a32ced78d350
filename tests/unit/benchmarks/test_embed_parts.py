"""The embedding's table: a part that cannot be measured does not take the others with it; the GPU's rows work."""

import importlib
from pathlib import Path

import pytest

from benchmarks import embed, embed_gpu
from benchmarks.rows import Row
from data.errors import InputError

ROW = Row(id="embed.x", what="x", value=1.0, unit="s", hardware="h", date="2026-11-25")


def test_a_part_that_cannot_be_measured_is_told_and_the_rest_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> list[Row]:
        raise InputError("no corpus", "Fetch it.")

    for part in embed.PARTS:
        module = importlib.import_module(f"benchmarks.embed_{part}")  # each is there
        monkeypatch.setattr(module, "measure", fail if part == "storage" else lambda: [ROW])
    assert len(embed.measure()) == len(embed.PARTS) - 1
    assert "storage was not measured: no corpus" in caplog.text


def test_the_gpus_rows_on_whatever_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_gpu, "BATCH_TOKENS", 512)
    monkeypatch.setattr(embed_gpu, "ROUNDS", 1)
    embed_gpu.write_base_model(tmp_path, layers=1)
    ratio, share = embed_gpu.rows(str(tmp_path), "cpu", 2)
    assert ratio.value > 0 and 0 < share.value < 200 and "of 256 tokens" in ratio.what
