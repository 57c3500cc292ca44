"""What goes wrong on the way, at a local Hub that does it: each ends well by itself, or with a word on what to do."""

import os
import ssl
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import download, explain
from mlx_model.hub import names as hub
from mlx_model.hub.download import Downloaded, DownloadEvent, Progress, fetch, prepare
from mlx_model.hub.transfer import WAITS, Damaged, Waiting, _write
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import Fault, HubServer, gpt_oss

SHARD = "model-00001-of-00002.safetensors"
SIZE = len(gpt_oss()[SHARD])


def run() -> list[DownloadEvent]:
    """Download to the end; progress never falls on the way and the model is whole after it."""
    plan = prepare("gpt-oss-20b")
    events = list(fetch(plan))
    assert isinstance(events[-1], Downloaded)
    for name in hub.needed_files(events[-1].folder):
        assert (events[-1].folder / name).read_bytes() == gpt_oss()[name]
    assert hub.default_model() == "gpt-oss-20b"
    progress = [event for event in events if isinstance(event, Progress)]
    assert all(one.done <= two.done <= two.total == plan.total for one, two in pairwise(progress))
    return events


def failure() -> str:
    """The text that a download ends with; nothing half fetched is taken for a model."""
    with pytest.raises(CheckpointError) as caught:
        list(fetch(prepare("gpt-oss-20b")))
    assert hub.default_model() == "demo"
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (Fault(cut_after=30_000), 2 * SIZE - 30_000),
        (Fault(cut_after=0), 2 * SIZE),
        (Fault(status=500), SIZE),
        (Fault(status=503), SIZE),
        (Fault(status=429), SIZE),
        (Fault(status=408), SIZE),
    ],
    ids=lambda value: str(value)[:25],
)
def test_what_passes(server: HubServer, fault: Fault, asked: int) -> None:
    server.faults[SHARD].append(fault)
    others = prepare("gpt-oss-20b").total - SIZE
    events = run()
    assert [event.name for event in events if isinstance(event, Waiting)] == [SHARD]
    assert server.asked == others + asked  # goes on at the last byte that came


def test_many_cuts_with_a_few_bytes_each(server: HubServer) -> None:
    server.faults[SHARD].extend([Fault(cut_after=5000)] * (3 * len(WAITS)))
    run()
    assert server.requested.count(SHARD) == 3 * len(WAITS) + 1


def test_a_server_that_knows_no_ranges(server: HubServer) -> None:
    server.faults[SHARD].extend([Fault(cut_after=30_000), Fault(ignore_range=True)])
    run()
    assert server.asked == prepare("gpt-oss-20b").total + SIZE


def test_wrong_bytes_are_fetched_again_alone(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PERIOD", 0.001)
    server.pause = 0.001
    server.faults[SHARD].append(Fault(wrong=True))
    events = run()
    assert [event.name for event in events if isinstance(event, Damaged)] == [SHARD]
    assert [name for name in server.requested if server.requested.count(name) > 1] == [SHARD, SHARD]


def test_wrong_bytes_twice_are_no_model(server: HubServer) -> None:
    server.faults[SHARD].extend([Fault(wrong=True)] * 2)
    assert f"{SHARD} arrived twice with contents that don't match" in failure()
    server.requested.clear()
    run()
    assert server.requested.count(SHARD) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "1"}, 1.0),
        ({"RateLimit": '"resolvers";r=0;t=1', "RateLimit-Policy": '"fixed window";"resolvers";q=5000;w=300'}, 1.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT", "RateLimit": "nonsense"}, None),
        ({"Retry-After": "999999"}, 300.0),
        ({}, None),
    ],
)
def test_how_long_the_server_asks_to_wait(server: HubServer, headers: dict[str, str], seconds: float | None) -> None:
    from huggingface_hub import get_session
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    server.faults["api"].append(Fault(status=429, headers=headers))
    with pytest.raises(HfHubHTTPError) as caught:
        hf_raise_for_status(get_session().get(f"{server.url}/api/models/{REPO}"))
    assert explain.asked_to_wait(caught.value) == seconds


def test_the_wait_that_the_server_asks_for_is_kept(server: HubServer) -> None:
    server.faults[SHARD].append(Fault(status=429, headers={"Retry-After": "1"}))
    [waiting] = [event for event in run() if isinstance(event, Waiting)]
    assert waiting == Waiting(SHARD, "the Hub asks to wait", 1.0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=500), "an internal problem (error 500): try again later"),
        (Fault(status=429), "limits requests"),
        (Fault(cut_after=0), "can't be reached"),
    ],
)
def test_what_does_not_pass_ends_with_what_to_do(server: HubServer, fault: Fault, message: str) -> None:
    server.faults[SHARD].extend([fault] * (len(WAITS) + 1))
    text = failure()
    assert message in text and "the same command goes on" in text
    assert server.requested.count(SHARD) == len(WAITS) + 1
    server.asked = 0
    plan = prepare("gpt-oss-20b")
    missing = plan.total - plan.present
    run()
    assert server.asked == missing


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=403), "log in with `hf auth login`"),
        (Fault(status=404), "no longer has a file of openai/gpt-oss-20b"),
        (Fault(status=418), "refused with error 418"),
    ],
)
def test_what_no_second_try_mends_is_tried_once(server: HubServer, fault: Fault, message: str) -> None:
    server.faults[SHARD].append(fault)
    assert message in failure()
    assert server.requested.count(SHARD) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(401, {"X-Error-Message": "Invalid credentials in Authorization header"}), "refuses your token"),
        (Fault(401), "there is no openai/gpt-oss-20b on the Hub, or it is private"),
        (Fault(403, {"X-Error-Code": "GatedRepo"}), "publisher's permission: ask for it at http://127.0.0.1"),
        (Fault(404, {"X-Error-Code": "RepoNotFound"}), "check the name"),
        (Fault(404, {"X-Error-Code": "RevisionNotFound"}), "no branch, tag or commit main"),
        (Fault(429), "try again in a few minutes"),
        (Fault(502), "error 502"),
        (Fault(500, body=b"[" * 100_000), "error 500"),
        (Fault(400, body=b'{"errors": [3]}'), "refused with error 400 (Bad Request)"),
        (Fault(300), "refused with error 300"),
        (Fault(200, body=b"<html>Welcome to the hotel"), "log in to the network"),
        (Fault(200, body=b"[]"), "check HF_ENDPOINT"),
        (Fault(200, body=b"{}"), "check HF_ENDPOINT"),
        (Fault(200, body=b'{"id": "a/b", "sha": 3, "siblings": [{"rfilename": 3}]}'), "check HF_ENDPOINT"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_list_of_files_that_is_refused(server: HubServer, fault: Fault, message: str) -> None:
    server.faults["api"].append(fault)
    assert message in failure()
    assert server.requested == []


def test_an_unknown_revision(server: HubServer) -> None:
    with pytest.raises(CheckpointError, match="no branch, tag or commit v9"):
        prepare("gpt-oss-20b@v9")


def test_a_repository_that_is_not_there(server: HubServer) -> None:
    with pytest.raises(CheckpointError, match="there is no no/such-model on the Hub"):
        prepare("no/such-model")


def test_no_network(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with monkeypatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        said = failure()
        assert "http://127.0.0.1:9 can't be reached (" in said and said.endswith(": check the network")
        assert "Errno" not in said  # nor was anything fetched that could be kept
    run()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    run()  # complete: no network is needed


def test_a_network_that_goes_away_and_comes_back(server: HubServer) -> None:
    server.faults[SHARD].append(Fault(cut_after=20_000))
    server.faults[SHARD].extend([Fault(cut_after=0)] * (len(WAITS) + 1))
    assert "can't be reached" in (said := failure()) and said.endswith(explain.RESUME_HINT)
    server.asked = 0
    run()
    assert server.asked <= prepare("gpt-oss-20b").total - 20_000


def test_offline_by_the_environment(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in failure()
    assert server.requests == []


def test_a_proxy_is_used_and_its_failure_told(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session, constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", server.url)
    close_session()  # the client reads the environment when it is made
    assert prepare("gpt-oss-20b").commit == server.commit(REPO)
    assert server.requests[0].startswith("GET http://hub.invalid/api/models/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    close_session()
    with pytest.raises(CheckpointError, match="check the network and the proxy"):
        prepare("gpt-oss-20b")


def test_a_file_that_takes_less_than_it_is_given() -> None:
    """As on a disk that is nearly full: nothing may be left out in the middle."""

    class Narrow(BytesIO):
        def write(self, data: memoryview) -> int:  # type: ignore[override]
            return super().write(bytes(data)[:3])

    out = Narrow()
    assert _write(out, b"0123456789") == 10  # type: ignore[arg-type]
    assert out.getvalue() == b"0123456789"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_a_disk_that_becomes_full(server: HubServer) -> None:
    plan = prepare("gpt-oss-20b")
    partial = plan.target.partial(next(file for file in plan.files if file.name == SHARD))
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    text = failure()
    assert "the disk is full: free some space" in text and "the same command goes on" in text
    partial.unlink()
    run()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written(server: HubServer, cache: Path) -> None:
    cache.mkdir(mode=0o500)
    assert f"the folder {cache}" in failure()


def test_a_folder_that_is_a_file(server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("x")
    with pytest.raises(CheckpointError, match=r"reading or writing in .* failed: Not a directory"):
        list(fetch(prepare("gpt-oss-20b", tmp_path / "own")))


def chain(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


class ProxyError(Exception):
    """Of the HTTP client, which is told by its name."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (chain(Exception("connect failed"), ssl.SSLCertVerificationError("self-signed")), "SSL_CERT_FILE"),
        (ProxyError("407 Proxy Authentication Required"), "check HTTPS_PROXY and ALL_PROXY"),
        (PermissionError(13, "Permission denied", "/x/y"), "the folder /x can't be written"),
        (OSError(30, "Read-only file system", "/x/y"), "the folder /x can't be written"),
        (OSError(5, "Input/output error"), "reading or writing failed: Input/output error"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "reached (Connection reset by peer): check the network",
        ),
        (Exception("[Errno -2] Name or service not known"), "reached (Name or service not known): check the network"),
    ],
)
def test_errors_of_the_system(error: Exception, message: str) -> None:
    assert message in explain.explain(error, REPO, "main", "https://huggingface.co")


def test_certificates_and_proxies_are_not_tried_again() -> None:
    assert not explain.is_transient(chain(Exception(), ssl.SSLCertVerificationError("self-signed")))
    assert not explain.is_transient(ProxyError())
    assert explain.is_transient(Exception("server disconnected"))
