"""Every kernel's text is written for Apple's compiler, and what it refuses is named."""

import sys
from pathlib import Path

from tests.fixtures import ROOT
from tests.metal.syntax import PRELUDE, refused, write


def test_every_kernel_is_written(tmp_path: Path) -> None:
    files = write(tmp_path)
    kernels = {path.stem for path in (ROOT / "metal" / "kernels").glob("*.metal")}
    assert {file.stem.split("-")[0] for file in files} == kernels
    for file in files:
        text = file.read_text("ascii")
        assert text.startswith(PRELUDE)
        assert "[[kernel]]" in text


def test_what_the_compiler_refuses_is_named(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.metal", tmp_path / "bad.metal"
    good.write_text("good")
    bad.write_text("bad")
    compiler = [sys.executable, "-c", "import sys; sys.exit(open(sys.argv[1]).read() == 'bad')"]
    assert refused([good, bad], compiler) == [bad]
