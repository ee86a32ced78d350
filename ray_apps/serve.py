"""Serve the run's search and links over HTTP."""

import errno
import logging
import signal
import socket
import sys
import threading
from typing import Any

from data.errors import InputError
from ray_apps.cluster import connect
from ray_apps.config import RunConfig
from ray_apps.index import index
from ray_apps.ingest import ingest
from ray_apps.stages import artifact

logger = logging.getLogger("catena")


def serve(run: RunConfig) -> dict[str, Any]:
    """Start the service and stay until Ctrl-C or SIGTERM; the index is built first where it is missing.

    Discovered links are served where ``catena discover`` has run.

    Returns:
        ``run``, and ``serve`` with the ``url``.

    Raises:
        InputError: if the port is in use, or another encoder built the index.
    """
    check_port(run.serve.host, run.serve.port)
    built, tables, proposals = index(run), ingest(run), artifact(run, "discover")
    connect(run.ray)
    import ray.serve
    from ray.serve.config import HTTPOptions

    from serving.app import Service, build

    service = Service(
        index=built.path,
        documents=tables.path / "documents",
        links=tables.path / "links",
        discovered=proposals.path / "links" if proposals.done else None,
        encoder=run.encoder,
        serve=run.serve,
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    name, stopped = f"catena-{run.name}", threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.serve.start(http_options=HTTPOptions(host=run.serve.host, port=run.serve.port))
        ray.serve.run(build(service), name=name, route_prefix="/")
        url = f"http://{run.serve.host}:{run.serve.port}"
        logger.info("serving %s at %s (OpenAPI at %s/docs)", run.name, url, url)
        if run.serve.blocking:
            stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if run.serve.blocking:
            ray.serve.delete(name)  # waits until requests in flight are answered
            logger.info("stopped")
    return {"run": run.name, "serve": {"url": url}}


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened on, before anything is started.

    Raises:
        InputError: if the port is in use, not permitted, or the host is not this machine's.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on: {error.strerror}"
            remedy = "Stop what listens there, or choose another with --serve.port (or --serve.host)."
            raise InputError(f"port {port} of {host} {what}", remedy) from None


if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["serve", *sys.argv[1:]]))
