"""What to write into other programs so that they use this server."""

from textwrap import dedent, indent


def configurations(base: str, model: str, context: int, token_file: str | None) -> str:
    """Configurations of programs that are often used, for a server at the URL `base`; `token_file` has the token."""
    key = "none" if token_file is None else "TOKEN"
    env_key = "" if token_file is None else '\nenv_key = "GPTOSS_TOKEN"   # export GPTOSS_TOKEN=TOKEN'
    codex = f"""\
        # ~/.codex/config.toml
        model = "{model}"
        model_provider = "gptoss"
        model_context_window = {context}
        [model_providers.gptoss]
        name = "gptoss-chat"
        base_url = "{base}"
        wire_api = "responses\""""
    parts = {
        "Codex": dedent(codex) + env_key,
        "openai (Python)": f'client = OpenAI(base_url="{base}", api_key="{key}")   # model="{model}"',
        "llm": dedent(
            f"""\
            # extra-openai-models.yaml in the folder that `llm logs path` names
            - model_id: gptoss
              model_name: {model}
              api_base: {base}
              reasoning: true
              supports_tools: true
              supports_schema: true"""
        ),
        "Open WebUI": f"Settings > Connections > OpenAI API: URL {base}, key {key}",
        "LangChain": f'ChatOpenAI(base_url="{base}", api_key="{key}", model="{model}", use_responses_api=True)',
    }
    blocks = [f"{name}\n{indent(text, '  ')}" for name, text in parts.items()]
    note = [] if token_file is None else [f"TOKEN is what stands in {token_file}"]
    return "\n".join([*blocks, *note])
