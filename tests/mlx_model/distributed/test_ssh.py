"""A stage behind a real ssh: a server of this user's own on the loopback, with a key made for the test."""

import getpass
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlx_model.distributed.load import load_across
from mlx_model.distributed.remote import StageLost
from mlx_model.folders import cache_folder
from mlx_model.generation.session import Session
from mlx_model.harmony.message import user
from mlx_model.model import load
from mlx_model.options import Options
from mlx_model.request import Request
from tests.fixtures.stages import LocalStages

SYSTEM = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"))

SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/person.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
SetEnv PATH={programs}:/usr/bin:/bin HOME={folder} GPTOSS_CACHE_DIR={cache}
"""

CLIENT = """\
Host loopback stranger
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/person
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
  GlobalKnownHostsFile none
Host stranger
  HostKeyAlias stranger
"""

WRAPPER = """\
#!/bin/sh
exec {ssh} -F {folder}/client "$@"
"""


@pytest.fixture
def stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStages]:
    """`ssh loopback` is this computer, whose key is known, and so is `ssh stranger`, whose key isn't."""
    ssh, sshd, keygen = (shutil.which(name, path=SYSTEM) for name in ("ssh", "sshd", "ssh-keygen"))
    if ssh is None or sshd is None or keygen is None:
        pytest.skip("there is no ssh here with a server")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    local = LocalStages(tmp_path)
    for name in ("host", "person"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    host_key = (tmp_path / "host.pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {host_key[0]} {host_key[1]}\n")
    # A home of its own: a shell's start-up files are not what is tested. The cache has the CPU's compiled kernels.
    facts = {"port": port, "folder": tmp_path, "user": getpass.getuser(), "ssh": ssh, "programs": local.path}
    facts["cache"] = cache_folder()
    (tmp_path / "server").write_text(SERVER.format(**facts))
    (tmp_path / "client").write_text(CLIENT.format(**facts))
    wrapper = local.path / "ssh"
    wrapper.write_text(WRAPPER.format(**facts))
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    server = subprocess.Popen([sshd, "-D", "-e", "-f", tmp_path / "server"], stderr=subprocess.PIPE, text=True)
    try:
        if not wait_until(lambda: server.poll() is not None or is_open(port)) or server.poll() is not None:
            assert server.stderr
            pytest.skip(f"the ssh server can't be started here: {server.stderr.read().strip()}")
        for name, value in local.environment().items():
            monkeypatch.setenv(name, value)
        yield local
    finally:
        server.kill()
        server.wait()


def wait_until(holds: Callable[[], bool]) -> bool:
    """Whether it holds in the end."""
    end = time.monotonic() + 120
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def is_open(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_answers_and_ends_behind_a_real_ssh(stages: LocalStages) -> None:
    """An answer, the loss of the connection in the midst of one, another; and the process there ends with its ssh."""
    request = Request((user("How many r's are in strawberry?"),), Options(seed=1))
    whole = [getattr(event, "text", "") for event in Session(load("demo")).stream(request)]
    model = load_across("demo", ["loopback"])
    session = Session(model)
    assert [getattr(event, "text", "") for event in session.stream(request)] == whole
    pipeline: Any = model.transformer.further  # type: ignore[union-attr]
    with pytest.raises(StageLost, match="loopback"):
        for event in session.stream(request):
            if getattr(event, "text", ""):
                os.kill(pipeline._stages[0]._process.pid, signal.SIGKILL)
    assert wait_until(lambda: not stages.alive)
    assert [getattr(event, "text", "") for event in session.stream(request)] == whole
    pipeline.lose()
    assert wait_until(lambda: not stages.alive)
    with pytest.raises(StageLost, match=r"stranger has a key that is not known here.*run `ssh stranger` once"):
        load_across("demo", ["stranger"])
