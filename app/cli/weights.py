"""The commands about weights, `download` and `models`: their arguments. What they do is imported when they run."""

import argparse

COMMANDS = ("download", "models")


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add both to the command line."""
    download = commands.add_parser(
        "download",
        help="fetch a model's weights",
        description="Fetch a model's weights into the Hub's cache and verify them. Interrupted anywhere, the same "
        "command goes on where it was. A model that is there, complete and verified costs no request.",
        epilog="HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY and SSL_CERT_FILE are respected.",
    )
    download.add_argument(
        "name",
        nargs="?",
        default="gpt-oss-20b",
        metavar="NAME",
        help="gpt-oss-20b (13.8 GB, the default), gpt-oss-120b (65.2 GB) or org/name, each with @revision if need be",
    )
    download.add_argument("--dest", metavar="DIR", help="a plain folder to put it in instead of the Hub's cache")
    download.add_argument("--update", action="store_true", help="ask the Hub for newer files even if it is complete")
    download.add_argument("--verify", action="store_true", help="read files that were verified before once more")

    models = commands.add_parser(
        "models",
        help="list the models on this computer, or remove one",
        description="List the gpt-oss models in the Hub's cache and in LM Studio's folders.",
    )
    models.add_argument("--json", action="store_true", help="as one JSON list")
    actions = models.add_subparsers(dest="action", metavar="ACTION")
    removal = actions.add_parser(
        "remove",
        help="delete a model from the Hub's cache",
        description="Delete a model from the Hub's cache, with @revision only that one, and say how much that freed.",
    )
    removal.add_argument("name", metavar="NAME", help="as `gptoss-chat models` lists it")
    removal.add_argument("--yes", action="store_true", help="without asking")


def run(given: argparse.Namespace) -> int:
    """Do what the command line says; returns the exit code. Raises GptossError and KeyboardInterrupt."""
    if given.command == "download":
        from app.cli.download import download

        return download(given.name, given.dest, update=given.update, verify=given.verify)
    from app.cli import models

    return models.delete(given.name, yes=given.yes) if given.action == "remove" else models.show(as_json=given.json)
