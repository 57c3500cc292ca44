"""`--with`: what it means beside other arguments and the settings; doctor and download with other computers."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli import doctor_hosts, download_parts
from app.cli import main as cli
from app.cli.arguments import stated_hosts
from app.engine.backend import ModelBackend
from app.engine.protocol import Load, Ready, decode, encode
from app.settings import Settings
from app.settings import load as load_settings
from mlx_model.distributed.load import Met
from mlx_model.distributed.machine import Files, Machine
from mlx_model.distributed.remote import StageLost
from mlx_model.errors import RequestError
from mlx_model.hub.names import resolve
from mlx_model.part import Part
from mlx_model.transformer.config import PUBLISHED
from tests.fixtures.checkpoints import tiny_config, write_checkpoint
from tests.fixtures.direct_stages import DirectRemote
from tests.fixtures.hub import REPO, cache, server
from tests.fixtures.hub_server import HubServer

__all__ = ["cache", "server"]

GB = 10**9
MINI = Machine("1", "2", "macOS 26", "Apple M4 Pro", "gpu", 48 << 30, 40 * GB, 40 * GB, "", 273)


@pytest.mark.parametrize(
    ("said", "setting", "meant"),
    [
        (None, None, ()),
        ("mini,me@studio", None, ("mini", "me@studio")),
        (None, "mini", ("mini",)),
        ("studio", "mini", ("studio",)),
        ("none", "mini", ()),
    ],
)
def test_which_computers_are_meant(said: str | None, setting: str | None, meant: tuple[str, ...]) -> None:
    arguments = argparse.Namespace(**({} if said is None else {"hosts": said}))
    assert stated_hosts(arguments, Settings(hosts=setting)) == meant


def test_the_settings_file_names_them(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('with = "me@mini.local"\n')
    assert load_settings(path).hosts == "me@mini.local"
    path.write_text("with = 3\n")
    assert load_settings(path).hosts is None and "with is 3" in load_settings(path).warnings[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", "--with=-oProxyCommand=x", "hi"], "is no computer"),
        (["doctor", "--with", "a b"], "is no computer"),
    ],
)
def test_what_can_not_be_meant(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 1
    assert said in capsys.readouterr().err


def test_an_adapter_is_refused_before_anyone_is_asked() -> None:
    with pytest.raises(RequestError, match="takes no adapter"):
        ModelBackend().load(Load("demo", adapter="/x", hosts=("mini",)), lambda reply: None)


def test_the_engine_is_told_and_tells_of_them() -> None:
    for message in (Load("demo", hosts=("me@mini", "studio")), Ready("demo", 1, 2, 3, 0.5, hosts=("mini",))):
        assert decode(encode(message)) == message


class FakeRemote(DirectRemote):
    """One that fetches nothing and is near."""

    fetched: Part | None = None

    def round_trip(self, nbytes: int, times: int) -> float:
        return 0.0004 * (1 if nbytes < 6000 else 100)

    def fetch(self, model: str, part: Part, progress: Callable[[int, int], None]) -> None:
        self.fetched = part
        for done in range(0, 101, 5):
            progress(done, 100)


@pytest.fixture
def macs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRemote]:
    """This computer and every one that is met is a Mac mini; one is off, one has another version."""
    remotes: list[FakeRemote] = []

    def meet(hosts: Sequence[str], model: str) -> list[Met]:
        found = []
        for host in hosts:
            if host == "off":
                raise StageLost("off can't be reached: no route")
            remotes.append(FakeRemote("demo"))
            remotes[-1].host = remotes[-1].name = host
            machine = replace(MINI, mlx="9") if host == "old" else MINI
            files = replace(Files.in_folder(resolve("demo")), layers=(*range(18), 20, *range(30, 36)))
            found.append(Met(remotes[-1], machine, files))
        return found

    for module in (doctor_hosts, download_parts):
        monkeypatch.setattr(module, "meet", meet)
        monkeypatch.setattr(module.Machine, "here", staticmethod(lambda memory=None: MINI))
    return remotes


def lines(hosts: list[str], config: Any = PUBLISHED["gpt-oss-120b"]) -> list[str]:
    report = doctor_hosts.examine_hosts(hosts, "gpt-oss-120b", config, None)
    return list(doctor_hosts.render_hosts(json.loads(json.dumps(report))))


def test_doctor_says_the_split_the_way_and_the_speed(macs: list[FakeRemote]) -> None:
    assert lines(["me@mini.local"]) == [
        "mini.local: Apple M4 Pro, macOS 26, 48 GB, of which a model can have 37.3 GB now",
        "  gptoss-chat 1, MLX 2",
        "  of gpt-oss-120b it has layers 0 to 17, 20, 30 to 35",
        "  a token's numbers there and back: 0.40 ms",
        "gpt-oss-120b: fits, up to 131k context",
        "  layers 0 to 16 here: 33.2 GB of the 37.3 GB that are free",
        "  layers 17 to 35 on mini.local: 34.8 GB of the 37.3 GB that are free",
        "  about 38 tokens a second, by the memories' bandwidths, with 0.40 ms on the way",
    ]
    assert all(remote.closed for remote in macs)


def test_doctor_says_what_is_wrong_with_each(
    macs: list[FakeRemote], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor_hosts.show_hosts(["off", "old"], "gpt-oss-120b", PUBLISHED["gpt-oss-120b"], None, as_json=False) == 1
    out, err = capsys.readouterr()
    off, old = err.splitlines()
    assert off == "gptoss-chat: off can't be reached: no route"
    assert old.startswith("gptoss-chat: old has MLX 9, this computer 2")
    assert out.startswith("old: Apple M4 Pro") and "MLX 9, this" not in out
    monkeypatch.setattr(FakeRemote, "round_trip", lambda *_: 0.02)
    said = "\n".join(lines(["mini"], PUBLISHED["gpt-oss-20b"]))
    assert "a cable" in said and "fits on this computer alone" in said
    huge = replace(PUBLISHED["gpt-oss-120b"], num_local_experts=512)
    assert doctor_hosts.show_hosts(["mini"], "gpt-oss-120b", huge, None, as_json=False) == 1
    assert capsys.readouterr().err.startswith("gptoss-chat: this model needs")


def test_each_computer_downloads_its_part(
    macs: list[FakeRemote], server: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_checkpoint(tmp_path / "made", tiny_config(), shards=7)
    server.repos[REPO].publish({"tokenizer.json": b"{}"} | {path.name: path.read_bytes() for path in folder.iterdir()})
    assert cli.main(["download", "gpt-oss-20b", "--with", "me@mini,studio"]) == 0
    out, err = capsys.readouterr()
    here = Files.in_folder(Path(out.strip())).layers
    parts = [remote.fetched for remote in macs]
    assert parts[0] is not None and parts[1] is not None
    assert {*range(parts[0].start)} <= {*here} and (parts[0].stop, parts[1].stop) == (parts[1].start, 4)
    assert "mini: 50% of" in err and "studio: complete and verified" in err
    assert "gptoss-chat --model gpt-oss-20b --with me@mini,studio" in err
    assert all(remote.closed for remote in macs)
