"""Starting or joining the Ray cluster of a run."""

import logging
import os
import warnings

from ray_apps.config import RayConfig

logger = logging.getLogger("catena")


def connect(config: RayConfig) -> None:
    """Connect this process to Ray once; later calls keep the connection.

    Inside a submitted job Ray's own environment names the cluster, and that one is joined whatever the run file says.
    """
    import ray

    if ray.is_initialized():
        return
    warnings.filterwarnings("ignore", module="ray")
    if "RAY_JOB_ID" in os.environ or "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    elif config.address == "local":
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
