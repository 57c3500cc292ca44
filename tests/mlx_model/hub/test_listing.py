"""A Hub that lies about a model, breaks off, or never ends: one line each, and not a byte of a file is fetched."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import client, listing
from mlx_model.hub.download import prepare
from tests.fixtures.hub import REPO
from tests.fixtures.hub_server import Fault, HubServer, gpt_oss

DEEP = 100_000
FILES: dict[str, list[object]] = {
    "size": ["123", 1.5, 1e300, -1, True, None, [1], {}, 10**17],
    "blobId": ["", "../x", "0" * 39, 3, None, "0" * 39 + "\n", ["0"] * 40],
    "lfs": ["x", [3], {"sha256": 3}, {"oid": "0" * 64}, {"sha256": "../../x"}],
    "rfilename": [3, None, ["config.json"], {"a": 1}],
}
WHOLE: dict[str, list[object]] = {
    "sha": ["main", "../..", 3, None, "1" * 41, "1" * 39 + "\n"],
    "siblings": [3, None, "config.json", [3], {"a": 3}],
    "config": [3, "gpt_oss", [3]],
}


def answer(change: Callable[[dict[str, Any]], object]) -> bytes:
    """What the Hub says of gpt-oss-20b, changed."""
    files = [{"rfilename": name, "size": len(data), "blobId": "0" * 40} for name, data in gpt_oss(100).items()]
    info = {"id": REPO, "sha": "1" * 40, "siblings": files, "config": {"model_type": "gpt_oss"}}
    change(info)
    return json.dumps(info).encode()


def every(field: str, value: object) -> Callable[[dict[str, Any]], object]:
    """The field of every file has this value."""
    return lambda info: [entry.update({field: value}) for entry in info["siblings"]]


def this(field: str, value: object) -> Callable[[dict[str, Any]], object]:
    """The field of the whole answer has this value."""
    return lambda info: info.update({field: value})


@pytest.mark.parametrize(
    "body",
    [
        *(answer(every(field, value)) for field, values in FILES.items() for value in values),
        *(answer(this(field, value)) for field, values in WHOLE.items() for value in values),
        answer(this("cardData", 3)),
        answer(every("size", 10**4)).replace(b"10000", b"1" * 5000),
        b"[" * DEEP,
        b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        b'{"sha":' * 100 + b"1" + b"}" * 100,
        b"\xff\xfe",
        b"",
        b"null",
        b"1e999",
    ],
    ids=lambda body: repr(body[-40:]),
)
def test_answers_that_make_no_sense(server: HubServer, body: bytes) -> None:
    server.faults["api"].append(Fault(status=200, body=body))
    with pytest.raises(CheckpointError) as caught:
        prepare("gpt-oss-20b")
    text = str(caught.value)
    assert "doesn't answer as the Hub does" in text or "has no weights as safetensors" in text, text
    assert text.isprintable() and len(text) < 400
    assert server.requested == []


def test_texts_of_a_publisher_are_shown_safely(server: HubServer) -> None:
    license = {"license": "\x1b[2Jmine" + "x" * 1000}
    server.faults["api"].append(Fault(status=200, body=answer(this("cardData", license))))
    plan = prepare("gpt-oss-20b")
    assert plan.license is not None and plan.license.isprintable() and len(plan.license) == 80


def test_a_long_answer_is_not_read_to_its_end(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST", 1000)
    with pytest.raises(CheckpointError, match="doesn't answer as the Hub does"):
        prepare("gpt-oss-20b")


def test_an_answer_that_trickles(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LONGEST_ANSWER", -1.0)
    with pytest.raises(CheckpointError, match="can't be reached"):
        prepare("gpt-oss-20b")
