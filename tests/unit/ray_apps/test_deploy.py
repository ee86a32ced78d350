"""The files of ``deploy/`` are what the tools that read them accept."""

from pathlib import Path

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from data.errors import InputError
from ray_apps.config import load_run
from ray_apps.plan import Plan
from ray_apps.serve import Deployed, service_of

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_serve_file_is_one_of_rays_and_names_what_there_is() -> None:
    described = yaml.safe_load((REPOSITORY / "deploy" / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(described).applications
    module, name = application.import_path.split(":")
    assert hasattr(__import__(module, fromlist=[name]), name)
    arguments = Deployed.model_validate(application.args)
    words = [word for key, value in arguments.keys.items() for word in (f"--{key}", str(value))]
    assert load_run(REPOSITORY / arguments.run, words).serve.layout == "compact"


def test_a_run_without_its_artifacts_is_told_what_makes_them(tmp_path: Path) -> None:
    run = load_run(REPOSITORY / "runs" / "demo.yaml", ["--workspace", str(tmp_path)])
    with pytest.raises(InputError, match="there is no index at"):
        service_of(Plan(run))
