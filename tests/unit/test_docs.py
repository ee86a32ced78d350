"""The documents say what is true: links resolve, commands exist, the run file shown is one that loads."""

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from pydantic import BaseModel

from data.errors import InputError
from data.partitions import read_table, write_partition
from data.passages.document_steps import StepPartitions
from data.schema import DOCUMENTS as DOCUMENTS_SCHEMA
from ray_apps.commands import COMMANDS
from ray_apps.config import load_run
from ray_apps.usage import find_command, split_config_flags
from retrieval.hits import SearchHit
from retrieval.steps import CallStep
from retrieval.user_steps import UserStep
from serving.api.__main__ import described
from serving.config import ServeConfig
from serving.schemas import Explanation, SearchRequest
from serving.schemas.documents import DeleteRequest, PutRequest
from serving.schemas.embeddings import EmbeddingsRequest
from serving.schemas.feedback import FeedbackRequest
from serving.schemas.links import LinkScoreRequest
from serving.schemas.rank import RankRequest
from serving.schemas.rerank import RerankRequest

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = REPOSITORY / "docs" / "steps.md"
DOCUMENTS = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "runs").glob("*.md")]
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [b["text"] for b in BLOCK.finditer(document.read_text(encoding="utf-8")) if b["language"] == language]


def commands(document: Path) -> list[str]:
    """Every shell command shown, without comments and variables before it; lines ended by a backslash are joined."""
    lines = "\n".join(blocks(document, "bash")).replace("\\\n", " ").splitlines()
    words = [" ".join(shlex.split(line, comments=True)) and line for line in lines]
    return [re.sub(r"^([A-Z_]+=\S+\s+)*", "", line) for line in words if line]


def names(path: Path) -> list[str]:
    """Paths of documents as ids of tests."""
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_links_resolve(document: Path) -> None:
    dead = []
    for link in LINK.finditer(document.read_text(encoding="utf-8")):
        target = link["target"].partition("#")[0]
        if target and "://" not in target and not (document.parent / target).exists():
            dead.append(link["target"])
    assert dead == []


def anchors(document: Path) -> set[str]:
    """What a link can name after ``#``: headings in lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_links_to_a_section_name_one_that_exists(document: Path) -> None:
    dead = []
    for link in LINK.finditer(document.read_text(encoding="utf-8")):
        target, _, anchor = link["target"].partition("#")
        path = document.parent / target if target else document
        if anchor and "://" not in target and path.suffix == ".md" and anchor not in anchors(path):
            dead.append(link["target"])
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_code_that_a_link_names_is_defined_there(document: Path) -> None:
    """``[`embed`](../data/embedding/embed.py)`` promises a function, class or constant ``embed`` in that file."""
    missing = []
    for link in LINK.finditer(document.read_text(encoding="utf-8")):
        name = link["text"].strip("`").removesuffix("()")
        if link["text"].startswith("`") and name.isidentifier() and link["target"].endswith(".py"):
            source = (document.parent / link["target"]).read_text(encoding="utf-8")
            if not re.search(rf"^\s*(?:(?:async )?def|class) {name}\b|^{name}\b.*=", source, re.MULTILINE):
                missing.append(f"{name} in {link['target']}")
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_commands_are_ones_that_catena_knows(document: Path) -> None:
    for line in commands(document):
        if line.startswith("catena "):
            words = shlex.split(line, comments=True)[1:]
            command, rest = find_command(words, COMMANDS)
            assert command is not None, line
            if "--help" in rest:
                continue
            own, config = split_config_flags(rest)
            command.parser().parse_args(own)
            _load_with(config, line)


def _load_with(flags: list[str], line: str) -> None:
    """The flags are keys of a run file: loading any run with them complains of nothing else."""
    try:
        load_run(REPOSITORY / "runs" / "demo.yaml", flags)
    except InputError as error:
        raise AssertionError(f"{line}: {error}") from error


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for line in commands(document):
        if line.startswith("make "):
            asked = [word for word in shlex.split(line, comments=True)[1:] if "=" not in word]
            assert set(asked) <= targets, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_nothing_is_left_to_be_filled_in(document: Path) -> None:
    found = re.findall(
        r"@[A-Z]+@|^[A-Z]{4,}$|\bTODO\b|has not been (?:run|measured)", document.read_text(), re.MULTILINE
    )
    assert found == []


def test_make_help_lists_every_target() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()
    assert {
        "setup",
        "demo",
        "test",
        "test-unit",
        "test-faults",
        "test-wheel",
        "lint",
        "type",
        "audit",
        "serve",
        "bench",
        "clean",
        "submit",
        "help",
    } == set(phony)
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) == set(phony)


TAKES: dict[str, type[BaseModel]] = {
    "/v1/search": SearchRequest,
    "/v1/embeddings": EmbeddingsRequest,
    "/v1/rerank": RerankRequest,
    "/v1/links:score": LinkScoreRequest,
    "/v1/feedback": FeedbackRequest,
    "/v1/rank": RankRequest,
    "/v1/documents": PutRequest,
}


@pytest.mark.parametrize(("file", "count"), [("README.md", 4), ("docs/serving.md", 10), ("docs/ranking-serving.md", 3)])
def test_requests_shown_are_ones_the_api_takes(file: str, count: int) -> None:
    asked = [line for line in commands(REPOSITORY / file) if line.startswith("curl ")]
    assert len(asked) == count
    routes = [path.replace("{id}", "[^/ ]+") for path in described()["paths"]]
    for line in asked:
        path = re.search(r"localhost:8000(/\S*)", line)
        assert path is not None and any(re.fullmatch(route, path[1]) for route in routes), line
        body = re.search(r"-d '(.*)'", line)
        if body is not None:
            takes = DeleteRequest if " -X DELETE " in line else TAKES[path[1]]
            takes.model_validate(json.loads(body[1]))


def test_pipelines_and_reasons_shown_are_ones_the_service_has() -> None:
    serving = REPOSITORY / "docs" / "serving.md"
    shown = [ServeConfig.model_validate(yaml.safe_load(text)["serve"]) for text in blocks(serving, "yaml")]
    assert [set(config.models) for config in shown if config.models] == [{"small", "judge"}]
    assert [config.link_model for config in shown if config.link_model] == ["champion"]
    explanation = next(text for text in blocks(serving, "json") if "matched_words" in text)
    told = Explanation.model_validate_json(explanation)
    assert sum(place.contribution for place in told.lists) == pytest.approx(told.steps[-1].score, abs=1e-4)
    assert all(0 <= place.contribution <= place.weight for place in told.lists)
    assert sum(place.weight for place in told.lists) == pytest.approx(1)


def test_pipelines_and_the_step_shown_are_ones_that_search_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrieval = REPOSITORY / "docs" / "retrieval.md"
    (shown,) = (text for text in blocks(retrieval, "yaml") if "pipelines:" in text)
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"name: mine\nsource: {{pydocs: {{}}}}\n{shown}")
    run = load_run(mine)
    assert set(run.pipelines) == {"best", "funnel", "linked", "newest"}
    (code,) = blocks(retrieval, "python")
    (tmp_path / "my_ranking.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    step = run.pipelines["newest"][1]
    assert isinstance(step, CallStep)
    hits = [SearchHit(f"d{year}", "p", "", "", 0, 0, 1.0, {"year": year}) for year in (1990, 2020, 2005)]
    (found,) = UserStep(step, "newest")(["a question"], [hits])
    assert [hit.score for hit in found] == [2020, 2005, 1990]


def test_run_file_shown_in_the_readme_loads(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(next(text for text in blocks(REPOSITORY / "README.md", "yaml") if "name: mine" in text))
    run = load_run(mine)
    assert run.source.files is not None
    assert run.source.files.links is not None
    assert run.source.files.documents.text == "body"


def test_steps_shown_in_their_document_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module and the run file shown, unchanged, on a document."""
    code, run_file = BLOCK.findall(STEPS.read_text(encoding="utf-8"))[:2]
    (tmp_path / "my_steps.py").write_text(code[1])
    (tmp_path / "own.yaml").write_text(run_file[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = load_run(tmp_path / "own.yaml")
    document = {"id": "a", "title": " ", "text": "The Ship[12] met a whale.", "metadata": '{"by":"me"}'}
    (tmp_path / "out").mkdir()
    write_partition(pa.Table.from_pylist([document], DOCUMENTS_SCHEMA), tmp_path / "part-00000.parquet")
    StepPartitions(run.steps, tmp_path / "out").apply(tmp_path / "part-00000.parquet")
    (row,) = read_table(tmp_path / "out").to_pylist()
    assert (row["title"], row["text"]) == ("Untitled", "The Ship met a whale.")
    assert json.loads(row["metadata"]) == {"by": "me", "hits": 2}


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        pytest.param(document, text, id=f"{document.stem}-{number}")
        for document in sorted((REPOSITORY / "docs").rglob("*.md"))
        for number, text in enumerate(blocks(document, "yaml"))
    ],
)
def test_run_files_shown_in_the_documents_load(document: Path, shown: str, tmp_path: Path) -> None:
    """Sections alone as well: a run's name and source are added to them."""
    path = tmp_path / "shown.yaml"
    path.write_text(yaml.safe_dump({"name": "shown", "source": {"pydocs": {}}} | yaml.safe_load(shown)))
    assert load_run(path).name


def test_messages_explained_in_operations_are_ones_that_the_code_has() -> None:
    """Between the ``…`` that stand for values, each message is in a string of the code."""
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("## When something goes wrong\n")[2]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) >= 11
    strings = " ".join(
        part.value
        for package in ("data", "retrieval", "training", "serving", "ray_apps")
        for module in sorted((REPOSITORY / package).rglob("*.py"))
        for part in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    pieces = {piece.strip() for message in messages for piece in message.split("…")}
    assert {piece for piece in pieces if piece not in strings} == set()


def test_the_walk_through_the_architecture_enters_each_room_once() -> None:
    """A section a folder, all code that it names in that folder, and no folder of the table left out."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    walk = text.partition("## The walk\n")[2].partition("\n## ")[0]
    _, *sections = re.split(r"^### (.*)$", walk, flags=re.MULTILINE)
    rooms, texts = sections[::2], sections[1::2]
    table = re.findall(r"^\| \[([\w/]+)\]", text, re.MULTILINE)
    assert sorted(rooms) == sorted(set(table) - {"data", "ray_apps", "benchmarks"})  # the ground; what starts the walk
    inner = [room for room in rooms if "/" in room]
    for room, section in zip(rooms, texts, strict=True):
        named = [link["target"].removeprefix("../") for link in LINK.finditer(section)]
        code = [target for target in named if target.endswith(".py")]
        assert code, room
        strangers = [target for target in code if not target.startswith(f"{room}/")]
        deeper = [target for target in code for other in inner if other != room and target.startswith(f"{other}/")]
        assert (strangers, deeper) == ([], []), room


def test_every_run_file_loads() -> None:
    files = sorted((REPOSITORY / "runs").glob("*.yaml"))
    assert {"demo", "kjv", "scifact", "cranfield"} <= {load_run(file).name for file in files}


def test_every_dependency_has_its_line_in_the_decisions() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    stated = (REPOSITORY / "docs" / "decisions" / "001-dependencies.md").read_text()
    for requirement in project["dependencies"]:
        name = re.split(r"[\[>=<]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", stated), f"{name} has no line in docs/decisions/001-dependencies.md"


def test_the_constraints_hold_every_dependency_and_torch_first() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pinned = [line.split("==")[0] for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line]
    assert pinned[0] == "torch"
    wanted = {
        re.split(r"[\[>=<]", need)[0] for need in project["dependencies"] + project["optional-dependencies"]["dev"]
    }
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in pinned}
    assert {name for name in wanted if re.sub(r"[-_.]+", "-", name).lower() not in normal} == set()
