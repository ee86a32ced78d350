"""What becomes of vectors when their encoder fails: the ledger's real files and real encoders, in this process."""

import itertools
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from data.artifacts import materialise
from data.embedding.config import EmbedConfig
from data.embedding.fallback import _without_unused_gpu, embed_chain
from data.encoders import load_encoder
from data.encoders.config import EncoderConfig, alternatives, read_encoder
from data.encoders.transformer.precision import Check
from data.errors import EncoderUnavailable, InputError
from data.partitions import partition_name, partitions, write_partition
from data.passages.chunk import chunk
from data.passages.config import ChunkConfig
from data.schema import DOCUMENTS
from data.spread import here
from data.vectors.table import describe
from ray_apps.chunk import SENTENCES, embed_sentences
from ray_apps.config import RunConfig
from ray_apps.plan import Plan
from ray_apps.stages import STAGES
from tests.endpoint_server import Answer, Handler, Server, answer_well, status
from tests.results import AnyResult

HASHED = {"hashed": {"dim": 128}}
ROWS, PARTITIONS = 4, 6


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    """Six partitions."""
    documents = [{"id": f"d{n}", "title": f"Title {n}", "text": f"moon sea w{n}"} for n in range(ROWS * PARTITIONS)]
    (tmp_path / "documents").mkdir()
    write_partition(pa.Table.from_pylist(documents, DOCUMENTS), tmp_path / "documents" / partition_name(0))
    chunk(tmp_path / "documents", ChunkConfig(partition_rows=ROWS), tmp_path)
    return tmp_path / "passages"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The artifact's folder."""
    (tmp_path / "embedded").mkdir()
    return tmp_path / "embedded"


def well_for(requests: int, then: Answer) -> Answer:
    count = itertools.count()
    return lambda handler, body: (answer_well if next(count) < requests else then)(handler, body)


def chain(endpoint: Server, *fallback: object, **settings: object) -> EncoderConfig:
    own = endpoint.config(retries=0).model_dump(exclude_defaults=True)
    return read_encoder({**own, "fallback": fallback or (HASHED,), **settings})


def made(out: Path) -> dict[str, tuple[str, str]]:
    """Fingerprint and checksum of each partition of vectors."""
    return {path.name: (describe(path).fingerprint, describe(path).sha256) for path in partitions(out / "vectors")}


def of(config: object) -> str:
    return load_encoder(read_encoder(config)).fingerprint


def embed(passages: Path, encoder: EncoderConfig, out: Path) -> dict[str, Any]:
    return embed_chain(passages, encoder, EmbedConfig(), out, runner=here)


def test_down_at_the_start_the_next_is_used_and_goes_on_although_the_first_is_back(
    endpoint: Server, passages: Path, out: Path
) -> None:
    endpoint.always = status(500)
    result = embed(passages, chain(endpoint), out)
    assert result["link"] == 1 and "it answers 500" in result["fallbacks"]
    assert {fingerprint for fingerprint, _ in made(out).values()} == {of(HASHED)} and len(made(out)) == PARTITIONS
    (out / "vectors" / partition_name(3)).unlink()
    endpoint.always = answer_well
    assert embed(passages, chain(endpoint), out)["kept_passages"] == ROWS * (PARTITIONS - 1)
    assert {fingerprint for fingerprint, _ in made(out).values()} == {of(HASHED)}


def test_pause_keeps_what_is_done_until_the_encoder_is_back(endpoint: Server, passages: Path, out: Path) -> None:
    endpoint.always = well_for(3, then=status(503))
    with pytest.raises(
        InputError, match=r"paused after 8 of 24 passages; words at .* failed: .*it answers 503"
    ) as raised:
        embed(passages, chain(endpoint), out)
    assert "--encoder.on-fallback restart" in raised.value.remedy and "hashed TF-IDF" in raised.value.remedy
    before = made(out)
    with pytest.raises(InputError, match="paused after 8 of 24"):
        embed(passages, chain(endpoint), out)
    assert made(out) == before and len(before) == 2
    endpoint.always = answer_well
    result = embed(passages, chain(endpoint), out)
    assert result["kept_passages"] == 8 and result["link"] == 0 and result["fallbacks"] == ""
    assert before.items() <= made(out).items()
    assert {fingerprint for fingerprint, _ in made(out).values()} == {of(endpoint.config())}


def test_restart_leaves_nothing_of_the_first_encoder(endpoint: Server, passages: Path, out: Path) -> None:
    endpoint.always = well_for(3, then=status(503))
    result = embed(passages, chain(endpoint, on_fallback="restart"), out)
    assert result["link"] == 1 and result["kept_passages"] == 0 and len(made(out)) == PARTITIONS
    assert {fingerprint for fingerprint, _ in made(out).values()} == {of(HASHED)}
    assert not list(out.glob("vectors-discarded-*"))


def test_a_kill_while_vectors_are_discarded_leaves_none_of_them(endpoint: Server, passages: Path, out: Path) -> None:
    endpoint.always = well_for(3, then=status(503))
    with pytest.raises(InputError):
        embed(passages, chain(endpoint), out)
    (out / "vectors").rename(out / "vectors-discarded-0123")  # and then it was killed
    result = embed(passages, chain(endpoint), out)
    assert result["link"] == 1 and not list(out.glob("vectors-discarded-*"))


def test_the_same_model_at_another_server_goes_on(endpoint: Server, passages: Path, out: Path) -> None:
    failing = well_for(3, then=status(503))

    def by_path(handler: Handler, body: dict[str, Any]) -> None:
        (answer_well if "other" in handler.path else failing)(handler, body)

    endpoint.always = by_path
    other = endpoint.config(base_url=f"{endpoint.url}/other").model_dump(exclude_defaults=True)
    result = embed(passages, chain(endpoint, HASHED, other), out)
    assert result["link"] == 2 and result["kept_passages"] == 8
    assert {fingerprint for fingerprint, _ in made(out).values()} == {of(other)}


def test_where_bf16_is_another_encoder_on_the_next_device_the_choice_on_fallback_applies(
    passages: Path, out: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = {"model": str(small_model), "device": "cpu", "max_length": 16}
    monkeypatch.setattr("data.encoders.transformer.encoder.check_short", lambda *_: Check(0.9999, 2.0))
    embed(passages, read_encoder({**local, "precision": "bf16"}), out)  # as the lost device did
    (out / "vectors" / partition_name(3)).unlink()
    monkeypatch.setattr("data.encoders.transformer.encoder.check_short", lambda *_: Check(0.99, 2.0))
    chained = {**local, "device": "cuda:63", "fallback": [local, HASHED], "on_fallback": "restart"}
    result = embed(passages, read_encoder(chained), out)
    assert result["link"] == 2 and "cuda:63 is not on this machine" in result["fallbacks"]
    assert "computed in bf16, which does not pass its check" in result["fallbacks"]
    assert {fingerprint for fingerprint, _ in made(out).values()} == {of(HASHED)}


def test_every_encoder_down_names_all_and_a_mistake_stops_at_once(endpoint: Server, passages: Path, out: Path) -> None:
    endpoint.always = status(500)
    down = endpoint.config(base_url=f"{endpoint.url}/other", retries=0).model_dump(exclude_defaults=True)
    with pytest.raises(EncoderUnavailable, match=r"it answers 500.*; .*/other.* it answers 500"):
        embed(passages, chain(endpoint, down), out)
    endpoint.always = status(401)
    with pytest.raises(InputError, match="answers 401"):
        embed(passages, chain(endpoint), out)
    assert made(out) == {}


def test_a_model_that_changed_in_mid_run_is_refused_before_it_makes_anything(
    endpoint: Server, passages: Path, out: Path
) -> None:
    endpoint.always = well_for(3, then=status(503))
    with pytest.raises(InputError):
        embed(passages, chain(endpoint), out)
    endpoint.always = answer_well
    changed = endpoint.config(retries=0, revision="2").model_dump(exclude_defaults=True)
    with pytest.raises(InputError, match="is expected: their vectors cannot be compared"):
        embed(passages, read_encoder(changed), out)
    assert len(made(out)) == 2


def test_a_share_of_a_gpu_is_not_asked_for_by_links_that_compute_on_none() -> None:
    shared, chained = (
        EmbedConfig(gpus_per_actor=0.5),
        alternatives(read_encoder({"fallback": [{"device": "cpu"}]})),
    )
    assert [_without_unused_gpu(shared, chained, link).gpus_per_actor for link in (0, 1)] == [0.5, 0]


def test_semantic_cuts_do_not_depend_on_the_form_of_the_encoder(tmp_path: Path, small_model: Path) -> None:
    def run(**form: object) -> RunConfig:
        return RunConfig.model_validate(
            {
                "name": "cut",
                "workspace": tmp_path / "workspace",
                "source": {"files": {"documents": {"path": str(tmp_path / "documents.jsonl")}}},
                "chunk": {"strategy": "semantic", "min_chars": 20, "max_chars": 60},
                "encoder": {"model": str(small_model), "device": "cpu", **form},
            }
        )

    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    by_onnx = run(backend="onnx", precision="int8", fingerprint="0123")
    rows = [{"id": "d", "title": "", "text": "The moon moves the sea. The pilot reads the wind. A kernel is a matrix."}]

    def read(out: Path) -> AnyResult:
        (out / "documents").mkdir()
        write_partition(pa.Table.from_pylist(rows, DOCUMENTS), out / "documents" / partition_name(0))
        return AnyResult(rejects=0)

    materialise(Plan(by_onnx).artifact("ingest"), read)
    in_this_process = replace(SENTENCES, make=partial(embed_sentences, runner=here), on_ray=False)
    plan = Plan(by_onnx, {**STAGES, "sentences": in_this_process})
    assert plan.bring("chunk").result["passages"] > 1
    (made_by,) = {describe(path).precision for path in partitions(plan.artifact("sentences").path / "vectors")}
    assert made_by == "fp32" and plan.artifact("sentences").identity["config"]["encoder"]["backend"] == "torch"
    assert Plan(run(precision="bf16")).artifact("chunk").path == Plan(by_onnx).artifact("chunk").path
