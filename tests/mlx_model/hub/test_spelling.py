"""Names as people type and paste them: understood where the meaning is sure, else said what they are."""

import shlex
from pathlib import Path

import pytest

from mlx_model.errors import CheckpointError
from mlx_model.hub import names as hub
from mlx_model.hub.download import prepare
from mlx_model.hub.names import Repository
from tests.fixtures.hub_server import HubServer

SMALL, LARGE = "openai/gpt-oss-20b", "openai/gpt-oss-120b"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("https://huggingface.co/openai/gpt-oss-20b", SMALL, "main"),
        ("https://huggingface.co/openai/gpt-oss-20b/", SMALL, "main"),
        ("HTTPS://HuggingFace.co/openai/gpt-oss-120b/tree/main", LARGE, "main"),
        ("http://www.huggingface.co/openai/gpt-oss-20b/tree/main/original?library=x#use", SMALL, "main"),
        ("https://huggingface.co/openai/gpt-oss-20b/blob/main/config.json", SMALL, "main"),
        (f"https://huggingface.co/openai/gpt-oss-20b/commit/{COMMIT}", SMALL, COMMIT),
        ("https://hf.co/org/name/tree/refs%2Fpr%2F3", "org/name", "refs/pr/3"),
        ("https://huggingface.co/openai/gpt-oss-20b/discussions/12", SMALL, "main"),
        ("huggingface.co/openai/gpt-oss-20b", SMALL, "main"),
        ("hf.co/mlx-community/gpt-oss-20b-MXFP4-Q8", "mlx-community/gpt-oss-20b-MXFP4-Q8", "main"),
        ("hf://openai/gpt-oss-20b", SMALL, "main"),
        ("hf://models/openai/gpt-oss-20b", SMALL, "main"),
        ("gpt-oss:20b", SMALL, "main"),
        ("gpt-oss:120b", LARGE, "main"),
        ("GPT-OSS-20B", SMALL, "main"),
        ("OpenAI/GPT-OSS-120b", LARGE, "main"),
        ("gpt_oss_20b", SMALL, "main"),
        ("gpt oss 20b", SMALL, "main"),
        ("gpt-oss-20b/", SMALL, "main"),
        ("openai/gpt-oss-20b//", SMALL, "main"),
        (" gpt-oss-20b\n", SMALL, "main"),
        ('"gpt-oss-20b"', SMALL, "main"),
        ("\u201cgpt-oss-20b\u201d", SMALL, "main"),
        ("'org/name@v2'", "org/name", "v2"),
        ("Gpt-Oss-20b@main", SMALL, "main"),
    ],
)
def test_what_is_understood(cache: Path, text: str, name: str, revision: str) -> None:
    repository = Repository(name, revision)
    assert Repository.parse(text) == Repository.parse(repository.short) == repository
    with pytest.raises(CheckpointError) as caught:
        hub.resolve(text)
    command = f"gptoss-chat download {repository.short}"
    assert f"get it with: {command}" in str(caught.value) and shlex.split(command)[-1] == repository.short


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpt-oss", "comes in two sizes: take gpt-oss-20b or gpt-oss-120b"),
        ("gpt-oss:latest", "comes in two sizes"),
        ("gpt-oss:20b-cloud", "a name of Ollama's"),
        ("llama3.2:1b", "a name of Ollama's"),
        ("hub/gpt-oss-20b-Q4.gguf/x.gguf", "is GGUF, llama.cpp's format"),
        ("gpt-oss-20b-Q4_K_M.gguf", "is GGUF"),
        ("https://ollama.com/library/gpt-oss:20b", "an address outside the Hub"),
        ("https://huggingface.co.evil.example/openai/gpt-oss-20b", "an address outside the Hub"),
        ("https://huggingface.co@evil.example/openai/gpt-oss-20b", "an address outside the Hub"),
        ("http://[::1", "an address outside the Hub"),
        ("https://huggingface.co/datasets/org/name", "is a dataset of the Hub, not a model"),
        ("https://huggingface.co/spaces/org/name", "is a space of the Hub, not a model"),
        ("https://huggingface.co/openai", "is a page of the Hub, not a model"),
        ("hf.co", "is a page of the Hub"),
    ],
)
def test_what_is_something_else(server: HubServer, text: str, says: str) -> None:
    assert Repository.parse(text) is None
    for use in (hub.resolve, prepare):
        with pytest.raises(CheckpointError) as caught:
            use(text)
        assert says in str(caught.value) and "gpt-oss-20b" in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize(
    "text", ["https://huggingface.co/../..", "hf.co/a@b/c", "https://hf.co/a%2f..%2fb/c", "hf.co/a/b/tree/.."]
)
def test_no_address_leads_out_of_the_cache(text: str) -> None:
    assert Repository.parse(text) is None


def test_the_page_of_a_mirror(server: HubServer) -> None:
    assert Repository.parse(f"{server.url}/openai/gpt-oss-20b/tree/main") == Repository(SMALL)


@pytest.mark.parametrize("name", ["unsloth/gpt-oss-20b-GGUF", "org/gguf_gpt-oss@v2", "hf.co/org/gpt-oss.gguf"])
def test_a_repository_that_its_name_gives_away_is_not_recommended(cache: Path, name: str) -> None:
    """Its download would only be refused; where such a name is on this computer all the same, it is used."""
    with pytest.raises(CheckpointError, match=r"is GGUF, .*: take gpt-oss-20b or gpt-oss-120b, or --model demo$"):
        hub.resolve(name)
    with pytest.raises(CheckpointError, match="get it with: gptoss-chat download org/gguffaw"):
        hub.resolve("org/gguffaw")
