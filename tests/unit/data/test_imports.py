"""Code of the user's own: found in one way, and identified by what it says."""

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.errors import InputError
from data.imports import CATENA, code_digest, is_import_path, load

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = {
    "own_pkg/__init__.py": "",
    "own_pkg/corpora.py": "from own_pkg.deep.words import WORDS\nimport own_single\ndef load():\n    return WORDS\n",
    "own_pkg/deep/__init__.py": "",
    "own_pkg/deep/words.py": "WORDS = ['a']\n",
    "own_pkg/notes.txt": "no code",
    "own_single.py": "import data.errors\nfrom own_space.part import help_out\ndef run():\n    pass\nnumber = 3\n",
    "own_space/part.py": "from . import other\nfrom .third import X\n\ndef help_out():\n    pass\n",
    "own_space/other.py": "Y = 1\n",
    "own_space/third.py": "X = 1\n",
    "own_space/stranger.py": "Z = 1\n",
    "own_bystander.py": "import own_pkg\n",
    "own_broken.py": "x = 1\nraise RuntimeError('no licence')\n",
    "own_exit.py": "import sys\nsys.exit(3)\n",
}  # fmt: skip


def write(folder: Path) -> Path:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0].startswith("own_")]:
        del sys.modules[name]


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's code, in the current folder."""
    forget()
    folder = write(tmp_path / "laptop")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(folder)
    yield folder
    forget()


def digest(path: str = "own_pkg.corpora:load") -> str:
    return code_digest("steps", path)


@pytest.mark.usefixtures("code")
def test_code_of_the_current_folder_is_found() -> None:
    assert load("steps", "own_pkg.corpora:load")() == ["a"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "own_nothing:clean",
            "own_nothing cannot be imported: ModuleNotFoundError: No module",
        ),
        ("own_pkg.gone:clean", "own_pkg.gone cannot be imported: ModuleNotFoundError"),
        ("own_single:runn", "own_single has no function or class 'runn'; did you mean 'run'"),
        ("own_single:number", "own_single has no function or class 'number'"),
        ("own_broken:x", r"own_broken cannot be imported: RuntimeError: no licence \(.*own_broken\.py, line 2\)"),
        ("own_exit:x", r"own_exit cannot be imported: SystemExit: 3 \(.*own_exit\.py, line 2\)"),
    ],
)
@pytest.mark.usefixtures("code")
def test_a_path_that_leads_nowhere_is_an_error_with_key_path_and_cause(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load("steps", path)
    assert error.value.problem.startswith(f"steps: {path}: ") and error.value.remedy


def test_the_same_code_elsewhere_is_the_same(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {path: digest(path) for path in ("own_pkg.corpora:load", "own_single:run", "own_space.part:help_out")}
    assert len(set(here.values())) == 3
    shutil.copytree(code, tmp_path / "ray" / "cluster")
    for file in (tmp_path / "ray").rglob("*.py"):
        os.utime(file, (1, 1))
    shutil.rmtree(code)
    forget()
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(code)])
    monkeypatch.chdir(tmp_path / "ray" / "cluster")
    assert {path: digest(path) for path in here} == here


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("own_pkg/corpora.py", True),
        ("own_pkg/deep/words.py", True),
        ("own_single.py", True),  # imported by the package
        ("own_space/part.py", True),  # by what the package imports
        ("own_space/other.py", True),
        ("own_space/third.py", True),
        ("own_pkg/new.py", True),
        ("own_space/stranger.py", False),
        ("own_bystander.py", False),
        ("own_pkg/notes.txt", False),
        ("own_pkg/__pycache__/corpora.cpython-311.pyc", False),
    ],
)
def test_what_changes_the_identity(code: Path, file: str, changes: bool) -> None:
    before = digest()
    (code / file).parent.mkdir(exist_ok=True)
    with (code / file).open("a") as opened:
        opened.write("\n# changed\n")
    assert (digest() != before) == changes


def test_a_file_moved_within_its_package_is_a_change(code: Path) -> None:
    before = digest()
    (code / "own_pkg" / "deep" / "words.py").rename(code / "own_pkg" / "deep" / "other.py")
    assert digest() != before


@pytest.mark.usefixtures("code")
def test_nothing_is_run_to_identify_code() -> None:
    assert digest("own_broken:x").startswith("sha256 ")
    assert "own_broken" not in sys.modules and "own_pkg" not in sys.modules


@pytest.mark.usefixtures("code")
def test_code_that_is_not_there_is_an_error() -> None:
    for path in ("own_nothing:x", "own_space.nothing:x"):
        with pytest.raises(InputError, match=f"steps: {path}: no module"):
            digest(path)


def test_an_installed_package_is_known_by_name_and_version() -> None:
    import yaml

    assert code_digest("steps", "yaml:safe_load").lower() == f"pyyaml {yaml.__version__}"


def test_catenas_own_packages_are_those_it_installs() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    included = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.split(".")[0] for name in included} == CATENA


def test_what_is_an_import_path() -> None:
    assert is_import_path("pkg.mod:load")
    for text in ("all-MiniLM-L6-v2", "./models/x", "/models/a:b", "hf.co/a:b", "C:\\models", "https://x:80"):
        assert not is_import_path(text)
