"""``make audit`` fails for vulnerabilities alone. Scripts play pip-audit: no test asks its service."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SKIPPED = "torch Dependency not found on PyPI and could not be audited: torch (2.13.0)"
UNREACHABLE = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='pypi.org'): Max retries exceeded"
FOUND = "Found 1 known vulnerability in 1 package"
NOTHING = "nothing was checked"


@pytest.mark.parametrize(
    ("first", "first_code", "rest", "rest_code", "code", "said", "asked"),
    [
        ("No known vulnerabilities found", 0, "No known vulnerabilities found", 0, 0, "No known", 2),
        ("No known vulnerabilities found", 0, FOUND, 1, 1, FOUND, 2),
        (FOUND, 1, FOUND, 1, 1, FOUND, 2),
        ("No known vulnerabilities found", 0, "ValueError: of pip-audit's own", 1, 1, "ValueError", 2),
        (UNREACHABLE, 1, "", 0, 0, NOTHING, 1),
        (SKIPPED, 0, "", 0, 0, NOTHING, 1),
    ],
    ids=["clean", "found", "found in the first", "broken", "unreachable", "a mirror of packages alone"],
)
def test_it_fails_for_what_was_found_and_says_when_nothing_was_checked(
    tmp_path: Path, first: str, first_code: int, rest: str, rest_code: int, code: int, said: str, asked: int
) -> None:
    log, tool = tmp_path / "asked", tmp_path / "pip-audit"
    tool.write_text(
        f'#!/bin/sh\necho "$2" >> {log}\ncase "$2" in\n'
        f'  constraints.txt) echo "{rest}"; exit {rest_code};;\n  *) echo "{first}"; exit {first_code};;\nesac\n'
    )
    tool.chmod(0o755)
    done = subprocess.run([REPOSITORY / ".ci" / "audit", tool], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert len(log.read_text().splitlines()) == asked
