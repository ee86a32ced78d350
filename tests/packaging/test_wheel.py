"""The wheel holds every module, and each can be imported from it alone."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("data", "retrieval", "evaluation", "training", "discovery", "serving", "ray_apps", "benchmarks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the sources, so that no build folder is left in the repository."""
    sources = tmp_path_factory.mktemp("sources")
    listed = [REPOSITORY / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    for file in listed + [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]:
        copy = sources / file.relative_to(REPOSITORY)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), "."]
    subprocess.run(build, check=True, capture_output=True, text=True, cwd=sources)
    return next(out.glob("catena-*.whl"))


def modules() -> list[str]:
    """Every module of ours by its dotted name."""
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py")]
    names = [".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files]
    return sorted(name.removesuffix(".__init__") for name in names)


def test_wheel_holds_our_modules_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    ours = {str(p.relative_to(REPOSITORY)) for package in PACKAGES for p in (REPOSITORY / package).rglob("*.py")}
    assert set(names) == ours


def test_every_module_imports_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """In an environment with nothing of ours but the wheel; the libraries are those of the environment at hand."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
        capture_output=True,
        text=True,
    )
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    # The libraries' folder comes last, and its .pth files (an editable install of ours among them) are not read.
    code = "\n".join(
        [
            "import importlib, sys",
            f"sys.path.append({libraries!r})",
            f"for name in {modules()!r}:",
            "    module = importlib.import_module(name)",
            "    assert 'venv' in module.__file__.split('/'), module.__file__",
        ]
    )
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=plain, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "venv" / "bin" / "catena").exists()
