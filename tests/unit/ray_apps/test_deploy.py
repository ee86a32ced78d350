"""The files of ``deploy/`` are what the tools that read them accept."""

from pathlib import Path

import pytest
import yaml
from ray.serve._private.deploy_utils import get_app_code_version
from ray.serve.schema import ServeDeploySchema

from data.errors import InputError
from ray_apps.config import load_run
from ray_apps.plan import Plan
from ray_apps.serve import Deployed, application, service_of

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_serve_file_is_one_of_rays_and_names_what_there_is() -> None:
    described = yaml.safe_load((REPOSITORY / "deploy" / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(described).applications
    module, name = application.import_path.split(":")
    assert hasattr(__import__(module, fromlist=[name]), name)
    arguments = Deployed.model_validate(application.args)
    assert load_run(REPOSITORY / arguments.run, arguments.flags()).serve.layout == "compact"


def test_keys_of_the_run_file_are_taken_as_they_are() -> None:
    keys = {"serve.keys": "keys.json", "serve.access_log": True, "serve.replicas": 2, "serve.longest_wait_s": 0.5}
    found = load_run(REPOSITORY / "runs" / "demo.yaml", Deployed(run=Path("x"), keys=keys).flags()).serve
    assert (found.keys, found.access_log, found.replicas, found.longest_wait_s) == (Path("keys.json"), True, 2, 0.5)


def test_another_revision_is_another_application_to_ray_serve() -> None:
    """Ray Serve leaves alone what is deployed again unchanged, a new index notwithstanding."""
    described = yaml.safe_load((REPOSITORY / "deploy" / "serve.yaml").read_text())
    versions = []
    for revision in (1, 1, 2):
        described["applications"][0]["args"]["revision"] = revision
        (application,) = ServeDeploySchema.model_validate(described).applications
        versions.append(get_app_code_version(application))
    assert versions[0] == versions[1] != versions[2]


def test_a_service_for_a_cluster_names_its_keys_or_says_that_it_has_none() -> None:
    with pytest.raises(InputError, match="no key is asked for"):
        application(Deployed(run=REPOSITORY / "runs" / "demo.yaml"))


def test_a_run_without_its_artifacts_is_told_what_makes_them(tmp_path: Path) -> None:
    run = load_run(REPOSITORY / "runs" / "demo.yaml", ["--workspace", str(tmp_path)])
    with pytest.raises(InputError, match="there is no index at"):
        service_of(Plan(run))
