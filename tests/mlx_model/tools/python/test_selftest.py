"""Which way to confine is chosen, what its test says, and how long that is remembered."""

import json
import os
import platform
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlx_model.harmony.calls import ToolCall
from mlx_model.tools.python import Python, bubblewrap, seatbelt, selftest
from mlx_model.tools.python.sandbox import Confinement, Interpreter, Sandbox, candidates, why_not_here
from mlx_model.tools.python.selftest import Verdicts, choose, probe, remembered
from tests.fixtures.without_privileges import a_folder, a_python, without_privileges

HERE = Interpreter.ask(Path(sys.executable))
MEMORY = 1 << 30
WAYS = (Confinement.BUBBLEWRAP, Confinement.LANDLOCK)


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> dict[Confinement, str]:
    """What the test of each way says, in place of a test."""
    said = dict.fromkeys(WAYS, "")
    monkeypatch.setattr(selftest, "candidates", lambda: WAYS)
    monkeypatch.setattr(selftest, "why_not_here", lambda way, interpreter: None)
    monkeypatch.setattr(selftest, "probe", lambda sandbox: said[sandbox.way])
    return said


def chosen(verdicts: Verdicts, way: Confinement = Confinement.AUTO) -> tuple[Confinement, str]:
    return choose(way, HERE, MEMORY, verdicts)


def test_the_first_way_that_holds_is_taken(complaints: dict[Confinement, str]) -> None:
    assert chosen(Verdicts(None)) == (Confinement.BUBBLEWRAP, "")
    complaints[Confinement.BUBBLEWRAP] = "setting up uid map: Permission denied"
    assert chosen(Verdicts(None)) == (Confinement.LANDLOCK, "")
    complaints[Confinement.LANDLOCK] = "a file of yours can be read"
    way, why_not = chosen(Verdicts(None))
    assert way is Confinement.NONE
    assert why_not == ("bubblewrap: setting up uid map: Permission denied; landlock: a file of yours can be read")
    assert chosen(Verdicts(None), Confinement.LANDLOCK)[1] == "landlock: a file of yours can be read"


def test_a_pass_is_remembered_and_a_failure_is_tried_again(complaints: dict[Confinement, str], tmp_path: Path) -> None:
    file = tmp_path / "folder" / "sandbox.json"
    assert remembered(HERE, MEMORY, Verdicts(file)) is None
    complaints[Confinement.BUBBLEWRAP] = "no"
    assert chosen(Verdicts(file)) == (Confinement.LANDLOCK, "")
    assert remembered(HERE, MEMORY, Verdicts(file)) == (Confinement.LANDLOCK, "")
    complaints |= dict.fromkeys(WAYS, "broken now")
    assert chosen(Verdicts(file)) == (Confinement.LANDLOCK, "")  # it was not tested again
    complaints[Confinement.BUBBLEWRAP] = ""
    assert chosen(Verdicts(file)) == (Confinement.BUBBLEWRAP, "")
    assert remembered(HERE, MEMORY, Verdicts(file)) == (Confinement.BUBBLEWRAP, "")


async def test_a_kernel_that_does_not_start_has_its_sandbox_tested_again(
    complaints: dict[Confinement, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that is remembered may be out of date: a policy of the system's has changed."""
    monkeypatch.setenv("PATH", str(tmp_path / "without-bwrap"))
    tool = Python(tmp_path / "work", confinement=Confinement.BUBBLEWRAP, verdicts=tmp_path / "sandbox.json")
    call = ToolCall("python", "1", arguments={"code": "1"})
    assert "could not be started: bwrap: No such file" in (await tool.run(call, print)).text
    assert not tool.confined
    complaints[Confinement.BUBBLEWRAP] = "the policy forbids it"
    refused = await tool.run(call, print)
    assert refused.error
    assert refused.text.endswith("so nothing was run: bubblewrap: the policy forbids it.")
    await tool.close()


def test_a_change_of_what_decides_it_is_tested_again(
    complaints: dict[Confinement, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sandbox.json"
    chosen(Verdicts(file))
    assert remembered(replace(HERE, version="3.99"), MEMORY, Verdicts(file)) is None
    assert remembered(HERE, MEMORY + 1, Verdicts(file)) is None
    with monkeypatch.context() as patch:
        patch.setattr(bubblewrap, "_HOME", 1)
        assert remembered(HERE, MEMORY, Verdicts(file)) is None
    with monkeypatch.context() as patch:
        patch.setattr(platform, "platform", lambda: "another system")
        assert remembered(HERE, MEMORY, Verdicts(file)) is None
    assert remembered(HERE, MEMORY, Verdicts(file)) is not None


def test_all_that_failed_is_remembered_with_its_reasons(complaints: dict[Confinement, str], tmp_path: Path) -> None:
    complaints |= dict.fromkeys(WAYS, "no")
    verdicts = Verdicts(tmp_path / "sandbox.json")
    assert chosen(verdicts) == remembered(HERE, MEMORY, verdicts) == (
        Confinement.NONE, "no"
    )  # fmt: skip


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "{" * 1000])
def test_a_damaged_file_counts_as_empty_and_is_replaced(
    complaints: dict[Confinement, str], tmp_path: Path, content: str
) -> None:
    file = tmp_path / "sandbox.json"
    file.write_text(content)
    assert remembered(HERE, MEMORY, Verdicts(file)) is None
    chosen(Verdicts(file))
    assert list(json.loads(file.read_text()).values()) == [""]


def test_a_file_that_can_not_be_written_costs_a_test_at_the_next_start(
    complaints: dict[Confinement, str], tmp_path: Path
) -> None:
    verdicts = Verdicts(tmp_path)  # a folder
    assert chosen(verdicts) == (Confinement.BUBBLEWRAP, "")
    complaints[Confinement.BUBBLEWRAP] = "no"
    assert chosen(verdicts) == (Confinement.BUBBLEWRAP, "")


def test_root_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for way in candidates():
        assert why_not_here(way, HERE) == "the program runs as root, whom a sandbox does not hold"


def test_what_is_missing_or_too_wide_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/me")
    plain = Interpreter(Path("/usr/bin/python3"), "3.11", (Path("/usr"),))
    assert "bwrap is not installed" in (why_not_here(Confinement.BUBBLEWRAP, plain) or "")
    assert why_not_here(Confinement.LANDLOCK, plain) is None
    for folder in ("/", "/home", "/home/me"):
        wide = Interpreter(Path("/home/me/bin/python"), "3.11", (Path(folder),))
        assert f"lies in {folder}, which would have to be readable" in (why_not_here(Confinement.LANDLOCK, wide) or "")


def test_probes_complain_where_nothing_confines() -> None:
    """So that a pass means something: each probe whose attempt does no harm complains."""
    python = a_python()

    def complain() -> str:
        return probe(Sandbox(Confinement.NONE, Interpreter(python, "", ()), folder, folder, MEMORY))

    with a_folder() as folder:
        found = without_privileges(complain)
    for what in ("a file of yours can be read", "a file of yours can be changed", "can get another mode",
                 "over the network", "a socket outside", "the program can be killed",
                 "a link in the folder leads out of it", "a file beside yours"):  # fmt: skip
        assert what in found
    assert ("an abstract socket" in found) == (sys.platform == "linux")
    assert "does not work" not in found
    assert "variables" not in found  # it is cleaned without a sandbox too


def test_a_way_that_is_not_there_is_a_complaint(tmp_path: Path) -> None:
    found = probe(Sandbox(Confinement.LANDLOCK, Interpreter(Path("/bin/false"), "", ()), tmp_path, tmp_path, MEMORY))
    assert found == "its test ended with code 1"
    nothing = Interpreter(tmp_path / "missing", "", ())
    assert "No such file" in probe(Sandbox(Confinement.NONE, nothing, tmp_path, tmp_path, MEMORY))


def test_bubblewrap_is_asked_for_everything_it_can_do(tmp_path: Path) -> None:
    words = bubblewrap.command("bwrap", [Path("/usr/lib/python"), Path("/opt/python")], tmp_path, tmp_path, {"A": "b"})
    line = " ".join(words)
    assert "--unshare-user --unshare-all --disable-userns" in line
    for flag in ("--new-session", "--die-with-parent", "--clearenv", "--remount-ro / --"):
        assert flag in line
    assert f"--bind {tmp_path} /mnt/data --chdir /mnt/data" in line
    assert "--ro-bind /opt/python /opt/python" in line
    assert "/usr/lib/python" not in line
    assert [words[at + 1] for at, word in enumerate(words) if word == "--bind"] == [str(tmp_path)]


def test_the_profile_for_macos_denies_all_but_what_it_names(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    command = seatbelt.command(Path("/usr/bin/sandbox-exec"), [Path("/usr")], link, link)
    profile, definitions = command[2], command[3:]
    assert command[:2] == ["/usr/bin/sandbox-exec", "-p"]
    assert profile.startswith("(version 1)\n(deny default)\n")
    assert profile.count("(") == profile.count(")")
    assert "network" not in profile
    assert "mach-lookup)" not in profile  # a list, never all
    writes = [line for line in profile.splitlines() if "file-write*" in line]
    assert len(writes) == 2
    assert all("WRITE" in line for line in writes)
    real = os.path.realpath(tmp_path)
    assert [word for word in definitions if word != "-D"][-2:] == [f"WRITE0={real}", f"WRITE1={real}"]
    named = {word.partition("=")[0] for word in definitions if word != "-D"}
    assert all(f'(param "{name}")' in profile for name in named)


def test_a_python_is_asked_for_its_folders(tmp_path: Path) -> None:
    script = tmp_path / "bin" / "python"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    script.chmod(stat.S_IRWXU)
    found = Interpreter.ask(script)
    assert found.version == HERE.version
    assert {Path(sys.prefix), Path(sys.base_prefix), tmp_path} <= {*found.folders}
    with pytest.raises(OSError, match="is no Python that can be started"):
        Interpreter.ask(Path("/bin/false"))
