"""Fusions keep what they promise of the members' similarities, whatever the dimensions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from data.encoders import check_model, load_encoder
from data.encoders.config import EncoderConfig, HashedConfig, read_encoder
from data.encoders.ensemble.encoder import EnsembleEncoder
from data.encoders.ensemble.fusion import Attention, Concatenation, WeightedMean, seen_pairs, shares
from data.encoders.hashed import HashedEncoder
from data.encoders.protocol import Encoded, Encoder, Vectors
from data.errors import EncoderUnavailable, InputError
from data.matrices import orthonormal_columns, unit_rows
from tests.endpoint_server import Server

TEXTS = ["the moon moves the sea", "moon and sea", "an inverse matrix", "invert the matrix", "still waters", ""]
LARGE, SMALL = {"hashed": {"dim": 512}}, {"hashed": {"dim": 64, "language": "none"}}

SEEN = np.array([3, 5], np.uint64)  # marks of pairs


def ensemble(fusion: str = "concatenation", **settings: object) -> EncoderConfig:
    """Of two hashed encoders of different dimensions."""
    return read_encoder({"ensemble": {"members": [LARGE, SMALL], "fusion": fusion, **settings}})


def members(texts: list[str] = TEXTS) -> list[Vectors]:
    return [load_encoder(read_encoder(member)).encode(texts) for member in (LARGE, SMALL)]


def test_concatenated_similarities_add_up_by_their_weights() -> None:
    encoder = load_encoder(ensemble(weights=[3, 1]))
    vectors, (large, small) = encoder.encode(TEXTS), members()
    np.testing.assert_allclose(vectors @ vectors.T, 0.75 * large @ large.T + 0.25 * small @ small.T, atol=1e-5)
    assert encoder.dim == 576 and vectors.dtype == np.float32 and not vectors[-1].any()


def test_the_most_that_a_member_cut_off_is_flagged_and_retries_add_up() -> None:
    class Short(HashedEncoder):
        """Reads two words of a text, and has little memory."""

        def encode_counted(self, texts: Sequence[str]) -> Encoded:
            read = super().encode_counted(texts)
            return replace(read, dropped=np.maximum(read.tokens - 2, 0), oom_retries=2)

    plain, short = HashedEncoder(HashedConfig(dim=64)), Short(HashedConfig(dim=64))
    fusion = Concatenation(shares(None, 2), (64, 64))
    assert EnsembleEncoder([plain, short], fusion, "").encode_counted(
        ["moon sea sun star", "moon"]
    ).dropped.tolist() == [2, 0]
    assert EnsembleEncoder([short, short], fusion, "").encode_counted(["moon sea sun star", "moon"]).oom_retries == 4
    assert not len(EnsembleEncoder([plain, plain], fusion, "").encode_counted(["moon"]).dropped)


def test_mean_of_equal_dimensions_is_the_plain_one() -> None:
    one, two = unit_rows(np.random.default_rng(0).standard_normal((2 * 6, 64), np.float32)).reshape(2, 6, 64)
    fused = WeightedMean(shares([1, 3], 2), (64, 64), seed=0)([one, two])
    np.testing.assert_allclose(fused, unit_rows(0.25 * one + 0.75 * two), atol=1e-6)


def test_mean_of_different_dimensions_keeps_each_members_similarities() -> None:
    rng = np.random.default_rng(0)
    small, large = (unit_rows(rng.standard_normal((40, dim), np.float32)) for dim in (64, 1024))
    turned = small @ orthonormal_columns(1024, 64, seed=1).T
    np.testing.assert_allclose(turned @ turned.T, small @ small.T, atol=1e-5)
    fused = WeightedMean(shares(None, 2), (64, 1024), seed=0)([small, large])
    expected = (small @ small.T + large @ large.T) / 2
    assert fused.shape == (40, 1024) and np.abs(fused @ fused.T - expected).max() < 6 / np.sqrt(1024)
    np.testing.assert_array_equal(fused, WeightedMean(shares(None, 2), (64, 1024), seed=0)([small, large]))


def test_a_text_that_one_member_does_not_know_has_the_others_vector() -> None:
    known, unknown = unit_rows(np.ones((1, 4), np.float32)), np.zeros((1, 2), np.float32)
    for fusion in (Concatenation(shares(None, 2), (4, 2)), WeightedMean(shares(None, 2), (4, 2), 0)):
        assert np.linalg.norm(fusion([known, unknown])) == pytest.approx(1, abs=1e-6)


def attention(seed: int = 0, dims: tuple[int, ...] = (512, 64)) -> Attention:
    rng = np.random.default_rng(seed)
    scorers = tuple(rng.standard_normal(d).astype(np.float32) for d in dims)
    return Attention(scorers, rng.standard_normal(len(dims)).astype(np.float32))


def fingerprints() -> list[str]:
    return [load_encoder(read_encoder(member)).fingerprint for member in (LARGE, SMALL)]


def test_attention_weighs_each_text_for_itself() -> None:
    fusion, (large, small) = attention(), members()
    for row in range(len(TEXTS)):
        scores = np.array([large[row] @ fusion.scorers[0], small[row] @ fusion.scorers[1]]) + fusion.biases
        weights = np.exp(scores) / np.exp(scores).sum()
        expected = np.concatenate([weights[0] * large[row], weights[1] * small[row]])
        fused = fusion([large[[row]], small[[row]]])[0]
        np.testing.assert_allclose(fused, unit_rows(expected[None])[0], atol=1e-5)


def test_attention_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fusion.safetensors"
    attention().save(path, fingerprints(), SEEN)
    encoder = load_encoder(ensemble("attention", attention=path))
    np.testing.assert_allclose(encoder.encode(TEXTS), attention()(members()), atol=1e-6)
    np.testing.assert_array_equal(seen_pairs(path), SEEN)
    before, identity = encoder.fingerprint, ensemble("attention", attention=path).identity()
    attention(seed=1).save(path, fingerprints(), SEEN)
    assert load_encoder(ensemble("attention", attention=path)).fingerprint != before
    assert ensemble("attention", attention=path).identity() != identity


def test_attention_files_that_do_not_fit_are_told(tmp_path: Path) -> None:
    path = tmp_path / "fusion.safetensors"
    config = ensemble("attention", attention=path)
    with pytest.raises(InputError, match=r"there is no file .*\n.*catena encoder fuse"):
        check_model(config)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="cannot be read"):
        load_encoder(config)
    attention().save(path, list(reversed(fingerprints())), SEEN)
    with pytest.raises(InputError, match="was learned on the encoders"):
        load_encoder(config)


def test_what_changes_vectors_changes_the_fingerprint() -> None:
    variants = [
        ensemble(),
        ensemble(weights=[2, 1]),
        ensemble("mean"),
        ensemble("mean", seed=1),
        ensemble(members=[SMALL, LARGE]),
    ]
    assert len({load_encoder(config).fingerprint for config in variants}) == len(variants)
    assert load_encoder(ensemble(weights=[2, 2])).fingerprint == load_encoder(ensemble()).fingerprint


def test_ensembles_nest() -> None:
    inner = ensemble().model_dump(exclude_defaults=True)
    config = read_encoder({"ensemble": {"members": [inner, SMALL]}})
    encoder: Encoder = load_encoder(config)
    assert encoder.dim == 512 + 64 + 64 and encoder.precision == "fp32+fp32+fp32"


def test_a_member_that_is_down_takes_the_ensemble_with_it(endpoint: Server) -> None:
    down = endpoint.config(base_url="http://127.0.0.1:1/v1", retries=0).model_dump(exclude_defaults=True)
    with pytest.raises(EncoderUnavailable, match="the encoder words at"):
        load_encoder(read_encoder({"ensemble": {"members": [SMALL, down]}}))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"members": [SMALL]}, "at least 2 items"),
        ({"members": [LARGE, SMALL], "weights": [1]}, "one number above 0 for each of 2 members"),
        ({"members": [LARGE, SMALL], "weights": [1, 0]}, "one number above 0 for each of 2 members"),
        ({"members": [LARGE, SMALL], "fusion": "attention"}, "fusion 'attention' needs `attention`"),
        ({"members": [LARGE, SMALL], "attention": "file"}, "no other fusion takes one"),
        ({"members": [LARGE, {**SMALL, "fallback": [LARGE]}]}, "a member cannot have a fallback"),
        ({"members": [LARGE, {"hashed": {}, "model": "mine"}]}, "hashed does not go with model"),
        ({"members": [LARGE, {"hased": {}}]}, "Extra inputs are not permitted"),
    ],
)
def test_sections_that_make_no_sense_are_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        read_encoder({"ensemble": section})
