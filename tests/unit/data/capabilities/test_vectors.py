"""Vectors of a catalogue: questions and documents apart, and a job that goes on where it was stopped."""

from pathlib import Path

import numpy as np
import pytest

from data.capabilities import vectors
from data.capabilities.vectors import embed_catalogue, manifest_of, vectors_of
from data.encoders import load_encoder
from data.encoders.config import HashedConfig, HashedEncoderConfig
from data.spread import Here

TEXTS = {"tools": ["adds numbers"], "capabilities": ["adds numbers", "draws"], "intents": ["add 1", "a", "draw"]}


def test_vectors_are_in_the_order_of_the_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "PART_TEXTS", 2)
    config = HashedEncoderConfig(hashed=HashedConfig(dim=64))
    told = embed_catalogue(TEXTS, config, tmp_path, Here())
    encoder = load_encoder(config)
    assert told == manifest_of(tmp_path) == {"dim": 64, "fingerprint": encoder.fingerprint}
    assert np.array_equal(vectors_of(tmp_path, "intents"), encoder.encode_queries(TEXTS["intents"]))
    assert np.array_equal(vectors_of(tmp_path, "capabilities"), encoder.encode(TEXTS["capabilities"]))


def test_parts_that_are_there_are_kept(tmp_path: Path) -> None:
    config = HashedEncoderConfig(hashed=HashedConfig(dim=64))
    embed_catalogue(TEXTS, config, tmp_path, Here())
    part = tmp_path / "parts" / "tools-00000.npy"
    np.save(part, np.ones((1, 64), np.float32))
    embed_catalogue(TEXTS, config, tmp_path, Here())
    assert vectors_of(tmp_path, "tools").sum() == 64


def test_without_traces_there_are_no_intents(tmp_path: Path) -> None:
    embed_catalogue({**TEXTS, "intents": []}, HashedEncoderConfig(hashed=HashedConfig(dim=64)), tmp_path, Here())
    assert vectors_of(tmp_path, "intents").shape == (0, 64)
