"""A folder in memory for all that tests write, where there is room.

Stores, indexes and artifacts wait for the disk after each write; in a file system in memory they do not.
"""

import getpass
import os
import shutil
import tempfile
import weakref
from pathlib import Path

MEMORY = Path("/dev/shm")
PREFIX = "catena-"
ROOM_BYTES = 4 * 2**30  # a whole run writes 1.5 GB


def use_memory() -> weakref.finalize | None:
    """Make the folder and have this process and its children write there, unless TMPDIR names another place.

    Returns:
        what frees it when the process ends, after all that was opened in it is closed; None where there is none.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        return None
    for left in MEMORY.glob(f"{PREFIX}*"):  # of tests that failed, or were killed
        if not Path("/proc", left.name.removeprefix(PREFIX)).exists():
            shutil.rmtree(left, ignore_errors=True)
    disk, folder = tempfile.gettempdir(), MEMORY / f"{PREFIX}{os.getpid()}"
    folder.mkdir(mode=0o700)
    os.environ.setdefault("RAY_TMPDIR", disk)  # its logs are for afterwards, and its sockets have short names
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{disk}/torchinductor_{getpass.getuser()}")  # for the next tests
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return weakref.finalize(use_memory, shutil.rmtree, folder, ignore_errors=True)
