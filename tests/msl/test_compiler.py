"""Where the bench finds its compiler, what happens where there is none, and the cache of what it has built."""

from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import Barrier, Thread

import pytest

from tests.fixtures import ROOT
from tests.msl import BenchUnavailable, NoCompilerError, compiler, run_kernel, skipping
from tests.msl.bodies import call


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without compilers but those that the test puts in this folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("MSL_CXX", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(compiler, "find_spec", lambda _: None)
    for cached in (compiler.kernel_compiler, compiler.host_compiler, compiler._compiler_identity):
        monkeypatch.setattr(compiler, cached.__name__, cached.__wrapped__)
    return tmp_path


def add_clang(folder: Path, name: str, version: int) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho clang version {version}.1.0")
    path.chmod(0o755)
    return str(path)


def test_the_newest_clang_comes_first(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "find_spec", lambda name: ModuleSpec(name, None, origin=f"/site/{name}/__init__.py"))
    add_clang(bare, "clang++", 18)
    assert compiler.kernel_compiler() == ("/site/ziglang/zig", "c++")
    assert compiler.clang() == ("/site/ziglang/zig", "clang")
    plain = add_clang(bare, "clang++", 20)
    assert compiler.kernel_compiler() == (plain,)
    newest = add_clang(bare, "clang++-22", 22)
    add_clang(bare, "clang++-19", 19)
    assert compiler.kernel_compiler() == (newest,)
    monkeypatch.setenv("MSL_CXX", "ccache my-clang++")
    assert compiler.kernel_compiler() == compiler.clang() == ("ccache", "my-clang++")


@pytest.mark.usefixtures("bare")
def test_a_machine_without_clang_says_so() -> None:
    with pytest.raises(NoCompilerError, match="clang 19 or newer"):
        run_kernel(call("y[g] = 1;"))


def test_a_machine_without_a_compiler_of_its_own_says_so(bare: Path) -> None:
    add_clang(bare, "clang++-19", 19)
    with pytest.raises(NoCompilerError, match="compiler of the host"):
        run_kernel(call("y[g] = 1;"))


@pytest.mark.parametrize(("platform", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_an_unknown_machine_is_unavailable(platform: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(BenchUnavailable, match="Linux"):
        compiler.kernel_compiler.__wrapped__()


def test_what_cannot_run_is_skipped_but_not_in_continuous_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no compiler"):
        skipping.skip_unless_required(NoCompilerError("no compiler"))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(NoCompilerError):
        skipping.skip_unless_required(NoCompilerError("no compiler"))
    with pytest.raises(pytest.skip.Exception, match="a Mac"):
        skipping.skip_unless_required(BenchUnavailable("a Mac"))


def test_what_is_built_stays_inside_the_checkout() -> None:
    assert compiler._cache_folder() == ROOT / "build" / "metal-bench"


def test_two_builds_at_once_leave_one_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_cache_folder", lambda: tmp_path)
    both_build = Barrier(2)

    def build(target: Path) -> None:
        target.write_text("half ")
        both_build.wait(timeout=120)
        target.write_text("half and half")

    found: list[Path] = []
    threads = [Thread(target=lambda: found.append(compiler._built(("key",), ".so", build))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert found[0].read_text() == "half and half"
    assert list(tmp_path.iterdir()) == [found[0]]
