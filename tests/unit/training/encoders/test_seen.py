"""No encoder is evaluated on what it has seen: marks of pairs, refusals, and a canary that fails where a link leaks."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sentence_transformers import SentenceTransformer

from data.encoders.config import TransformerConfig, read_encoder
from data.encoders.ensemble.fusion import Attention
from data.errors import InputError
from data.graph.split import SplitConfig, linked_ids, write_split
from data.partitions import partition_name, write_partition
from data.schema import DOCUMENTS, LINKS
from tests.tiny_model import tiny_model
from training.encoders.config import MatryoshkaConfig
from training.encoders.examples import Corpus
from training.encoders.matryoshka import matryoshka_task
from training.encoders.pairs import read_pairs, write_pairs
from training.encoders.seen import NONE, SEEN, Pairs, keep_marks, pair_marks, refuse_seen, seen_by
from training.frame import fit

NOTHING: Pairs = ([], [])


def test_a_pair_has_one_mark_in_either_direction_and_others_have_others() -> None:
    left, right = ["a", "b", "ab", "a"], ["b", "a", "", "c"]
    marks = pair_marks(left, right)
    assert marks.dtype == np.uint64 and marks[0] == marks[1] and len(set(marks.tolist())) == 3
    assert pair_marks([], []).shape == (0,)


def test_an_encoder_that_has_seen_a_pair_is_refused_wherever_it_stands_in_a_chain(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    tuned = TransformerConfig(model=str(model))
    refuse_seen(tuned, (["one"], ["two"]), NOTHING)  # not fine-tuned here
    keep_marks(pair_marks(["one", "three"], ["two", "four"]), model)
    assert (model / SEEN).is_file() and list(seen_by(tuned)) == [str(model)]
    refuse_seen(tuned, (["one"], ["four"]), NOTHING)
    for config in (tuned, read_encoder({"fallback": [{"model": str(model)}]})):
        with pytest.raises(InputError, match="was fine-tuned on 1 of the 2 held-out links of this run"):
            refuse_seen(config, (["Two ", "five"], ["one", "six"]), NOTHING)


def test_held_out_links_between_copies_of_training_texts_are_no_leak(tmp_path: Path) -> None:
    keep_marks(pair_marks(["one"], ["two"]), tmp_path)
    tuned = TransformerConfig(model=str(tmp_path))
    refuse_seen(tuned, (["one", "five"], ["two", "six"]), (["two"], ["one"]))
    with pytest.raises(InputError, match="1 of the 2 held-out links"):
        refuse_seen(tuned, (["one", "five"], ["two", "six"]), (["two"], ["three"]))


def test_a_model_inherits_the_marks_of_the_model_that_it_was_made_from(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder in (first, second, third):
        folder.mkdir()
    keep_marks(pair_marks(["one"], ["two"]), first)
    keep_marks(pair_marks(["three"], ["four"]), second, made_from=first)
    seen = seen_by(TransformerConfig(model=str(second)))[str(second)]
    assert np.isin(pair_marks(["one", "three"], ["two", "four"]), seen).all()
    keep_marks(NONE, third, made_from=tmp_path / "absent")
    assert not (third / SEEN).exists()


def test_an_exported_model_and_a_learned_attention_carry_their_marks(tmp_path: Path) -> None:
    marks, plain = pair_marks(["one"], ["two"]), tmp_path / "plain"
    exported = tmp_path / "exported"
    exported.mkdir()
    keep_marks(marks, exported)
    config = read_encoder({"model": str(plain), "backend": "onnx", "exported": str(exported)})
    assert seen_by(config)[str(exported)] == marks
    attention = Attention((np.zeros(2, np.float32),) * 2, np.zeros(2, np.float32))
    attention.save(tmp_path / "a.safetensors", ["x", "y"], marks)
    copied = shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    members = [{"hashed": {"dim": 64}}, {"hashed": {"dim": 128}}]
    ensemble = {"members": members, "fusion": "attention", "attention": str(copied)}
    assert seen_by(read_encoder({"ensemble": ensemble}))[str(copied)] == marks


def noise(root: Path, documents: int = 120, links: int = 600) -> Corpus:
    """Documents that share no word, linked at random: nothing of one link follows from the others."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    texts = [" ".join("".join(rng.choice(letters, 4)) for _ in range(6)) for _ in range(documents)]
    rows = [{"id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)]
    ends = rng.integers(0, documents, (links, 2))
    linked = [{"source": f"d{a}", "target": f"d{b}", "relation": "r", "weight": 1.0} for a, b in ends if a != b]
    for name, schema, table in (("documents", DOCUMENTS, rows), ("links", LINKS, linked)):
        (root / name).mkdir(parents=True)
        write_partition(pa.Table.from_pylist(table, schema), root / name / partition_name(0))
    (root / "split").mkdir()
    config = SplitConfig(valid_fraction=0.1, test_fraction=0.2)
    write_split(root / "documents", root / "links", config, root / "split")
    return Corpus(root / "documents", root, root / "split")


def mean_rank(model: SentenceTransformer, corpus: Corpus, pairs: list[tuple[str, str]]) -> float:
    """Mean rank of the other end of links among all documents by cosine, as a share of them: chance is 0.5."""
    table = pa.concat_tables([pq.read_table(path) for path in corpus.documents.glob("*.parquet")])
    ids, texts = table["id"].to_pylist(), table["text"].to_pylist()
    vectors = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    number = {id_: n for n, id_ in enumerate(ids)}
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -np.inf)
    ranks = [(cosine[number[a]] > cosine[number[a], number[b]]).sum() for a, b in pairs]
    return float(np.mean(ranks) / (len(ids) - 2))


def test_the_canary_an_encoder_tuned_on_noise_is_at_chance_on_held_out_links(tmp_path: Path) -> None:
    corpus = noise(tmp_path / "corpus")
    model = tiny_model(tmp_path / "model")
    config = MatryoshkaConfig(
        dims=(16,), epochs=40, batch_pairs=64, learning_rate=3e-3, max_length=32, valid_share=0.05
    )
    write_pairs(corpus, config, tmp_path / "pairs.parquet")
    pairs = read_pairs(tmp_path / "pairs.parquet")
    held = linked_ids(tmp_path / "corpus/split", "test")
    seen = {frozenset(pair) for pair in zip(pairs.anchor_ids, pairs.positive_ids, strict=True)}
    assert len(held) > 80 and not seen & {frozenset(pair) for pair in held}
    last: dict[str, torch.Tensor] = {}
    task = matryoshka_task(model, pairs, config)
    fit(task, config.optimizer, on_epoch=lambda *_: last.update(copy.deepcopy(model.state_dict())))
    model.load_state_dict(last)  # not the best epoch, which on noise is the one before any training
    assert mean_rank(model, corpus, corpus.linked()) < 0.3  # the canary can fail: it has learned what it was trained on
    assert mean_rank(model, corpus, held) == pytest.approx(0.5, abs=0.08)
