"""Runs the compatibility test of OpenAI's repository gpt-oss against the server: 30 cases over both APIs, not streamed.

    python -m tests.clients.compatibility GPT_OSS/compatibility-test

The folder is that of a checkout; what its programs need comes by npm. The model is a script that makes the calls that
are expected, so the server alone is tested. Its streaming mode can't pass with any server.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from mlx_model.events import Event
from mlx_model.harmony.message import Role
from mlx_model.request import Request
from tests.clients.scripts import results
from tests.fixtures.running_server import running
from tests.fixtures.scripted_engine import calls, says

PROVIDERS = """\
export const PROVIDERS = { gptoss: {
  apiBaseUrl: %s, apiKey: "none", apiType: ["responses", "chat"], modelName: "gpt-oss-20b", providerDetails: {},
} };
"""
AT_ONCE = 5
"""Requests that it makes at a time."""


def main() -> int:
    """Returns 0 if all cases pass."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients.compatibility")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cases = [json.loads(line) for line in (folder / "cases.jsonl").read_text().splitlines() if line.strip()]
    expected = {case["input"]: case for case in cases}

    def script(request: Request) -> list[Event]:
        if results(request):
            return says("It is done.", analysis="The tool has answered.")
        asked = next(message.text for message in request.messages if message.role is Role.USER)
        case = expected[asked]
        recipient = f"functions.{case['tool_name']}"
        return calls(recipient, case["expected_arguments"], analysis="I call the tool.")

    with tempfile.TemporaryDirectory() as scratch, running(pulse_s=10, parallel=AT_ONCE) as server:
        copy = Path(shutil.copytree(folder, Path(scratch) / "test"))
        (copy / "providers.ts").write_text(PROVIDERS % json.dumps(server.url))
        server.engine.script = script
        quiet = ["--no-audit", "--no-fund", "--loglevel", "error"]
        if not (copy / "node_modules").is_dir():
            subprocess.run(["npm", "install", *quiet, "@openai/agents", "openai", "tsx"], cwd=copy, check=True)
        subprocess.run(["npx", "tsx", "index.ts", "--provider", "gptoss", "--strict"], cwd=copy, check=True)
        (rollout,) = copy.glob("rollout_*.jsonl")
        records = [json.loads(line) for line in rollout.read_text().splitlines()]
    passed = Counter(record["result"]["apiType"] for record in records if record.get("success"))
    for record in records:
        if not record.get("success"):
            print(json.dumps(record)[:500])
    print(", ".join(f"{api}: {passed[api]} of {len(cases)}" for api in ("responses", "chat")))
    return 0 if set(passed.values()) == {len(cases)} and len(passed) == 2 else 1


if __name__ == "__main__":
    sys.exit(main())
