"""Fine-tuning on training links: it learns, caches gradients, mines near misses, and never looks at held-out links."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data.encoders.config import TransformerConfig
from data.encoders.transformer.models import NO_PROMPTS
from data.errors import InputError
from data.graph.graph import Graph
from data.partitions import partition_name, write_partition
from tests.tiny_model import tiny_model
from training.encoders.config import FineTuneConfig, FineTuneOptimizerConfig
from training.encoders.finetune import finetune_task, vectors_by
from training.encoders.layers import falling_rates
from training.encoders.linked import LinkedPairs, read_linked, write_linked
from training.encoders.mining import draw_near
from training.encoders.task import FineTuneTask, PairEncoder, tokens
from training.encoders.tuned import check_fits
from training.frame import Progress, Save, fit
from training.near_misses import near_misses

CPU = torch.device("cpu")
TIMES = ("seconds", "valid_seconds", "pairs_per_s")
Weights = dict[str, torch.Tensor]

SMALL = FineTuneConfig(
    pairs="links",
    batch_pairs=16,
    piece_texts=8,
    near=5,
    frozen_layers=0,
    max_length=16,
    optimizer=FineTuneOptimizerConfig(learning_rate=3e-3, epochs=2, patience=9),
)
THEMES = [f"{a}{b}" for a in ("sea", "moon", "rock", "tree") for b in ("man", "light", "house", "bird", "field")]
TEXTS = pa.array([f"{THEMES[n % 20]} {'abcdefgh'[n // 20]} number {n}" for n in range(160)])


def links(seed: int = 0, most: int = 400) -> np.ndarray:
    """Pairs of documents of one theme, in random order: int64 (400, 2)."""
    u, v = np.triu_indices(160, 1)
    pairs = np.column_stack([u, v])[u % 20 == v % 20]
    return np.random.default_rng(seed).permutation(pairs)[:most]


def examples(config: FineTuneConfig = SMALL, valid: np.ndarray | None = None, texts: pa.Array = TEXTS) -> LinkedPairs:
    pairs = links()
    encode = vectors_by(TransformerConfig(), 64, NO_PROMPTS, "fp32")
    return LinkedPairs(texts, pairs[:320], pairs[320:] if valid is None else valid, config, encode)


def changed(**keys: object) -> FineTuneConfig:
    return FineTuneConfig.model_validate({**SMALL.model_dump(), **keys})


Trained = tuple[FineTuneTask, Progress, list[Weights]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> Trained:
    return trained(folder)


def trained(
    folder: Path, config: FineTuneConfig = SMALL, valid: np.ndarray | None = None, resume: Path | None = None
) -> Trained:
    """A task after its training, the progress, and the weights after each epoch, which are saved in ``folder``."""
    task = finetune_task(tiny_model(folder / "model"), examples(config, valid), config)
    after: list[Weights] = []

    def keep(progress: Progress, save: Save) -> None:
        after.append({name: tensor.clone() for name, tensor in task.model.state_dict().items()})
        if resume is None:
            made = folder / f"epoch-{progress.epoch}"
            made.mkdir()
            save(made)

    progress = fit(task, config.optimizer, on_epoch=keep, resume=resume)
    return task, progress, after


def test_held_out_links_are_found_better_and_the_best_epoch_is_kept(undisturbed: Trained) -> None:
    task, progress, after = undisturbed
    frozen, best = progress.history[0], progress.history[progress.best_epoch]
    assert progress.best_epoch > 0 and best["valid_mrr"] > 1.5 * frozen["valid_mrr"]
    assert best["valid_hit@10"] > frozen["valid_hit@10"]
    for name, tensor in after[progress.best_epoch - 1].items():
        assert torch.equal(tensor, task.model.state_dict()[name])


def test_other_held_out_links_change_no_weight(undisturbed: Trained, tmp_path: Path) -> None:
    _, _, weights = undisturbed
    others = links(seed=5, most=80)
    _, _, same = trained(tmp_path, valid=others)
    for one, other in zip(weights, same, strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    # The canary sings: a link that is trained on shows in the weights.
    told = examples()
    told._train = np.concatenate([told._train[:-1], others[:1]])
    leaking = finetune_task(tiny_model(tmp_path / "model"), told, SMALL)
    fit(leaking, changed(optimizer={**SMALL.optimizer.model_dump(), "epochs": 1}).optimizer)
    assert not all(torch.equal(tensor, weights[0][name]) for name, tensor in leaking.model.state_dict().items())


def test_cached_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    model = tiny_model(tmp_path).train()  # with dropout: both passes over a piece draw the same
    pieces = [tokens(model, TEXTS[start : start + 5].to_pylist(), CPU) for start in (0, 5, 10, 15)]
    passes: list[int] = []
    model[0].register_forward_pre_hook(lambda *_: passes.append(1))
    found = []
    for cached in (False, True):
        encoder = PairEncoder(model, cached)
        torch.manual_seed(1)
        vectors = encoder(pieces)
        loss = torch.logsumexp(vectors @ vectors.T, 1).sum()
        model.zero_grad()
        before = len(passes)
        loss.backward()  # type: ignore[no-untyped-call]
        assert len(passes) - before == (4 if cached else 0)
        found.append([loss.detach(), *(w.grad.clone() for w in model.parameters() if w.grad is not None)])
    assert len(found[0]) == len(found[1]) > 20
    for plain, again in zip(*found, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-6)


def test_pieces_of_any_size_give_the_same_gradients(tmp_path: Path) -> None:
    found = []
    for size, cached in ((100, False), (3, True), (50, True)):
        config = changed(piece_texts=size, gradient_cache=cached)
        task = finetune_task(tiny_model(tmp_path), examples(config), config)
        task.model.eval()  # dropout differs with the order of the texts
        task.judge(task.model)
        task.loss(task.model, next(iter(task.batches(1)))).backward()  # type: ignore[no-untyped-call]
        found.append({n: w.grad for n, w in task.model.named_parameters() if w.grad is not None})
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, gradient in found[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("exact_below", [10_000, 50])
def test_near_misses_are_the_nearest_without_known_links(exact_below: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = np.array([(a, int(b)) for a in range(250) for b in np.argsort(-vectors[a] @ vectors.T)[1:3]])
    graph = Graph.from_pairs(pairs[:, 0], pairs[:, 1], 300)
    near = near_misses(vectors, graph, 6, exact_below)
    cosines = vectors @ vectors.T
    cosines[:, graph.degrees == 0] = -2
    np.fill_diagonal(cosines, -2)
    cosines[np.repeat(np.arange(300), graph.degrees), graph.indices] = -2
    assert (near[graph.degrees == 0] == -1).all()
    rows, columns = np.nonzero(near >= 0)
    assert (cosines[rows, near[rows, columns]] > -2).all(), "itself, a known link, or a document without links"
    if exact_below == 10_000:
        expected = np.argsort(-cosines, axis=1, kind="stable")[:, :6]
        few = (graph.degrees > 0) & (graph.degrees <= 6)  # one of very many links has fewer near misses
        np.testing.assert_array_equal(near[few], expected[few])
        assert ((near == expected) | (near == -1)).all()


def test_a_held_out_link_is_a_near_miss_like_any_other_pair() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]  # 0 and 1 are alike, and a link of theirs is held out
    near = near_misses(vectors, Graph.from_pairs(np.array([0, 1]), np.array([2, 3]), 4), 2)
    assert near[0, 0] == 1 and near[1, 0] == 0
    assert set(draw_near(near, np.array([0, 1]), 2, np.random.default_rng(0)).tolist()) == {0, 1, 2, 3}


def test_negatives_of_a_batch_are_no_known_links(tmp_path: Path) -> None:
    pairs = examples()
    pairs.judge(tiny_model(tmp_path))
    known = {tuple(sorted(pair)) for pair in links()[:320].tolist()}
    number = {text: n for n, text in enumerate(TEXTS.to_pylist())}
    hard = 0
    for batch in pairs.batches(1, 16, 0):
        nodes = np.array([number[text] for text in batch.texts])
        anchors, candidates = nodes[batch.anchors], nodes[np.concatenate([batch.positives, batch.negatives])]
        hard += len(batch.negatives)
        assert len(set(nodes.tolist())) == len(nodes), "a document is encoded once"
        for b, anchor in enumerate(anchors):
            for c, candidate in enumerate(candidates):
                belongs = anchor == candidate or tuple(sorted((int(anchor), int(candidate)))) in known
                assert batch.masked[b, c] == (belongs and b != c)
            assert tuple(sorted((int(anchor), int(candidates[b])))) in known
    assert hard > 100


def test_all_pairs_are_seen_before_one_is_seen_again() -> None:
    config = changed(epoch_pairs=100)
    pairs = examples(config)
    assert pairs.steps(16, 1) == 5 and pairs.steps(16, 2) == 2
    texts = [
        frozenset((batch.texts[a], batch.texts[b]))
        for epoch in range(4)
        for rank in range(2)
        for batch in pairs.batches(epoch, 16, 0, rank, 2)
        for a, b in zip(batch.anchors, batch.positives, strict=True)
    ]
    assert len(texts) == len(set(texts)) == 256


def test_the_uppermost_layer_learns_first_and_lower_ones_at_lower_rates(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    before = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    _, _, after = trained(tmp_path, changed(frozen_layers=0, top_epochs=1))
    moved = [{name for name, tensor in weights.items() if not torch.equal(tensor, before[name])} for weights in after]
    assert moved[0] and all("layer.1." in name for name in moved[0])
    assert all(any(part in name for name in moved[1]) for part in ("layer.0.", "layer.1.", "embeddings."))
    rates = {group["rate"]: len(group["params"]) for group in falling_rates(model, 0.5)}
    assert set(rates) == {1.0, 0.5} and sum(rates.values()) == len(list(model.parameters()))


def test_it_goes_on_from_a_saved_state_as_if_undisturbed(undisturbed: Trained, folder: Path, tmp_path: Path) -> None:
    _, whole, weights = undisturbed
    _, rest, resumed = trained(tmp_path, resume=folder / "epoch-1")
    assert all(torch.equal(tensor, resumed[-1][name]) for name, tensor in weights[-1].items())
    kept = [{k: v for k, v in row.items() if k not in TIMES} for row in whole.history]
    assert kept == [{k: v for k, v in row.items() if k not in TIMES} for row in rest.history]


def test_an_encoder_that_cannot_be_bettered_stays_as_it_was(tmp_path: Path) -> None:
    texts = pa.array([f"{THEMES[n % 80 % 20]} {n % 80}" for n in range(160)])  # each stands there twice
    valid = np.column_stack([np.arange(40), np.arange(80, 120)])
    pairs = np.column_stack([np.arange(40, 80), np.arange(120, 160)])
    encode = vectors_by(TransformerConfig(), 64, NO_PROMPTS, "fp32")
    model = tiny_model(tmp_path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = changed(batch_pairs=8)
    progress = fit(finetune_task(model, LinkedPairs(texts, pairs, valid, config, encode), config), config.optimizer)
    assert progress.history[0]["valid_mrr"] == 1 and progress.best_epoch == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    with torch.no_grad():
        next(model[0].parameters()).fill_(float("nan"))
    pairs: Callable[..., np.ndarray] = lambda model, texts: np.eye(160, 16, dtype=np.float32)  # noqa: E731
    task = finetune_task(model, LinkedPairs(TEXTS, links()[:320], links()[320:], SMALL, pairs), SMALL)
    with pytest.raises(InputError, match="loss is nan") as error:
        fit(task, SMALL.optimizer, out=tmp_path)
    assert "Lower learning_rate" in error.value.remedy and list(tmp_path.glob("bad_batch_0.pt"))


def corpus(folder: Path, split: list[int]) -> Path:
    """Six documents and five links between them, in the parts given: the passages table and the split stage's output.

    d1 is cut into two passages, d5 has none.
    """
    passages = [("d0", "T", "zero"), ("d1", "", "one"), ("d1", "", "more"), ("d2", "", "two"), ("d3", "", "three")]
    rows = [{"document_id": id_, "title": title, "text": text} for id_, title, text in [*passages, ("d4", "", "four")]]
    (folder / "passages").mkdir(parents=True)
    write_partition(pa.Table.from_pylist(rows[:3]), folder / "passages" / partition_name(0))
    write_partition(pa.Table.from_pylist(rows[3:]), folder / "passages" / partition_name(1))
    pq.write_table(pa.table({"id": [f"d{n}" for n in range(6)], "title": [""] * 6}), folder / "nodes.parquet")
    ends = {"source": [0, 1, 3, 4, 2], "target": [1, 2, 1, 5, 0]}
    pq.write_table(pa.table({**ends, "split": np.array(split, np.int8)}), folder / "links.parquet")
    return folder


def test_texts_are_what_is_embedded_and_test_links_are_not_read(tmp_path: Path) -> None:
    train, valid, test = range(3)
    for name, others in (("one", test), ("other", valid)):
        folder = corpus(tmp_path / name, [train, train, valid, train, others])
        counts = write_linked(folder / "passages", folder, folder)
        assert counts == {"training_pairs": 2, "valid_pairs": 1 if others == test else 2}, "d5 has no text"
        read = read_linked(folder, SMALL, vectors_by(TransformerConfig(), 64, NO_PROMPTS, "fp32"), "passage: ")
        (batch,) = read.batches(0, 2, 0)
        assert set(batch.texts) == {"passage: T\nzero", "passage: one", "passage: two"}


def test_too_few_links_are_refused(tmp_path: Path) -> None:
    for number, split in enumerate(([0, 2, 1, 2, 2], [0, 0, 2, 1, 2])):
        folder = corpus(tmp_path / str(number), split)
        with pytest.raises(InputError, match=r"finetune.pairs: links give \d pairs of texts to train on and \d to"):
            write_linked(folder / "passages", folder, folder)


@pytest.mark.parametrize(
    ("dims", "frozen", "problem"),
    [
        ((), 2, "finetune.frozen_layers: 2 are all that .* has, so nothing is left to train"),
        ((), 3, "finetune.frozen_layers: 3, and the model has 2"),
        ((17, 4), 0, "finetune.dims: 17 is more than .* has"),
    ],
)
def test_what_the_model_does_not_have_is_refused(
    tmp_path: Path, dims: tuple[int, ...], frozen: int, problem: str
) -> None:
    tiny_model(tmp_path)
    with pytest.raises(InputError, match=problem):
        check_fits(str(tmp_path), dims, frozen, "finetune")
