"""One measurement in a process of its own, so that its peak memory and its threads are its own.

``python -m benchmarks.bundles.child TASK ...`` prints one JSON object on its last line.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ONE_CORE = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def measured(task: str, *words: str) -> dict[str, Any]:
    """Run a task in a process on one core's threads.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.bundles.child", task, *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **ONE_CORE})
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_mb() -> float:
    """The most memory this process has had, in MB."""
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's, before the program was changed
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def mine(way: str, name: str, support: str, length: str) -> dict[str, Any]:
    """Median seconds of mining by us, mlxtend or rusket, and how many sets were found."""
    warnings.simplefilter("ignore")
    from benchmarks.bundles.data import fimi, synthetic_baskets

    with tempfile.TemporaryDirectory() as folder:
        baskets = synthetic_baskets() if name == "synthetic" else fimi(name, Path(folder))
        work = _miner(way, baskets, float(support), int(length))
        started = time.perf_counter()
        sets = work()
        first = time.perf_counter() - started
        again = []
        for _ in range(0 if first > 5 else 4):
            started = time.perf_counter()
            work()
            again.append(time.perf_counter() - started)
    return {"seconds": sorted([first, *again])[len(again) // 2], "sets": sets}


def memory(way: str, name: str, support: str, length: str) -> dict[str, Any]:
    """Peak memory of mining with the form of the baskets that it takes, as Python and NumPy allocate it."""
    import tracemalloc

    from benchmarks.bundles.data import fimi
    from data.baskets.table import Baskets

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        read = fimi(name, Path(folder))
        _miner(way, Baskets.of_lists([[0, 1], [0, 1]]), 0.5, 2)()  # what is imported is not counted
        tracemalloc.start()
        baskets = Baskets(read.indptr.copy(), read.items.copy(), read.num_items)
        _miner(way, baskets, float(support), int(length))()
        return {"peak_mb": tracemalloc.get_traced_memory()[1] / 1e6}


def _miner(way: str, baskets: Any, support: float, length: int) -> Callable[[], int]:  # noqa: ANN401
    if way == "catena":
        from discovery.itemsets import frequent_itemsets

        return lambda: len(frequent_itemsets(baskets, support, length))
    import numpy as np
    import pandas as pd

    if way == "mlxtend":  # the table of booleans that it takes counts in its memory, not in its seconds
        from mlxtend.frequent_patterns import fpgrowth

        held = np.zeros((len(baskets), baskets.num_items), bool)
        held[np.repeat(np.arange(len(baskets)), baskets.lengths), baskets.items] = True
        table = pd.DataFrame(held, copy=False)
        return lambda: len(fpgrowth(table, min_support=support, max_len=length))
    import rusket
    import scipy.sparse as sp

    matrix = sp.csr_matrix(baskets.matrix().astype(np.uint8))
    kept = matrix[:, np.asarray(baskets.counts >= support * len(baskets) - 1e-9)]
    frame = pd.DataFrame.sparse.from_spmatrix(kept)  # its conversion of columns that are not frequent is left out
    return lambda: len(rusket.mine(frame, min_support=support, max_len=length, use_colnames=False, method="fpgrowth"))


def map_lines(path: str) -> dict[str, Any]:
    """Lines a second and peak memory of mapping order lines with their products."""
    from data.baskets.config import BasketsConfig
    from data.baskets.mapping import map_baskets

    orders = {"path": path, "unit_price": "price", "period": "week"}
    products = {"path": str(Path(path).with_name("products.parquet"))}
    config = BasketsConfig.model_validate({"orders": orders, "products": products})
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as out:
        before = peak_mb()
        started, spent = time.perf_counter(), time.process_time()
        result = map_baskets(config, Path(out))
        seconds, core_seconds = time.perf_counter() - started, time.process_time() - spent
    times = {"seconds": seconds, "core_seconds": core_seconds}
    return {"lines": result["lines"], **times, "peak_mb": peak_mb(), "before_mb": before}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"mine": mine, "memory": memory, "map": map_lines}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])) + "\n")
