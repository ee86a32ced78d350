"""The run file: which source wins, and how a mistake in it is reported."""

from pathlib import Path

import pytest

from data.encoders.config import TransformerConfig
from data.errors import InputError
from data.passages.config import ChunkConfig
from data.sources import SourceConfig
from ray_apps.config import RunConfig, load_run
from ray_apps.config_help import describe_flags
from ray_apps.plan import Plan
from ray_apps.remote import KEY

RUN = """\
name: small
source:
  pydocs:
    packages: [json]
ray:
  object_store_mb: 100
"""


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A run file with one value that is not the default."""
    path = tmp_path / "small.yaml"
    path.write_text(RUN)
    return path


def test_strict_is_set_in_every_section_that_reads_rows_and_changes_no_artifact(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    (tmp_path / "rows.jsonl").touch()
    tables = f'catalogue: {{tools: {{path: "{tmp_path}/rows.jsonl"}}}}\n'
    tables += f'baskets: {{orders: {{path: "{tmp_path}/rows.jsonl"}}}}\n'
    path.write_text(f"{RUN}workspace: {tmp_path}/workspace\n{tables}")
    plain, strict = load_run(path), load_run(path, ["--source.strict", "false"], strict=True)
    assert plain.catalogue and plain.baskets and strict.catalogue and strict.baskets
    assert [of.strict for of in (strict.source, strict.catalogue, strict.baskets)] == [True] * 3
    assert [of.strict for of in (plain.source, plain.catalogue, plain.baskets)] == [False] * 3
    for stage in ("catalogue", "baskets"):
        assert Plan(plain).artifact(stage).key == Plan(strict).artifact(stage).key


def test_strict_gives_no_section_to_a_run_that_has_none(run_file: Path) -> None:
    run = load_run(run_file, strict=True)
    assert (run.source.strict, run.catalogue, run.baskets) == (True, None, None)


def problem(path: Path, *flags: str) -> str:
    """What loading the run complains about."""
    with pytest.raises(InputError) as raised:
        load_run(path, flags)
    return raised.value.problem


def test_a_key_without_a_value_has_its_default(run_file: Path) -> None:
    assert load_run(run_file).ray.num_cpus is None


def test_file_stands_above_default(run_file: Path) -> None:
    assert load_run(run_file).ray.object_store_mb == 100


def test_environment_stands_above_file(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_RAY__OBJECT_STORE_MB", "200")
    assert load_run(run_file).ray.object_store_mb == 200


def test_command_line_stands_above_environment(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_RAY__OBJECT_STORE_MB", "200")
    run = load_run(run_file, ["--ray.object-store-mb", "300", "--workspace=elsewhere"])
    assert run.ray.object_store_mb == 300
    assert run.workspace == Path("elsewhere")


def test_sources_of_one_section_are_laid_over_each_other_key_by_key(
    run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATENA_RAY__NUM_CPUS", "3")
    run = load_run(run_file, ["--ray.address", "auto"])
    assert run.ray.model_dump() == {"address": "auto", "num_cpus": 3, "object_store_mb": 100}


def test_lists_are_given_by_repeating_the_flag(run_file: Path) -> None:
    run = load_run(run_file, ["--source.pydocs.packages", "json", "--source.pydocs.packages", "csv"])
    assert run.source.pydocs is not None
    assert run.source.pydocs.packages == ("json", "csv")


def test_misspelt_key_names_line_and_nearest(run_file: Path) -> None:
    run_file.write_text(RUN.replace("object_store_mb", "object_store_mib"))
    assert problem(run_file) == (
        f"{run_file}, line 6: ray.object_store_mib: unknown key; did you mean 'object_store_mb'?"
    )


def test_misspelt_section_names_line_and_nearest(run_file: Path) -> None:
    run_file.write_text(RUN + "embedd: {}\n")
    assert problem(run_file) == f"{run_file}, line 7: embedd: unknown key; did you mean 'embed'?"


def test_misspelt_key_inside_the_source_names_nearest(run_file: Path) -> None:
    run_file.write_text(RUN.replace("packages", "package"))
    assert problem(run_file) == (f"{run_file}, line 4: source.pydocs.package: unknown key; did you mean 'packages'?")


def test_misspelt_flag_names_nearest(run_file: Path) -> None:
    assert problem(run_file, "--ray.num-cpu", "2") == "unknown flag --ray.num-cpu; did you mean '--ray.num-cpus'?"


def test_flag_without_value_is_told(run_file: Path) -> None:
    assert problem(run_file, "--ray.num-cpus") == "flag --ray.num-cpus has no value"


def test_misspelt_variable_names_nearest(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_RAY__NUM_CPU", "2")
    found = problem(run_file)
    assert found == "environment, CATENA_RAY__NUM_CPU: ray.num_cpu: unknown key; did you mean 'num_cpus'?"


def test_what_other_commands_read_from_the_environment_is_no_mistake(
    run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "catena_1_2")
    load_run(run_file)


def test_misspelt_section_in_variable_names_nearest(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CATENA_EMBD__BATCH_TOKENS", "2")
    assert problem(run_file) == "environment variable CATENA_EMBD__BATCH_TOKENS: unknown; did you mean 'CATENA_EMBED'?"


def test_value_out_of_range_names_place_limit_and_value(run_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = "ray.object_store_mb: input should be greater than or equal to 80, got "
    assert problem(run_file, "--ray.object-store-mb", "7") == f"command line, --ray.object-store-mb: {limit}'7'"
    run_file.write_text(RUN.replace("100", "7"))
    assert problem(run_file) == f"{run_file}, line 6: {limit}7"
    monkeypatch.setenv("CATENA_RAY__OBJECT_STORE_MB", "8")
    assert problem(run_file) == f"environment, CATENA_RAY__OBJECT_STORE_MB: {limit}'8'"


def test_every_mistake_is_told_at_once(run_file: Path) -> None:
    run_file.write_text(RUN.replace("100", "7") + "embedd: {}\n")
    assert len(problem(run_file).splitlines()) == 2


def test_missing_key_is_named(run_file: Path) -> None:
    run_file.write_text(RUN.replace("name: small\n", ""))
    assert problem(run_file) == f"{run_file}: name: missing"


def test_missing_file_names_the_nearest(run_file: Path) -> None:
    with pytest.raises(InputError) as raised:
        load_run(run_file.with_name("smal.yaml"))
    assert raised.value.problem == f"run file not found: {run_file.with_name('smal.yaml')}"
    assert raised.value.remedy == f"Did you mean {run_file}?"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: [", "not valid YAML"),
        (b"name: \xff", "not UTF-8 (byte 6)"),
        (b"- a\n- b\n", "this one is a list"),
        (b"", "this one is empty"),
    ],
)
def test_a_file_that_is_no_run_file_is_told(run_file: Path, content: bytes, said: str) -> None:
    run_file.write_bytes(content)
    assert said in problem(run_file)


def test_help_lists_every_key_with_its_meaning() -> None:
    text = describe_flags()
    assert "--ray.object-store-mb" in text
    assert "shared memory of a local cluster" in text
    for section in RunConfig.model_fields:
        assert f"--{section}" in text
    only = describe_flags("ray")
    assert "--ray.object-store-mb" in only and "--embed" not in only
    with pytest.raises(InputError, match="no section 'embedd'; did you mean 'embed'"):
        describe_flags("embedd")


def test_every_key_is_described_and_no_section_but_the_source_must_be_given() -> None:
    assert [name for name, field in RunConfig.model_fields.items() if field.is_required()] == ["name", "source"]
    for section, field in RunConfig.model_fields.items():
        keys = getattr(field.annotation, "model_fields", {})
        assert [f"{section}.{key}" for key, value in keys.items() if not value.description] == []


def test_the_cache_is_no_part_of_what_a_run_makes(run_file: Path, tmp_path: Path) -> None:
    run_file.write_text(RUN.replace("json", "numpy") + "cache: {redis: embedded, stored: true}\n")
    run = load_run(run_file, ["--cache.memory-mb", "7", "--workspace", str(tmp_path)])
    assert (run.cache.memory_mb, run.cache.stored, run.cache.in_workspace(run.workspace).folder) == (
        7,
        True,
        tmp_path / "cache",
    )
    assert run.cache.in_workspace(tmp_path / "x").in_workspace(tmp_path).folder == tmp_path / "x" / "cache"
    plain = load_run(run_file, ["--cache.redis", "none", "--cache.stored", "false", "--workspace", str(tmp_path)])
    cached, uncached = Plan(run), Plan(plain)
    assert {stage: cached.artifact(stage).key for stage in cached.names()} == {
        stage: uncached.artifact(stage).key for stage in uncached.names()
    }


def test_a_redis_that_is_no_place_names_its_line(run_file: Path) -> None:
    run_file.write_text(RUN + "cache:\n  redis: embeded\n")
    assert problem(run_file).startswith(f"{run_file}, line 8: cache.redis: 'none', 'embedded' or a URL")


def test_a_password_in_the_run_file_is_not_printed(run_file: Path) -> None:
    run_file.write_text(RUN + "cache: {redis: 'redis://:moonlight@host'}\n")
    assert problem(run_file) == "cache.redis: the URL holds a password"


def test_steps_are_paths_or_mappings_from_file_and_flag(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: r\nsource: {pydocs: {}}\nsteps: ['a.b:c', {path: 'a.b:D', concurrency: 2}]\n")
    run = load_run(path)
    assert [(step.path, step.concurrency) for step in run.steps] == [("a.b:c", 16), ("a.b:D", 2)]
    assert [step.path for step in load_run(path, ["--steps", '["x:y"]']).steps] == ["x:y"]
    path.write_text("name: r\nsource: {pydocs: {}}\nsteps: ['a.b:c', {path: 'a.b:D', concurency: 2}]\n")
    with pytest.raises(InputError, match=r"run\.yaml, line 3: steps\.1\.concurency: unknown key"):
        load_run(path)


def test_passages_depend_on_the_encoder_only_where_its_tokens_are_counted(tmp_path: Path) -> None:
    run = RunConfig(name="r", workspace=tmp_path, source=SourceConfig.model_validate({"pydocs": {}}))
    other = run.model_copy(update={"encoder": TransformerConfig(model="other")})
    assert Plan(run).artifact("chunk").key == Plan(other).artifact("chunk").key
    assert {key: made.stage for key, made in Plan(run).inputs("chunk").items()} == {"documents": "ingest"}
    fixed, other = (one.model_copy(update={"chunk": ChunkConfig(strategy="fixed")}) for one in (run, other))
    assert Plan(fixed).artifact("chunk").key != Plan(other).artifact("chunk").key


def test_features_in_redis_need_one_before_anything_is_served(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: r\nsource: {pydocs: {}}\nserve: {rank: {store: redis}}\n")
    with pytest.raises(InputError, match=r"line 3: serve: rank\.store: redis needs a server, and cache\.redis is none"):
        load_run(path)
    path.write_text("name: r\nsource: {pydocs: {}}\nserve: {rank: {store: redis}}\ncache: {redis: embedded}\n")
    assert load_run(path).serve.rank.store == "redis"


def test_a_key_that_the_strategy_does_not_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("name: r\nsource: {pydocs: {}}\nchunk: {max_tokens: 100}\n")
    with pytest.raises(InputError, match=r"line 3: chunk: max_tokens is read by strategy fixed only"):
        load_run(path)


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ('encoder: {query_prompt: "\\ud800"}', "small.yaml: encoder: query_prompt:"),
        ('index: {filter_keys: ["lang", "\\udfff"]}', "small.yaml: index: filter_keys:"),
        ('"\\ud800": 1', "small.yaml:"),
    ],
)
def test_a_lone_surrogate_in_a_run_file_is_named(run_file: Path, rest: str, place: str) -> None:
    run_file.write_text(f"{RUN}{rest}\n")
    assert f"{place} '\\ud" in (message := problem(run_file)) and message.endswith("is not valid Unicode")


def test_bytes_in_the_environment_that_are_no_unicode_are_named(
    run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CATENA_NAME", "a\udcff")
    assert problem(run_file) == "environment variable CATENA_NAME: 'a\\udcff' is not valid Unicode"


def test_a_metric_that_is_none_names_the_nearest(run_file: Path) -> None:
    run_file.write_text(RUN + "evaluate:\n  metrics: [ndcg@10, recal@5]\n")
    assert problem(run_file).startswith(
        f"{run_file}, line 8: evaluate.metrics: unknown metric 'recal@5'; did you mean 'recall'?"
    )
    assert "metric 'map' is there twice" in problem(run_file, "--evaluate.metrics", '["map", "map"]')
    deep = problem(run_file, "--evaluate.metrics", '["recall@500"]')
    assert "metric 'recall@500' needs 500 documents, and retrieved is 100" in deep
    run = load_run(run_file, ["--evaluate.metrics", '["recall@500"]', "--evaluate.retrieved", "500"])
    assert run.evaluate.search.metrics == ("recall@500",)
    assert load_run(run_file, ["--evaluate.metrics", "p@5", "--evaluate.metrics", "map"]).evaluate.metrics == (
        "p@5",
        "map",
    )
