"""Folders of processes: a living one keeps its own, and what a killed one left is removed."""

import subprocess
import sys
from pathlib import Path

from serving.scratch import Scratch

KILLED = """
import os, signal, sys
from pathlib import Path
from serving.scratch import Scratch

scratch = Scratch(Path(sys.argv[1]))
scratch.path.mkdir()
(scratch.path / "big").write_text("left")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    mine = Scratch(tmp_path)
    mine.path.mkdir()
    repository = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=repository, check=False)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
    other = Scratch(tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == [mine.path]
    mine.close()
    other.close()
    assert list(tmp_path.iterdir()) == []
