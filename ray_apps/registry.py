"""The registry of a run's link model: list its versions, add one, promote one to champion, go back."""

import sys
import tempfile
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from ray_apps.command import Command, Parser, positive
from ray_apps.plan import Plan
from ray_apps.report import write_run_report
from ray_apps.tables import table

if TYPE_CHECKING:
    from training.fingerprints import Fingerprints
    from training.registry import Registry

SECTIONS = ("source", "encoder", "graph", "train", "evaluate")


def registry_of(plan: Plan) -> "Registry":
    """The registry of a run's link model."""
    from training.registry import Registry
    from training.tracking import store_of

    tracking = plan.run.train.tracking
    return Registry(
        store_of(tracking, plan.run.workspace.resolve() / "mlflow.db"), tracking.register_as or plan.run.name
    )


def fingerprints(plan: Plan) -> "Fingerprints":
    """Of what the run's link model is made from."""
    from training.fingerprints import Fingerprints, code_fingerprint

    has_text = plan.run.source.has_text
    encoder = plan.bring(plan.vectors).result["fingerprint"] if has_text else ""
    keys = {name: plan.artifact(name).key for name in ("graph", "split")}
    return Fingerprints(data=keys["graph"], split=keys["split"], encoder=encoder, code=code_fingerprint())


def list_versions(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """The versions of the run's model, the newest first.

    Returns:
        ``name``, ``store``, and ``versions``: each with ``version``, ``aliases``, ``mrr``, ``made``, ``run_id`` and
        ``fingerprints``.
    """
    registry = registry_of(plan)
    versions = [asdict(version) for version in registry.versions()]
    return {"name": registry.name, "store": registry.store, "versions": versions}


def register(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Add the run's link model, trained and judged first where it is not, as the challenger.

    Returns:
        ``name`` and the ``version``.
    """
    trained, judged = plan.bring("train"), plan.bring("evaluate_links")
    registry, made = registry_of(plan), fingerprints(plan)
    tags = {"run": plan.run.name, "train": trained.key, "evaluation": judged.key}
    mrr = judged.result["figures"]["model"]["mrr"]
    with tempfile.TemporaryDirectory() as folder:  # the run's own report stays that of its own values
        report = write_run_report(plan, Path(folder)).parent
        files = _files(trained.path, judged.path, report)
        version = registry.register(trained.result["mlflow_run"] or _new_run(plan), files, made, mrr, tags)
    return {"name": registry.name, "version": asdict(version)}


def _files(trained: Path, judged: Path, report: Path) -> dict[str, Path]:
    """What is kept of a model, by its place in the registry: its files, its report, the rank of each held-out link."""
    model = [file for pattern in ("*.safetensors", "*.json") for file in sorted(trained.glob(pattern))]
    own = ("config.json", "result.json")  # of the artifact
    pages = [report / name for name in ("report.html", "report.json")]
    return {
        **{f"model/{file.name}": file for file in model if file.name not in own},
        **{f"evaluation/{file.name}": file for file in (judged / "ranks.npz", *pages)},
    }


def _new_run(plan: Plan) -> str:
    """An MLflow run for a model whose training could not be tracked."""
    from training.tracking import Tracker

    tracker = Tracker(
        plan.run.train.tracking, plan.run.workspace.resolve() / "mlflow.db", plan.run.name, plan.run.train
    )
    return tracker.end({})


def promote(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Make the challenger champion, unless it loses on the same held-out links.

    Returns:
        ``name``, ``champion`` (its version), ``live`` (as of ``_followed``) and ``compared``: both versions with their
        MRR, the difference with its 95% interval and p-value; None where there was nothing to compare with.

    Raises:
        InputError: if it loses, with both figures.
    """
    registry = registry_of(plan)
    compared = registry.promote(arguments.version, arguments.force)
    champion = registry.find("champion").version
    return {
        "name": registry.name,
        "champion": champion,
        "live": _followed(plan, champion),
        "compared": asdict(compared) if compared else None,
    }


def rollback(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Make the champion before this one champion again.

    Returns:
        ``name``, ``before`` and ``champion``: versions; and ``live``, as of ``_followed``.
    """
    registry = registry_of(plan)
    before, champion = registry.rollback()
    return {"name": registry.name, "before": before, "champion": champion, "live": _followed(plan, champion)}


def _followed(plan: Plan, champion: int) -> str | None:
    """Have the run's service follow the champion, where the run file says ``serve.link_model: champion``.

    Returns:
        The release that is live with it now; None where the run is not served, or with another model.

    Raises:
        InputError: if the service cannot have it.
    """
    from ray_apps.serve import traffic_of
    from ray_apps.served_links import with_champion
    from serving.traffic import change_traffic, read_traffic

    path = traffic_of(plan)
    if plan.run.serve.link_model != "champion" or read_traffic(path) is None:
        return None
    try:
        traffic = change_traffic(path, lambda traffic: traffic and with_champion(plan, traffic))
    except InputError as error:
        problem = f"version {champion} is champion, but the service keeps its model: {error.problem}"
        raise InputError(problem, f"{error.remedy} Then `catena deploy promote RUN.yaml`.") from None
    live = None if traffic is None else traffic.releases[traffic.live]
    return live.id if live is not None and live.links is not None and live.links.version == champion else None


def _show_versions(result: Any) -> str:  # noqa: ANN401 - any JSON mapping
    if not result["versions"]:
        return f"{result['name']}: no version in {result['store']}"
    rows = [
        [v["version"], ", ".join(v["aliases"]), v["mrr"], v["made"], v["fingerprints"]["split"]]
        for v in result["versions"]
    ]
    return table(("version", "aliases", "MRR", "made", "split"), rows)


def _show_promoted(result: Any) -> str:  # noqa: ANN401
    said, compared = f"{result['name']}: version {result['champion']} is champion{_live(result)}", result["compared"]
    if compared is None:
        return said
    rows = [[who, compared[who], compared[f"{who}_mrr"]] for who in ("champion", "challenger")]
    told = (
        f"difference {compared['difference']:+.4f} ({compared['difference_low']:+.4f} to "
        f"{compared['difference_high']:+.4f}), p = {compared['p_value']:.4f}, {compared['links']} links"
    )
    return "\n".join([table(("before", "version", "MRR"), rows), told, said])


def _show_rolled_back(result: Any) -> str:  # noqa: ANN401
    said = f"{result['name']}: version {result['champion']} is champion again, in the place of {result['before']}"
    return said + _live(result)


def _live(result: Any) -> str:  # noqa: ANN401
    return "" if result["live"] is None else f"; release {result['live']} is live"


def _promote_words(parser: Parser) -> None:
    parser.add_argument("--version", type=positive, metavar="N", help="the version (default: the challenger)")
    parser.add_argument("--force", action="store_true", help="promote it though it loses or cannot be compared")


LIST = Command(
    name="registry list",
    summary="versions of the run's link model in MLflow's registry",
    call=list_versions,
    show=_show_versions,
    sections=SECTIONS,
)
REGISTER = Command(
    name="registry register",
    summary="add the run's link model to the registry, with its evaluation, as challenger",
    call=register,
    sections=SECTIONS,
)
PROMOTE = Command(
    name="registry promote",
    summary="make the challenger champion, unless it loses on the same held-out links",
    call=promote,
    words=_promote_words,
    show=_show_promoted,
    sections=(*SECTIONS, "serve"),
)
ROLLBACK = Command(
    name="registry rollback",
    summary="make the champion before this one champion again",
    call=rollback,
    show=_show_rolled_back,
    sections=(*SECTIONS, "serve"),
)
COMMANDS = (LIST, REGISTER, PROMOTE, ROLLBACK)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["registry", *sys.argv[1:]]))
