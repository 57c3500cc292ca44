"""What to write into other programs so that they use this server."""

from pathlib import Path
from textwrap import dedent, indent
from urllib.parse import urlsplit

_DOCKER = "host.docker.internal"


def configurations(base: str, model: str, context: int, token_file: Path | None) -> str:
    """Configurations of programs that are often used, for a server at the URL `base`; `token_file` has the token."""
    key = "none" if token_file is None else "TOKEN"
    codex = f"""\
        # ~/.codex/config.toml
        model = "{model}"
        model_provider = "gptoss"
        model_context_window = {context}
        [model_providers.gptoss]
        name = "gptoss-chat"
        base_url = "{base}"
        wire_api = "responses\""""
    llm = f"""\
        # extra-openai-models.yaml, beside the file that `llm logs path` names
        - model_id: gptoss
          model_name: {model}
          api_base: {base}
          reasoning: true
          supports_tools: true
          supports_schema: true"""
    docker = base.replace(urlsplit(base).hostname or "", _DOCKER)
    parts = {
        "Codex": _with_key(codex, token_file, 'env_key = "GPTOSS_TOKEN"   # export GPTOSS_TOKEN=TOKEN'),
        "openai (Python)": f'client = OpenAI(base_url="{base}", api_key="{key}")   # model="{model}"',
        "llm": _with_key(llm, token_file, "  api_key_name: gptoss   # llm keys set gptoss --value TOKEN"),
        "Open WebUI": f"Admin Settings > Connections > OpenAI API: {base}, key {key}\n"
        f"in Docker: {docker}, and start the server with --allow-host {_DOCKER}",
        "LangChain": f'ChatOpenAI(base_url="{base}", api_key="{key}", model="{model}", use_responses_api=True)',
    }
    note = [] if token_file is None else [f"TOKEN is what stands in {token_file}"]
    return "\n\n".join(["", *(f"{name}\n{indent(text, '  ')}" for name, text in parts.items()), *note])


def at_socket(path: Path) -> str:
    """The same for a server at a Unix socket, which few programs reach by themselves."""
    return "\n".join([
        f"  curl --unix-socket {path} http://localhost/v1/models",
        f"  ssh -L 8080:{path} THIS_COMPUTER   # on another one, whose programs then use http://127.0.0.1:8080/v1",
    ])  # fmt: skip


def _with_key(text: str, token_file: Path | None, line: str) -> str:
    return dedent(text) + (f"\n{line}" if token_file is not None else "")
