"""The RayService: valid by KubeRay's schema, and an application that Catena builds."""

import copy
import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from ray_apps.config import load_run
from ray_apps.serve import Deployed
from serving.api.__main__ import described as openapi

REPOSITORY = Path(__file__).resolve().parents[3]


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((REPOSITORY / "deploy" / "rayservice.yaml").read_text()))


@pytest.fixture
def service() -> dict[str, Any]:
    (found,) = [document for document in documents() if document["kind"] == "RayService"]
    return found


@pytest.fixture
def pods(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pod of the head and of each group of workers."""
    cluster = service["spec"]["rayClusterConfig"]
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {name: group["template"]["spec"] for name, group in {"head": cluster["headGroupSpec"], **groups}.items()}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """What KubeRay's definition says of a RayService, fields that it does not know refused."""
    data = REPOSITORY / os.environ.get("CATENA_DATA", "../shared/data")
    path = data.resolve().parent / "deploy" / "ray.io_rayservices.yaml.gz"
    if not path.exists():
        pytest.skip(f"no KubeRay schemas at {path.parent}")
    versions = yaml.safe_load(gzip.decompress(path.read_bytes()))["spec"]["versions"]
    (found,) = [version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"]
    found["properties"]["metadata"]["properties"] = {"name": {"type": "string"}}  # Kubernetes' own, described elsewhere
    return dict(strict(found))


def strict(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """A schema that refuses unknown fields where it names known ones."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(inner) for key, inner in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def test_it_is_what_kuberay_takes(service: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.validate(service, schema)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "rayClusterConfig", "headGroupSpec", "templat"), {}),
        (("spec", "rayClusterConfig", "authOptions", "mode"), "password"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "replicas"), "one"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "readinesProbe"), {}),
    ],
)
def test_a_mistake_would_be_found(
    service: dict[str, Any], schema: dict[str, Any], place: tuple[str | int, ...], value: object
) -> None:
    broken = copy.deepcopy(service)
    inner: Any = broken
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


@pytest.fixture
def application(service: dict[str, Any]) -> ServeApplicationSchema:
    described = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (found,) = described.applications
    return found


def test_its_application_is_that_of_the_serve_file_with_keys(
    application: ServeApplicationSchema, service: dict[str, Any]
) -> None:
    shipped = yaml.safe_load((REPOSITORY / "deploy" / "serve.yaml").read_text())["applications"][0]
    assert (application.import_path, application.name) == (shipped["import_path"], shipped["name"])
    arguments = Deployed.model_validate(application.args)
    run = load_run(REPOSITORY / "runs" / "demo.yaml", arguments.flags())
    assert run.serve.keys is not None and not arguments.open_to_all
    assert yaml.safe_load(service["spec"]["serveConfigV2"])["http_options"]["host"] == "0.0.0.0"


def containers(pods: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods.items():
        (container,) = pod["containers"]
        yield name, container


def test_what_the_application_reads_is_mounted_everywhere(
    application: ServeApplicationSchema, pods: dict[str, dict[str, Any]]
) -> None:
    arguments = Deployed.model_validate(application.args)
    for name, container in containers(pods):
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        for path in (arguments.run, Path(str(arguments.keys["serve.keys"])), Path(variables["CATENA_WORKSPACE"]) / "a"):
            assert str(path.parent) in mounted, f"{name}: {path}"
        assert set(mounted.values()) == {volume["name"] for volume in pods[name]["volumes"]}
        sources = [key for volume in pods[name]["volumes"] for key in volume if key != "name"]
        assert sorted(sources) == ["configMap", "persistentVolumeClaim", "secret"]
    claims = [document["metadata"]["name"] for document in documents() if document["kind"] == "PersistentVolumeClaim"]
    assert claims == ["catena-workspace"]


def test_pods_are_pinned_bounded_and_without_rights(pods: dict[str, dict[str, Any]]) -> None:
    assert pods.keys() == {"head", "cpu", "gpu"}
    for name, container in containers(pods):
        assert re.search(r":\d+\.\d+\.\d+", container["image"]), name
        assert "memory" in container["resources"]["limits"], name
        assert pods[name]["securityContext"]["runAsNonRoot"] and container["securityContext"]["capabilities"]
    gpus = {name for name, container in containers(pods) if "nvidia.com/gpu" in container["resources"]["limits"]}
    assert gpus == {"gpu"}


def test_probes_ask_what_answers(pods: dict[str, dict[str, Any]], service: dict[str, Any]) -> None:
    port = yaml.safe_load(service["spec"]["serveConfigV2"])["http_options"]["port"]
    for name, container in containers(pods):
        ready, alive = container["readinessProbe"]["httpGet"], container["livenessProbe"]["httpGet"]
        assert alive == {"path": "/api/local_raylet_healthz", "port": 52365}  # Ray's agent, on its default port
        if name != "head":
            assert ready["path"] in openapi()["paths"] and ready["port"] == port


def test_its_ray_is_the_one_that_was_tested(service: dict[str, Any]) -> None:
    version = service["spec"]["rayClusterConfig"]["rayVersion"]
    assert f"ray=={version}" in (REPOSITORY / "constraints.txt").read_text().splitlines()
