"""Vectors of a catalogue: questions and documents apart, and a job that goes on where it was stopped."""

from pathlib import Path

import numpy as np
import pytest

from data.capabilities import vectors
from data.capabilities.vectors import embed_catalogue, manifest_of, most_of, vectors_of
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
    (part,) = (tmp_path / "parts").glob("tools-*.npy")
    np.save(part, np.ones((1, 64), np.float32))
    embed_catalogue(TEXTS, config, tmp_path, Here())
    assert vectors_of(tmp_path, "tools").sum() == 64


def test_without_traces_there_are_no_intents(tmp_path: Path) -> None:
    embed_catalogue({**TEXTS, "intents": []}, HashedEncoderConfig(hashed=HashedConfig(dim=64)), tmp_path, Here())
    assert vectors_of(tmp_path, "intents").shape == (0, 64)


def test_only_new_texts_are_encoded_where_there_are_vectors_of_before(tmp_path: Path) -> None:
    config = HashedEncoderConfig(hashed=HashedConfig(dim=64))
    before, after, whole = (tmp_path / name for name in ("before", "after", "whole"))
    embed_catalogue(TEXTS, config, before, Here())
    marked = np.array(vectors_of(before, "intents")) + 1.0
    np.save(before / "intents.npy", marked)
    more = {**TEXTS, "intents": ["draw", "new", "add 1", "adds numbers"]}
    embed_catalogue(more, config, after, Here(), known=before)
    embed_catalogue(more, config, whole, Here())
    found, expected = vectors_of(after, "intents"), np.array(vectors_of(whole, "intents"))
    np.testing.assert_array_equal(found[[0, 2]], marked[[2, 0]])  # copied
    np.testing.assert_array_equal(found[[1, 3]], expected[[1, 3]])  # a tool's text is no intent
    assert manifest_of(after) == manifest_of(whole)
    again = tmp_path / "again"
    embed_catalogue(TEXTS, config, again, Here(), known=before)  # nothing is new
    np.testing.assert_array_equal(vectors_of(again, "intents"), marked)


def test_vectors_of_another_encoder_are_not_copied(tmp_path: Path) -> None:
    embed_catalogue(TEXTS, HashedEncoderConfig(hashed=HashedConfig(dim=32)), tmp_path / "other", Here())
    config = HashedEncoderConfig(hashed=HashedConfig(dim=64))
    more = {**TEXTS, "intents": ["new", *TEXTS["intents"]]}
    embed_catalogue(more, config, tmp_path / "out", Here(), known=tmp_path / "other")
    np.testing.assert_array_equal(
        vectors_of(tmp_path / "out", "intents"), load_encoder(config).encode_queries(more["intents"])
    )


def test_the_output_that_has_most_of_the_texts_is_copied_from(tmp_path: Path) -> None:
    config = HashedEncoderConfig(hashed=HashedConfig(dim=64))
    folders = [tmp_path / name for name in ("small", "large", "other")]
    for folder, intents in zip(folders, (["a"], ["a", "b", "c"], ["x", "y", "z", "w"]), strict=True):
        folder.mkdir()
        embed_catalogue({"tools": [], "capabilities": [], "intents": intents}, config, folder, Here())
    assert most_of(folders, "intents", ["a", "b", "x"]) == folders[1]
    assert most_of(folders, "intents", ["new"]) is None and most_of([], "intents", ["a"]) is None
