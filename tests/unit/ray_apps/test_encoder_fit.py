"""What an encoder learns from a run; the learning itself is tested on Ray."""

from pathlib import Path

import pytest

from data.artifacts import materialise
from data.errors import InputError
from ray_apps.config import RunConfig
from ray_apps.encoder.fit import gather
from ray_apps.stages import artifact


@pytest.mark.parametrize(
    ("answers", "learn_from", "remedy"),
    [
        (3, "links", "Set fuse.learn_from to what it has, or use fusion: concatenation, which learns nothing."),
        (0, "links", "Use fusion: concatenation, which learns nothing."),
        (0, "auto", "Use fusion: concatenation, which learns nothing."),
    ],
)
def test_only_what_the_corpus_has_is_offered_to_learn_from(
    answers: int, learn_from: str, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": "a", "text": "b"}\n')
    run = RunConfig.model_validate(
        {
            "name": "small",
            "workspace": tmp_path / "workspace",
            "source": {"files": {"documents": {"path": str(tmp_path / "documents.jsonl")}}},
            "fuse": {"learn_from": learn_from},
        }
    )
    counts = {"documents": 1, "queries": answers, "qrels": answers, "links": 0}
    materialise(artifact(run, "ingest"), lambda out: counts)
    with pytest.raises(InputError, match="nothing to learn from") as raised:
        gather(run)
    assert raised.value.remedy == remedy
