"""What is refused before a service starts: an address, an exposure, models or a size that cannot work."""

import errno
import ipaddress
import socket

from data.errors import InputError
from ray_apps.config import RunConfig
from serving.config import ServeConfig


def check_models(run: RunConfig) -> None:
    """Refuse names of models that say nothing, before anything is loaded.

    Raises:
        InputError: if a model of ``serve.models`` has the name of one of the run's, or its encoder is not there.
    """
    from data.encoders import check_model
    from retrieval.cross_encoder import ranker_name
    from serving.opening import model_name

    taken = {model_name(run.encoder): "encoder"}
    if run.serve.ranker is not None:
        taken[ranker_name(run.serve.ranker)] = "serve.ranker"
    for name, model in run.serve.models.items():
        if name in taken:
            raise InputError(f"serve.models: {name} is the name of the run's own {taken[name]}", "Give it another one.")
        if model.encoder is None:
            continue
        try:
            check_model(model.encoder)
        except InputError as error:
            raise InputError(f"serve.models.{name}: {error.problem}", error.remedy) from None


def check_exposure(config: ServeConfig) -> None:
    """Refuse to let in everybody of a network.

    Raises:
        InputError: if other machines reach the address and no key is asked for, or the file of keys has none.
    """
    from serving.keys import KeyRing

    if config.keys is not None:
        KeyRing(config.keys)
    elif not _only_this_machine(config.host):
        raise InputError(
            f"serve.host: {config.host} lets in every machine that reaches it, and no key is asked for",
            "Make keys with `catena keys create keys.json` and name the file in serve.keys, or listen on 127.0.0.1.",
        )


def check_address(config: ServeConfig) -> None:
    """Refuse a cluster on which Serve listens elsewhere: it keeps the address that it was started with."""
    from ray.serve.context import _get_global_client

    client = _get_global_client()
    listens = client.http_config if client is not None else None
    if listens is not None and (listens.host, listens.port) != (config.host, config.port):
        raise InputError(
            f"Ray Serve listens at {listens.host}:{listens.port} here already, not at {config.host}:{config.port}",
            "Give its host and port in serve.host and serve.port, or end it with `serve shutdown`.",
        )


def _only_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, of whatever machine
        return False


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


def check_room(run: RunConfig) -> None:
    """Refuse more replicas than a local cluster has cores and GPUs for: Ray would wait for them forever."""
    import ray

    from serving.app import cores, gpus

    if run.ray.address != "local":
        return
    needs = {"CPU": ("cores", cores(run.serve)), "GPU": ("GPUs", gpus(run.serve))}
    for resource, (name, needed) in needs.items():
        given = ray.cluster_resources().get(resource, 0.0)
        if needed > given + 1e-6:
            raise InputError(
                f"serve.replicas: {run.serve.replicas} need {needed:.1f} {name}, this machine gives {given:.0f}",
                "Lower serve.replicas, serve.ranker_replicas or the GPUs of each, or join a larger cluster with "
                "--ray.address.",
            )
