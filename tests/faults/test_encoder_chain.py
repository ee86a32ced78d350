"""An encoder that fails, through the command line and on Ray: before the first vector, amid them, and at a question."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data.encoders import load_encoder
from data.encoders.config import read_encoder
from data.partitions import partitions, read_table
from ray_apps.cli import main
from tests.endpoint_server import Answer, Handler, Server, answer_well, status

pytestmark = pytest.mark.usefixtures("cluster")

HASHED = {"hashed": {"dim": 2048}}
ROWS, PARTITIONS = 8, 6
Catena = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    documents = [{"id": f"d{n}", "title": f"Title {n}", "text": f"moon sea w{n}"} for n in range(ROWS * PARTITIONS)]
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


@pytest.fixture
def catena(
    tmp_path: Path, workspace: Path, corpus: Path, endpoint: Server, capsys: pytest.CaptureFixture[str]
) -> Catena:
    """A command on a run whose encoder is the endpoint, then hashed TF-IDF: exit code, result, what was said."""
    own = endpoint.config(retries=1).model_dump(mode="json", exclude_defaults=True)
    run = {
        "name": "chained",
        "workspace": str(workspace),
        "source": {"files": {"documents": {"path": str(corpus)}}},
        "chunk": {"partition_rows": ROWS},
        "embed": {"actors": 1},
        "encoder": {**own, "fallback": [HASHED]},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(run))  # JSON is YAML

    def command(name: str, *words: str) -> tuple[int, dict[str, Any], str]:
        code = main([name, str(tmp_path / "run.yaml"), *words, "--json"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, json.loads(out.splitlines()[-1]) if code == 0 else {}, err

    return command


def well_for(requests: int, then: Answer) -> Answer:
    """Answers well a number of times."""
    count = itertools.count()
    return lambda handler, body: (answer_well if next(count) < requests else then)(handler, body)


def made(workspace: Path) -> dict[str, tuple[str, str]]:
    """Fingerprint and checksum of each partition of vectors."""
    return {
        path.name: (
            pq.read_schema(path).metadata[b"encoder"].decode(),
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for folder in workspace.glob("embed/*/vectors")
        for path in partitions(folder)
    }


def encoders(workspace: Path) -> set[str]:
    return {fingerprint for fingerprint, _ in made(workspace).values()}


def test_an_encoder_that_is_down_at_the_start_gives_way_to_the_next(
    catena: Catena, endpoint: Server, workspace: Path
) -> None:
    endpoint.always = status(500)
    code, result, said = catena("embed")
    assert code == 0 and said.count("it answers 500") == 1 and "using hashed TF-IDF (2048 dimensions)" in said
    assert encoders(workspace) == {load_encoder(read_encoder(HASHED)).fingerprint}
    assert result["embed"]["encoder"] == "hashed TF-IDF (2048 dimensions)" and result["embed"]["link"] == 1
    assert "it answers 500" in result["embed"]["fallbacks"] and result["embed"]["passages"] == ROWS * PARTITIONS

    endpoint.always = answer_well  # it is back, and yet not the one that built the index
    code, result, said = catena("search", "moon w7", "--mode", "dense", "--top-k", "1")
    assert code == 0 and result["hits"][0]["document_id"] == "d7"
    assert "using vectors of hashed TF-IDF (2048 dimensions) (fallback); delete " in said


def test_pause_keeps_what_is_done_and_the_same_command_goes_on(
    catena: Catena, endpoint: Server, workspace: Path
) -> None:
    endpoint.always = well_for(4, then=status(503))
    code, _, said = catena("embed")
    before = made(workspace)
    assert code == 2 and 0 < len(before) < PARTITIONS
    assert f"paused after {ROWS * len(before)} of {ROWS * PARTITIONS} passages; words at {endpoint.url} failed" in said
    assert "it answers 503" in said and "--encoder.on-fallback restart" in said

    code, _, said = catena("embed")  # still down: nothing changes
    assert code == 2 and made(workspace) == before and "paused after" in said

    endpoint.always = answer_well
    code, result, _ = catena("embed")
    after = made(workspace)
    assert code == 0 and result["embed"]["kept_passages"] == ROWS * len(before)
    assert len(after) == PARTITIONS and before.items() <= after.items()
    assert encoders(workspace) == {load_encoder(endpoint.config()).fingerprint} == {result["embed"]["fingerprint"]}

    assert catena("index")[0] == 0
    endpoint.always = status(503)
    code, _, said = catena("search", "moon w7")
    assert code == 2 and f"the encoder words at {endpoint.url} is unavailable" in said
    code, result, _ = catena("search", "moon w7", "--mode", "bm25", "--top-k", "1")
    assert code == 0 and result["hits"][0]["document_id"] == "d7"


def test_restart_discards_what_is_done_and_embeds_all_with_the_next(
    catena: Catena, endpoint: Server, workspace: Path
) -> None:
    endpoint.always = well_for(4, then=status(503))
    code, result, said = catena("embed", "--encoder.on-fallback", "restart")
    assert code == 0 and "embedding everything again with hashed TF-IDF" in said
    assert len(made(workspace)) == PARTITIONS
    assert encoders(workspace) == {load_encoder(read_encoder(HASHED)).fingerprint}
    (folder,) = workspace.glob("embed/*")
    assert not list(folder.glob("vectors-discarded-*")) and result["embed"]["kept_passages"] == 0
    assert read_table(folder / "vectors")["id"].num_chunks and result["embed"]["dim"] == 2048


def test_another_server_of_the_same_model_goes_on_in_mid_run(catena: Catena, endpoint: Server, workspace: Path) -> None:
    handed_over = well_for(4, then=status(503))

    def by_port(handler: Handler, body: dict[str, Any]) -> None:
        (answer_well if "other" in handler.path else handed_over)(handler, body)

    endpoint.always = by_port
    other = endpoint.config(base_url=f"{endpoint.url}/other", retries=1).model_dump(mode="json", exclude_defaults=True)
    code, result, said = catena("embed", "--encoder.fallback", json.dumps([HASHED, other]))
    assert code == 0 and f"going on with words at {endpoint.url}/other, the same encoder" in said
    assert len(made(workspace)) == PARTITIONS and result["embed"]["link"] == 2 and result["embed"]["kept_passages"] > 0
    endpoint.always = answer_well
    assert encoders(workspace) == {load_encoder(endpoint.config()).fingerprint}


def test_a_wrong_key_is_told_and_nothing_falls_back(catena: Catena, endpoint: Server, workspace: Path) -> None:
    endpoint.always = status(401)
    code, _, said = catena("embed")
    assert code == 2 and "answers 401" in said and "CATENA_ENDPOINT_API_KEY" in said and not made(workspace)
