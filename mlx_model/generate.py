"""The command `python -m mlx_model.generate`: one answer, or the continuation of some ids, with its statistics.

`mlx_model.generate`, the attribute, is the function of mlx_model.generation.answer, not this module.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from mlx_model.errors import GptossError, RequestError
from mlx_model.generation.answer import generate, stats_json
from mlx_model.generation.result import Result
from mlx_model.generation.runner import Runner
from mlx_model.model import Model, load
from mlx_model.options import Options
from mlx_model.text import clean


def _run_ids(model: Model, prompt: list[int], options: Options) -> Result:
    """Feeds ids without Harmony."""
    runner = Runner(model)
    tokens = [item for item in runner.run(prompt, options) if isinstance(item, int)]
    text = model.tokenizer.decode(tokens) if model.tokenizer else ""
    return Result(text, "", (), tuple(tokens), runner.finish_reason, runner.stats)


def _ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise RequestError(f'--raw-tokens takes ids separated by commas, like "1,2,3", not {text!r}') from None


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m mlx_model.generate`; returns the exit code, 1 for a failure that it explains on standard error."""
    parser = argparse.ArgumentParser(prog="python -m mlx_model.generate", description="One answer of a model.")
    parser.add_argument("--model", required=True, help="demo, gpt-oss-20b, gpt-oss-120b, org/repo or a folder")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--prompt", help="the question")
    source.add_argument("--raw-tokens", metavar="IDS", help='ids to continue, without Harmony: "1,2,3"')
    parser.add_argument("--effort", choices=["low", "medium", "high"], default="medium")
    parser.add_argument("--max-tokens", type=int, metavar="N")
    parser.add_argument("--max-thinking", type=int, metavar="N", help="end the analysis after N tokens and answer")
    parser.add_argument("--temperature", type=float, default=1.0, metavar="T", help="0 is greedy (default: 1.0)")
    parser.add_argument("--seed", type=int, metavar="S")
    parser.add_argument("--dense-bits", type=int, choices=[16, 8, 6, 4], help="of attention and output matrix")
    parser.add_argument("--experts", type=int, metavar="N", help="of each layer in memory, the others on the disk")
    parser.add_argument("--memory", metavar="SIZE", help='the most to hold, as in "10GB" (default: what is free)')
    parser.add_argument("--map", choices=["auto", "on", "off"], default="auto", help="map the files, or copy them")
    parser.add_argument("--json", action="store_true", help="print one object with text, analysis, tokens and stats")
    args = parser.parse_args(arguments)
    try:
        options = Options(
            effort=args.effort,
            max_tokens=args.max_tokens,
            temperature=args.temperature,
            seed=args.seed,
            max_thinking=args.max_thinking,
        )
        model = load(args.model, dense_bits=args.dense_bits, experts=args.experts, map=args.map, memory=args.memory)
        if args.raw_tokens is not None:
            result = _run_ids(model, _ids(args.raw_tokens), options)
        else:
            result = generate(model, args.prompt, **options.to_json())
    except GptossError as error:
        print(f"error: {clean(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if args.json:
        fields = asdict(result) | {"stats": stats_json(model, result.stats)}
        for name in ("messages", "calls", "warnings", "read", "samples", "outcome"):
            del fields[name]
        print(json.dumps(fields))
    else:
        print(clean(result.text))
    if result.finish_reason == "no_answer":
        print("error: the model ended its turn without an answer", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
