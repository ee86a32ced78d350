"""Serve the run's search and links over HTTP."""

import json
import logging
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from data.errors import InputError
from data.failures import IN_TEXT
from ray_apps.cluster import connect
from ray_apps.command import Command
from ray_apps.config import load_run
from ray_apps.encoder.check import usable_encoder
from ray_apps.ingest import INGEST
from ray_apps.live import live_config
from ray_apps.pipelines import pipeline_stamps, pipelines_of, served_boosted
from ray_apps.plan import Plan
from ray_apps.ranker import served_ranker
from ray_apps.serve_checks import check_address, check_exposure, check_models, check_port, check_room
from ray_apps.served_capabilities import capability_artifacts, check_capabilities, last_made
from ray_apps.served_links import link_artifacts
from serving.config import ServeConfig
from training.cross_encoder.config import TRAINED

if TYPE_CHECKING:
    from ray.serve import Application

    from serving.app import Service
    from serving.traffic import Release

logger = logging.getLogger("catena")

ARTIFACTS = ("index", "lookup")  # the stages that a service reads


def serve(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Start the service and stay until Ctrl-C or SIGTERM; the index is built first where it is missing.

    Discovered links are served where ``catena discover`` has run.

    Returns:
        ``run``, and ``serve`` with the ``url``.

    Raises:
        InputError: if the port is in use, another encoder built the index, or traces cannot be sent.
    """
    from serving.traces import check_traces

    run = plan.run
    check_exposure(run.serve)
    check_traces(run.serve.traces)
    check_models(run)
    check_port(run.serve.host, run.serve.port)
    bring_served(plan)
    connect(run.ray)
    check_room(run)
    url = stay(lambda: service_of(plan), run.serve, run.name)
    return {"run": run.name, "serve": {"url": url}}


def stay(service: "Callable[[], Service]", config: ServeConfig, name: str) -> str:
    """Answer at the address of a config until Ctrl-C or SIGTERM, on the cluster that is connected.

    Args:
        service: what is served, made once the address is taken.
        config: of it.
        name: of it, for messages.

    Returns:
        Its URL.
    """
    import ray.serve

    from serving.app import build

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    application, stopped = f"catena-{name}", threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _way_in(config) as listener:
            try:
                _deploy(build(service().model_copy(update={"listener": listener})), application)
                url = f"http://{config.host}:{config.port}"
                logger.info("serving %s at %s (OpenAPI at %s/docs)", name, url, url)
                if config.blocking:
                    stopped.wait()
            finally:
                if config.blocking:
                    ray.serve.delete(application)  # waits until requests in flight are answered
                    logger.info("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return url


def bring_served(plan: Plan) -> None:
    """Make what a service reads, where it is missing; a link model of its own is trained by nobody but its user."""
    for stage in ARTIFACTS if plan.run.serve.link_model is None else (*ARTIFACTS, "graph"):
        plan.bring(stage)
    if plan.run.serve.ranker == TRAINED:
        plan.bring("ranker")
    if plan.run.catalogue is not None and (plan.run.serve.capability_model is not None or last_made(plan, "learn")):
        plan.bring("catalogue")  # with the traces that the service has kept: features are computed of them


@contextmanager
def _way_in(config: ServeConfig) -> Iterator[Path | None]:
    """Start Ray Serve; the path at which replicas get the listening socket, or None where Serve's proxy listens."""
    import ray.serve
    from ray.serve.config import HTTPOptions

    from serving.listener import Listener

    if _direct(config):
        ray.serve.start(proxy_location="Disabled")
        with Listener(config.host, config.port) as listener:
            yield listener.path
        return
    ray.serve.start(http_options=HTTPOptions(host=config.host, port=config.port))
    check_address(config)
    yield None


def _direct(config: ServeConfig) -> bool:
    """Whether replicas listen themselves.

    Raises:
        InputError: if they are told to, and cannot.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    obstacle = (
        f"serve.layout {config.layout}"
        if config.layout != "compact"
        else "serve.blocking false, which ends what holds the socket"
        if not config.blocking
        else "a cluster of several machines"
        if any(node["NodeID"] != here for node in ray.nodes() if node["Alive"])
        else None
    )
    if config.http == "direct" and obstacle is not None:
        raise InputError(f"serve.http: direct does not go with {obstacle}", "Leave serve.http out, or set it to proxy.")
    return config.http != "proxy" and obstacle is None


def service_of(plan: Plan) -> "Service":
    """What a run has to serve: its release is live from now on, and stays beside a canary if it was live before.

    Raises:
        InputError: if an artifact is not there: a service makes none.
    """
    from serving.app import Service
    from serving.traffic import change_traffic, with_live

    run, release = plan.run, release_of(plan)
    path = traffic_of(plan)
    change_traffic(path, lambda traffic: with_live(traffic, release))
    return Service(
        traffic=path,
        journals=(run.workspace / "journals" / run.name).resolve(),
        features=(run.workspace / "features" / run.name).resolve(),
        serve=run.serve.with_absolute_paths(),
        cache=run.cache.in_workspace(run.workspace),
    )


def traffic_of(plan: Plan) -> Path:
    """The file that says which releases of a run are served."""
    return (plan.run.workspace / "traffic" / f"{plan.run.name}.json").resolve()


def release_of(plan: Plan) -> "Release":
    """What a run's artifacts are as a release.

    Raises:
        InputError: if one is not there, or the link model or ranker that is named.
    """
    from retrieval.open import read_meta
    from serving.traffic import Release

    run, made = plan.run, {stage: plan.artifact(stage) for stage in ARTIFACTS}
    for stage, artifact in made.items():
        if not artifact.done:
            raise InputError(f"{run.name}: there is no {stage} at {artifact.path}", "`catena index RUN.yaml` makes it.")
    index, lookup, encoder = made["index"].path.resolve(), made["lookup"].path.resolve(), usable_encoder(plan)
    links, live = link_artifacts(plan), live_config(plan, plan.result(INGEST))
    ranker, pipelines, boosted = served_ranker(plan), pipelines_of(run), served_boosted(plan)
    capabilities = capability_artifacts(plan)
    if capabilities is not None:
        check_capabilities(capabilities, index)
    stamps = {name: str(digest) for name, digest in sorted(pipeline_stamps(pipelines, ranker).items())}
    bundles = last_made(plan, "bundles") if plan.run.baskets is not None else None
    return Release(
        index=index,
        lookup=lookup,
        encoder=encoder,
        ranker=ranker,
        pipelines=pipelines,
        boosted=boosted,
        stamps=stamps,
        links=links,
        capabilities=capabilities,
        bundles=bundles,
        live=live,
        passages=read_meta(index).points,
    ).identified()


class Deployed(BaseModel):
    """Arguments of ``application`` in a Serve config file.

    Args:
        run: the run file.
        keys: of it, such as ``serve.replicas``, over those in the file.
        open_to_all: whether a service without a file of keys is meant: whoever reaches the address is let in.
        revision: of what is served. Ray Serve leaves a service alone whose file is deployed again unchanged, so another
            number makes it read the run file and its artifacts again.
    """

    model_config = ConfigDict(extra="forbid")

    run: Path
    keys: dict[str, bool | int | float | str] = {}
    open_to_all: bool = False
    revision: int | str = 1

    def flags(self) -> list[str]:
        """The keys as words of a command line."""
        words = []
        for key, value in self.keys.items():
            words += [f"--{key.replace('_', '-')}", value if isinstance(value, str) else json.dumps(value)]
        return words


def application(arguments: Deployed) -> "Application":
    """The application of a run whose artifacts are there: for ``serve deploy`` (``deploy/serve.yaml``).

    Raises:
        InputError: if the run file is wrong, or an artifact is not there.
    """
    from serving.app import build

    plan = Plan(load_run(arguments.run, arguments.flags()))
    check_models(plan.run)
    if plan.run.serve.keys is None and not arguments.open_to_all:
        raise InputError(
            f"{arguments.run}: no key is asked for, and a cluster's address may be one that others reach",
            "Name a file of keys in serve.keys, or say `open_to_all: true` in the application's args.",
        )
    return build(service_of(plan))


def _deploy(application: "Application", name: str) -> None:
    """Run the application; what stops it from starting is only in the text of its deployments' status."""
    import ray.serve

    try:
        ray.serve.run(application, name=name, route_prefix="/")
    except RuntimeError as error:
        status = ray.serve.status().applications[name]
        for deployment in status.deployments.values():
            mistake = IN_TEXT.search(deployment.message)
            if mistake:
                raise InputError(mistake["problem"], mistake["remedy"].splitlines()[0]) from error
        raise


COMMAND = Command(
    name="serve",
    summary="search, links and ranked capabilities over HTTP, on Ray Serve",
    call=serve,
    sections=("source", "encoder", "index", "cache", "serve"),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["serve", *sys.argv[1:]]))
