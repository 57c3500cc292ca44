"""An empty Hub cache, and a local Hub that has gpt-oss-20b."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import HubServer, gpt_oss, serving

REPO = "openai/gpt-oss-20b"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty Hub cache, in place of the real one."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def server(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A local Hub in place of the real one; failed requests are sent again at once."""
    from huggingface_hub import close_session, constants

    from mlx_model.hub import transfer

    monkeypatch.setattr(transfer, "WAITS", (0.0,) * 5)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with serving({REPO: gpt_oss()}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)  # as app.cli.main sets it
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"  # made from ENDPOINT when imported
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
        close_session()
