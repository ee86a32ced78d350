"""The compose file: what is published, what is pinned, and that its parts find each other."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from ray_apps.config import load_run
from tests.unit.deploy.dockerfile import REPOSITORY, environment, words

FOLDER = REPOSITORY / "deploy"
TEXT = (FOLDER / "compose.yaml").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def read(variables: dict[str, str]) -> dict[str, Any]:
    """The file as compose reads it: variables put in, ``$$`` for a dollar."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        return variables.get(name, rest if kind == "-" else f"secret-{name}")

    described: dict[str, Any] = yaml.safe_load(VARIABLE.sub(value, TEXT).replace("$$", "$"))
    return described


@pytest.fixture
def described() -> dict[str, Any]:
    return read({})


@pytest.fixture
def services(described: dict[str, Any]) -> dict[str, Any]:
    return dict(described["services"])


def test_the_parts_are_there_and_pinned(services: dict[str, Any]) -> None:
    assert services.keys() == {"catena", "qdrant", "redis", "postgres", "mlflow", "prometheus", "grafana"}
    for name, service in services.items():
        _, _, tag = service["image"].rpartition(":")
        assert re.match(r"v?\d+\.\d+", tag), f"{name}: {service['image']} is not pinned"


def test_only_the_service_and_grafana_are_published_and_on_this_machine_alone(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published.keys() == {"catena", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert not any("network_mode" in service or service.get("privileged") for service in services.values())


def test_the_rest_has_a_network_that_leads_nowhere(described: dict[str, Any]) -> None:
    assert described["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in described["services"].items() if "outside" in service["networks"]}
    assert outside == {"catena", "grafana"}
    assert all("inside" in service["networks"] for service in described["services"].values())


def test_what_is_named_is_there(described: dict[str, Any]) -> None:
    services = described["services"]
    named_volumes = set()
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and "healthcheck" in services[other], f"{name} on {other}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert source.startswith("./secrets") or (FOLDER / source).exists(), volume
            else:
                named_volumes.add(source)
        assert set(service.get("secrets", [])) <= described["secrets"].keys()
    assert named_volumes == described["volumes"].keys()


def test_what_is_mounted_is_where_the_image_looks_for_it(services: dict[str, Any]) -> None:
    targets = [volume.split(":")[1] for volume in services["catena"]["volumes"]]
    assert words("CMD")[-1] in targets
    assert str(Path(environment()["CATENA_SERVE__KEYS"]).parent) in targets
    assert environment()["CATENA_WORKSPACE"] in targets


def test_its_variables_make_a_run_that_uses_the_other_parts(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**environment(), **services["catena"]["environment"]}.items():
        if name.startswith("CATENA_"):
            monkeypatch.setenv(name, value)
    run = load_run(REPOSITORY / "runs" / "demo.yaml")
    assert run.serve.keys is not None and run.index.engine == "server"
    for url in (run.index.url, run.cache.redis, run.train.tracking.uri):
        assert url is not None and urlsplit(url).hostname in services, url


def test_secrets_are_given_from_outside_and_agree(services: dict[str, Any]) -> None:
    secrets = {name for name, kind, _ in VARIABLE.findall(TEXT) if kind == "?"}
    assert secrets == {"QDRANT_API_KEY", "REDIS_PASSWORD", "POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
    manual = (REPOSITORY / "docs" / "operations.md").read_text()
    assert [name for name, _, _ in VARIABLE.findall(TEXT) if name not in manual] == []
    ours = services["catena"]["environment"]
    assert ours["CATENA_QDRANT_API_KEY"] == services["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"]
    assert ours["CATENA_REDIS_PASSWORD"] == services["redis"]["environment"]["REDISCLI_AUTH"]
    store = urlsplit(services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"])
    database = services["postgres"]["environment"]
    assert (store.hostname, store.username) == ("postgres", database["POSTGRES_USER"])
    assert (store.password, store.path) == (database["POSTGRES_PASSWORD"], f"/{database['POSTGRES_DB']}")


def test_prometheus_and_grafana_find_what_they_read(described: dict[str, Any]) -> None:
    services = described["services"]
    (job,) = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yaml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"catena:{services['catena']['ports'][0].split(':')[-1]}"
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{services['prometheus']['secrets'][0]}"
    provisioning = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert urlsplit(source["url"]).hostname in services
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "catena.yaml").read_text())["providers"]
    mounts = dict(reversed(volume.split(":")[:2]) for volume in services["grafana"]["volumes"])
    assert list((FOLDER / mounts[provider["options"]["path"]]).glob("*.json"))


def test_the_qdrant_server_is_one_that_the_client_speaks_with(services: dict[str, Any]) -> None:
    """The client warns where minor versions are more than one apart."""
    (client,) = re.findall(r"^qdrant-client==(\d+)\.(\d+)", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    (server,) = re.findall(r":v(\d+)\.(\d+)\.", services["qdrant"]["image"])
    assert server[0] == client[0] and abs(int(server[1]) - int(client[1])) <= 1
