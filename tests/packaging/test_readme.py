"""The script of the README runs as it stands there and prints what its comments say."""

import re
import subprocess
import sys

import pytest

from tests.fixtures import ROOT


def test_the_script_of_the_readme_prints_what_it_says() -> None:
    pytest.importorskip("llguidance", reason="the extra [schema] is not installed")
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    bound = re.search(r'# Bound to a form: "(.+?)"', script)
    assert bound is not None
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    first, *others = done.stdout.splitlines()
    assert first.startswith('There are 3 r\'s in "strawberry". stop ')
    assert (others, done.returncode) == ([bound[1]], 0), done.stderr
