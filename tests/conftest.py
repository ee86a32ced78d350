"""Fixtures that every kind of test shares: one Ray cluster, the folder of real data, a workspace of its own."""

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ray_apps.cluster import connect
from ray_apps.config import RayConfig
from tests.endpoint_server import Server, serving
from tests.memory_folder import use_memory

settings.register_profile("catena", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("catena")

REPOSITORY = Path(__file__).resolve().parents[1]
WITH_RAY = (REPOSITORY / "tests" / "serving", REPOSITORY / "tests" / "ray")
IN_MEMORY = pytest.StashKey[weakref.finalize | None]()
# The files of a minute, then those of one or two long tests. pytest-xdist hands out a file when two tests of the one
# before are left, so that one process took several of these at the end while the other one had nothing to do.
FIRST = (
    *("test_run.py", "test_deploy.py", "test_models.py", "test_service.py", "test_job_submit.py", "test_ranker.py"),
    *("test_train.py", "test_finetune.py", "test_tune.py", "test_typed.py"),
)
KEPT_VARIABLES = {"CATENA_DATA", "CATENA_QDRANT_URL", "CATENA_QDRANT_API_KEY"}


def pytest_configure(config: pytest.Config) -> None:
    """Choose where tests write and how OpenMP's threads wait; all processes of tests inherit it."""
    config.stash[IN_MEMORY] = use_memory()
    # Threads that spin while they wait take the cores of pytest-xdist's other process; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with some files of ``tests/serving`` and ``tests/ray``; all others keep their order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(FIRST)) if item.path.parent in WITH_RAY else -1)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Leave what they wrote where there is something to look at; the next tests free it then."""
    free = session.config.stash[IN_MEMORY]
    if free is not None and exitstatus != 0:
        free.detach()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own CATENA_EMBED__... must not decide whether a test passes."""
    for variable in os.environ:
        if variable.upper().startswith("CATENA_") and variable.upper() not in KEPT_VARIABLES:
            monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real corpora; tests that need it are skipped where it is absent."""
    root = (REPOSITORY / os.environ.get("CATENA_DATA", "../shared/data")).resolve()
    if not root.is_dir():
        pytest.skip(f"no corpora at {root}: set CATENA_DATA to the folder that holds them")
    return root


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Where a test's artifacts go; not made yet."""
    return tmp_path / "workspace"


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """One local Ray for the whole session, of each process of pytest-xdist: starting it takes five seconds."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # two seconds else, after each short training too
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process for each training
        connect(RayConfig(num_cpus=2, object_store_mb=256))
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def services_folder(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the runs of small services, each of a name of its own: they share source files and artifacts, and no more."""
    return tmp_path_factory.mktemp("services")


@pytest.fixture
def endpoint() -> Iterator[Server]:
    """A server of embeddings that answers well until a test changes that."""
    with serving() as server:
        yield server
