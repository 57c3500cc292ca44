"""Names of computers, and the command that starts a stage there: nothing of a name is an option or a program."""

import subprocess

import pytest

from mlx_model.distributed.hosts import hosts_of, plain, stage_command
from mlx_model.errors import RequestError


def test_names_of_computers() -> None:
    assert hosts_of("user@mini.local, studio,10.0.0.2,me@fe80::1") == (
        *("user@mini.local", "studio", "10.0.0.2", "me@fe80::1"),
    )
    assert plain("user@mini.local") == "mini.local" and plain("studio") == "studio"


@pytest.mark.parametrize(
    "name",
    ["", "-oProxyCommand=touch x", "user@-oProxyCommand=x", "-l@host", "a b", "a;b", "a@b@c", "$(x)", "a%h", "ho\nst",
     "ho\0st", "`x`", "a'b", "mini,", "a,a", ",".join(f"h{i}" for i in range(9)), "é", "x" * 400],
)  # fmt: skip
def test_what_ssh_or_a_shell_could_take_for_something_else_is_refused(name: str) -> None:
    with pytest.raises(RequestError):
        hosts_of(name)


def test_the_command_asks_nothing_forwards_nothing_and_notices_a_dead_link() -> None:
    *options, end, host, there = stage_command("user@mini")
    assert (options[0], end, host) == ("ssh", "--", "user@mini")
    said = {option.partition("=")[0]: option.partition("=")[2] for option in options if "=" in option}
    assert said["BatchMode"] == "yes" and said["ClearAllForwardings"] == "yes" and said["ServerAliveInterval"] == "5"
    assert "'" in there


def test_the_command_there_is_one_that_any_shell_reads() -> None:
    """In single quotes alone; what it finds is in the folders where installers put programs."""
    there = stage_command("mini")[-1]
    found = subprocess.run(["sh", "-c", there], env={"HOME": "/nowhere", "PATH": "/bin:/usr/bin"}, capture_output=True)
    assert found.returncode == 127 and b"gptoss-stage" in found.stderr
