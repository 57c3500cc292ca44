"""What the server computes for a second turn, how clients at once fare, what HTTP costs a token (`make bench-server`).

    python -m tests.benchmarks.server [--clients 1 4 16] [--rounds 3] [--model demo]

Prints Markdown tables: this server beside llama.cpp's (where `make` could build it: build/llama.cpp, or the folder
named by LLAMA_CPP) and mlx-lm's (where it is installed: the extra [peers]), each a process of its own with the demo
model; with another model, this server alone. Crowds of clients ask all servers in turn, this one also where it answers
one request at a time, round by round; medians are given, since other programs take their share of the machine. Both
others take a template of Harmony: llama.cpp its own for gpt-oss, mlx-lm a short one. The clients send what programs
send: in a chat the answers without their thoughts; of an agent instructions, a function, its call and the result. Codex
speaks the Responses API alone, which mlx-lm's server lacks, so there it gets the same conversation by Chat Completions.
The demo model calls no function by itself, so clients make up the calls: what a prompt has beyond the one before is new
to all servers (tests/app/server/test_prefixes.py has loops whose calls the model has made). Tokens are what each server
says it has prefilled: those of the prompt without those from its cache.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from app.server.guard import Policy
from mlx_model.events import Event, Finished, MessageEnd, MessageStart, TextDelta
from mlx_model.harmony.message import assistant
from tests.benchmarks.peers.settings import LLAMA, subject
from tests.fixtures import ROOT
from tests.fixtures.running_server import RunningServer
from tests.fixtures.scripted_engine import STATS, ScriptedEngine

Json = dict[str, Any]

TOKENS = 24
"""Of an answer, at most."""
FUNCTION: Json = {
    "name": "get_weather",
    "description": "The weather of a city",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ARGUMENTS = '{"city": "Oslo"}'
RESULT = "Rain in the morning, then clouds."
TEMPLATE = Path(__file__).with_name("harmony_template.jinja")
DEMO = "demo"
ONE = "one at a time"
"""This server too, as it is without rows that are computed together."""


@dataclass
class Answer:
    """What a client has got."""

    prompt: int
    cached: int
    ttft_s: float
    tokens: int = 0
    message: Json = field(default_factory=dict)

    @property
    def prefilled(self) -> int:
        """Tokens that were computed before the first one of the answer."""
        return self.prompt - self.cached


class Client:
    """Asks a server by both APIs, streaming, as programs do."""

    def __init__(self, base: str) -> None:
        # A connection for each request: llama.cpp's server closes one after a slow answer without having said so.
        self._http = httpx2.Client(base_url=base, timeout=300, limits=httpx2.Limits(max_keepalive_connections=0))

    def chat(self, messages: Sequence[Json], **fields: Any) -> Answer:
        """A chat completion."""
        body = {"model": "default_model", "messages": messages, "max_tokens": TOKENS, "temperature": 0.0, **fields}
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        answer, content = Answer(0, 0, 0), ""
        for event in self._events("/chat/completions", body, answer):
            if usage := event.get("usage"):
                answer.prompt, answer.tokens = usage["prompt_tokens"], usage["completion_tokens"]
                answer.cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            for choice in event["choices"]:
                content += choice["delta"].get("content") or ""
        # mlx-lm's server leaves Harmony's markup in the text.
        said = re.split(r"<\|message\|>", content)[-1].removesuffix("<|return|>")
        answer.message = {"role": "assistant", "content": said}
        return answer

    def respond(self, items: Sequence[Json], **fields: Any) -> Answer:
        """A response; nothing is stored, as Codex has it."""
        body = {"model": "demo", "input": items, "store": False, "stream": True, "temperature": 0.0, **fields}
        answer = Answer(0, 0, 0)
        for event in self._events("/responses", {"max_output_tokens": TOKENS, **body}, answer):
            if event["type"] in ("response.completed", "response.incomplete"):
                usage = event["response"]["usage"]
                answer.prompt, answer.cached = usage["input_tokens"], usage["input_tokens_details"]["cached_tokens"]
        return answer

    def _events(self, path: str, body: Json, answer: Answer) -> Iterator[Json]:
        """The events of a stream. The first that has text or a call ends the time to the first token."""
        started = time.perf_counter()
        while True:
            with self._http.stream("POST", path, json=body) as response:
                if response.status_code == 429:
                    time.sleep(float(response.headers["retry-after"]))
                    continue
                response.raise_for_status()
                for line in response.iter_lines():
                    if not line.startswith("data: {"):
                        continue
                    event = json.loads(line.removeprefix("data: "))
                    if not answer.ttft_s and _has_token(event):
                        answer.ttft_s = time.perf_counter() - started
                    yield event
                return


def _has_token(event: Json) -> bool:
    if "choices" in event:
        keys = ("content", "reasoning", "reasoning_content", "tool_calls")
        return any(choice["delta"].get(key) for choice in event["choices"] for key in keys)
    return str(event["type"]).endswith(".delta")


def texts(count: int, words: int = 160, first: int = 0) -> list[str]:
    """Instructions that are as long as an agent's are: for each client others from the first word on."""
    line = "Answer in one line, count letters one by one, and say so when a question is not about letters or sums. "
    return [f"You are helper {number}. " + line * (words // 20) for number in range(first, first + count)]


def chat_like(client: Client, has_responses: bool) -> list[Answer]:
    """Three questions; the answers come back without their thoughts."""
    messages: list[Json] = [{"role": "system", "content": texts(1)[0]}]
    answers = []
    for question in ("What is 3 plus 4?", "How many r's are in strawberry?", "Spell umbrella."):
        messages.append({"role": "user", "content": question})
        answers.append(client.chat(messages))
        messages.append(answers[-1].message)
    return answers


def agents_like(client: Client, has_responses: bool) -> list[Answer]:
    """A question, two calls with their results. The Agents SDK drops the thoughts that led to the calls."""
    return _calls_by_chat(client, texts(2)[1])


def _calls_by_chat(client: Client, instructions: str) -> list[Answer]:
    tools = [{"type": "function", "function": FUNCTION}]
    messages: list[Json] = [
        {"role": "system", "content": instructions},
        {"role": "user", "content": "Weather in Oslo?"},
    ]
    answers = [client.chat(messages, tools=tools)]
    for id in ("call_1", "call_2"):
        call = {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": id, "content": RESULT})
        answers.append(client.chat(messages, tools=tools))
    return answers


def codex_like(client: Client, has_responses: bool) -> list[Answer]:
    """As agents_like, by Responses, with a thought before each call, as Codex returns them."""
    if not has_responses:
        return _calls_by_chat(client, texts(3)[2])
    tools = [{"type": "function", **FUNCTION}]
    items: list[Json] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": texts(3)[2]}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather in Oslo?"}]},
    ]
    answers = [client.respond(items, tools=tools)]
    for id in ("call_1", "call_2"):
        thought = [{"type": "reasoning_text", "text": "I have to look."}]
        items.append({"type": "reasoning", "summary": [], "content": thought})
        items.append({"type": "function_call", "call_id": id, "name": "get_weather", "arguments": ARGUMENTS})
        items.append({"type": "function_call_output", "call_id": id, "output": RESULT})
        answers.append(client.respond(items, tools=tools))
    return answers


LOOPS: dict[str, Callable[[Client, bool], list[Answer]]] = {
    "chat-like": chat_like,
    "Agents-like": agents_like,
    "Codex-like": codex_like,
}


def _report(what: str) -> None:
    print(f"{time.perf_counter():.0f} s: {what}", file=sys.stderr)


@dataclass
class Crowd:
    """How clients fared that asked at once."""

    tok_s: float
    """Tokens of all answers a second, from the first request to the last answer's end."""
    median_s: float
    """To the first token; `last_s` is that of the client that waited longest."""
    last_s: float
    prefilled: int
    """Tokens of all prompts that were computed."""


def crowd(base: str, count: int, first: int) -> Crowd:
    """Clients that ask at once, each its second turn. `first` makes their conversations new ones."""
    clients = [(Client(base), [{"role": "system", "content": text}]) for text in texts(count, first=first)]

    def ask(client: Client, messages: list[Json], question: str) -> Answer:
        messages.append({"role": "user", "content": question})
        answer = client.chat(messages)
        messages.append(answer.message)
        return answer

    for client, messages in clients:
        ask(client, messages, f"What is {first % 90} plus 4?")
    with ThreadPoolExecutor(count) as pool:
        started = time.perf_counter()
        asked = [pool.submit(ask, client, messages, "Spell umbrella backwards.") for client, messages in clients]
        answers = [each.result() for each in asked]
        seconds = time.perf_counter() - started
    waits = [answer.ttft_s for answer in answers]
    tokens, prefilled = (sum(getattr(each, name) for each in answers) for name in ("tokens", "prefilled"))
    return Crowd(tokens / seconds, statistics.median(waits), max(waits), prefilled)


def crowds(bases: dict[str, str], counts: Sequence[int], rounds: int) -> Iterator[str]:
    """The rows of a table: servers take turns in each round."""
    first = 0
    for count in counts:
        found: dict[str, list[Crowd]] = {name: [] for name in bases}
        for _ in range(rounds):
            for name, base in bases.items():
                _report(f"{name}, {count} clients")
                found[name].append(crowd(base, count, first))
            first += count
        for name, each in found.items():
            figures = (statistics.median(getattr(one, field) for one in each) for field in Crowd.__annotations__)
            tok_s, median_s, last_s, prefilled = figures
            yield f"| {count} | {name} | {tok_s:.0f} | {median_s:.2f} | {last_s:.2f} | {prefilled:.0f} |"


@contextmanager
def process(command: Sequence[str], port: int) -> Iterator[str]:
    """The base URL of a server that runs as a process."""
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as log:
        environment = {**os.environ, "GPTOSS_CHAT_HOME": home}
        running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        base = f"http://127.0.0.1:{port}/v1"
        try:
            for _ in range(600):
                if running.poll() is not None:
                    log.seek(0)
                    sys.exit(log.read().decode())
                try:
                    if httpx2.get(base.replace("/v1", "/health")).status_code == 200:
                        break
                except httpx2.TransportError:
                    pass
                time.sleep(0.1)
            yield base
        finally:
            running.send_signal(signal.SIGINT)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def servers(model: str) -> Iterator[tuple[str, list[str], int, bool]]:
    """Name, command, port, and whether it has the Responses API, of each that can be had."""
    own = [sys.executable, "-m", "app", "serve", "--model", model]
    for name, options in (("gptoss-chat", []), (ONE, ["--parallel", "1"])):
        port = free_port()
        yield name, [*own, *options, "--port", str(port)], port, True
    if model != DEMO:
        return
    program = LLAMA / "built" / "bin" / "llama-server"
    if program.is_file():
        port = free_port()
        (template,) = LLAMA.glob("*/vendor/llama.cpp/models/templates/openai-gpt-oss-120b.jinja")
        command = [str(program), "--model", str(subject(DEMO, with_gguf=True).gguf), "--port", str(port), "--jinja"]
        yield "llama.cpp", [*command, "--chat-template-file", str(template)], port, True
    if find_spec("mlx_lm") is not None:
        port = free_port()
        command = [sys.executable, "-m", "mlx_lm", "server", "--model", str(ROOT / "assets" / "demo")]
        command += ["--port", str(port), "--chat-template", TEMPLATE.read_text()]
        yield f"mlx-lm {version('mlx-lm')}", command, port, False


class Timed(RunningServer):
    """A server in a thread, which notes what CPU time that thread has taken."""

    cpu_s = 0.0

    def run(self) -> None:
        """The thread."""
        super().run()
        self.cpu_s = time.thread_time()


def http_cost(path: str, body: Json, tokens: int) -> float:
    """CPU seconds of the server's thread for an answer whose tokens come one by one, without the engine's."""

    def script(_: object) -> Iterator[Event]:
        yield MessageStart("final")
        for _ in range(tokens):
            yield TextDelta("final", " word")
        yield MessageEnd(assistant(" word" * tokens))
        yield Finished("stop", STATS)

    server = Timed(ScriptedEngine(script), pulse_s=10, most_waiting=1, is_strict=False, policy=Policy(), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    server.is_up.wait()
    with httpx2.stream("POST", server.url + path, json={**body, "stream": True}, timeout=60) as response:
        assert sum(b" word" in line.encode() for line in response.iter_lines()) >= tokens
    server.stop()
    thread.join()
    return server.cpu_s


def main() -> int:
    """The command; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.server")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--rounds", type=int, default=3, help="of each crowd of clients (default: 3)")
    parser.add_argument("--model", default=DEMO, help="as for serve (default: demo)")
    parser.add_argument("--tokens", type=int, default=4000, help="of the answer whose HTTP is timed (default: 4000)")
    arguments = parser.parse_args()
    loops: list[str] = []
    bases: dict[str, str] = {}
    with ExitStack() as running:
        for name, command, port, has_responses in servers(arguments.model):
            base = bases[name] = running.enter_context(process(command, port))
            for loop, turns in LOOPS.items() if name != ONE else ():
                _report(f"{name}, {loop}")
                answers = turns(Client(base), has_responses)
                cells = [f"{each.prefilled} of {each.prompt}" for each in answers]
                loops.append(f"| {loop} | {name} | {' | '.join(cells)} |")
        rows = [*crowds(bases, arguments.clients, arguments.rounds)]
    print(
        "Tokens prefilled, of those of the prompt:\n\n| loop | server | request 1 | 2 | 3 |\n|---|---|---:|---:|---:|"
    )
    print("\n".join(sorted(loops)))
    print("\nA second turn of clients at once; medians of rounds in which the servers took turns:\n")
    print("| clients | server | tok/s in all | first token, s | of the last client | tokens prefilled |")
    print("|---:|---|---:|---:|---:|---:|")
    print("\n".join(rows), end="\n\n")
    for path, body in (
        ("/responses", {"input": "Hi"}),
        ("/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    ):
        cost = http_cost(path, body, arguments.tokens) - http_cost(path, body, 1)
        print(f"HTTP by {path}: {1e6 * cost / (arguments.tokens - 1):.0f} us of CPU a token")
    return 0


if __name__ == "__main__":
    sys.exit(main())
