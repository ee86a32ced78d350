"""Starting or joining the Ray cluster of a run."""

import logging
import os
import warnings

from ray_apps.config import RayConfig

logger = logging.getLogger("catena")


def connect(config: RayConfig) -> None:
    """Connect this process to Ray once; later calls keep the connection.

    Inside a submitted job Ray's own environment names the cluster, and that one is joined, regardless of the run file.
    """
    import ray

    if ray.is_initialized():
        return
    warnings.filterwarnings("ignore", module="ray")
    if "RAY_JOB_ID" in os.environ or "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    elif config.address == "local":
        # Ray asks for a token here, and warns that it does; setting RAY_AUTH_MODE has no effect once ray is imported.
        logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
        ray.init(
            address="local",
            num_cpus=config.num_cpus,
            object_store_memory=config.object_store_mb * 2**20,
            dashboard_host="127.0.0.1",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    else:
        ray.init(address=config.address, log_to_driver=False, logging_level=logging.WARNING)
    _quieten_ray_data()


def _quieten_ray_data() -> None:
    """Keep Ray Data's plans and tick-by-tick tables in its log file: our own progress shows what people need."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # it warns that there are no bars
    # Catena logs an encoder that fails, and the next one, in one line; Ray's frames are for its log file.
    logging.getLogger("ray.data.exceptions").addFilter(_for_log_file)
    for handler in logging.getLogger("ray.data").handlers:
        # Ray's own handler for the console; another of Ray's writes the session's log file, others are not Ray's.
        if isinstance(handler, logging.StreamHandler) and type(handler).__module__.startswith("ray."):
            handler.setLevel(logging.CRITICAL)  # a job's failure reaches the user as its exception


def _for_log_file(record: logging.LogRecord) -> bool:
    """Mark a message of Ray Data as one that its console handler leaves out."""
    record.hide = True
    return True
