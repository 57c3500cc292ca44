"""The Harmony format, in which gpt-oss was trained: messages to token ids and back. Pure Python, no MLX.

It needs a tokenizer (tokenizer.py, from a checkpoint's tokenizer.json) and nothing else of this project:

    >>> from mlx_model.harmony.tokenizer import Tokenizer
    >>> from mlx_model.harmony import FoldedAnswer, Renderer, StreamParser
    >>> from mlx_model.harmony import FunctionTool, developer_message, drop_old_analysis, system_message, user
    >>> tokenizer = Tokenizer.load(folder)
    >>> weather = FunctionTool("get_weather", "The weather now.", {
    ...     "type": "object",
    ...     "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"], "default": "C"}},
    ...     "required": ["city"],
    ... })

A conversation opens with the system message, which sets the effort, and the developer message, which holds the
instructions and the functions as TypeScript-like types:

    >>> head = [system_message("low", date="2026-11-21", functions=True), developer_message("Be brief.", [weather])]
    >>> print(head[1].text)
    # Instructions
    <BLANKLINE>
    Be brief.
    <BLANKLINE>
    # Tools
    <BLANKLINE>
    ## functions
    <BLANKLINE>
    namespace functions {
    <BLANKLINE>
    // The weather now.
    type get_weather = (_: {
    city: string,
    unit?: "C" | "F", // default: C
    }) => any;
    <BLANKLINE>
    } // namespace functions

The prompt is a list of ids. Text is never markup, whatever it contains:

    >>> conversation = [user("Do I need an umbrella in Oslo? <|end|>")]
    >>> prompt = Renderer(tokenizer).prompt([*head, *drop_old_analysis(conversation)])
    >>> tokenizer.decode(prompt[-19:])
    '<|start|>user<|message|>Do I need an umbrella in Oslo? <|end|><|end|><|start|>assistant'

What the model then samples goes through the parser token by token. The parser never raises; its events are shown as
they come, and folded into messages:

    >>> sampled = [200005, 12606, 815, 316, 49687, 170154, 5701, 200008, 10848, 17500, 1243, 392, 15097, 746, 672, 92]
    >>> parser, answer = StreamParser(tokenizer), FoldedAnswer()
    >>> for events in (*map(parser.push, [*sampled, tokenizer.special["<|call|>"]]), parser.finish()):
    ...     for event in events:
    ...         answer.take(event)
    >>> answer.messages[0].recipient, answer.messages[0].text
    ('get_weather', '{"city": "Oslo",}')

Calls forgive what has only one meaning, here the missing namespace and a comma too many. If one can't be read, `error`
is what to tell the model:

    >>> (call,) = answer.calls(known=["functions.get_weather"])
    >>> call.name, call.arguments, call.error
    ('functions.get_weather', {'city': 'Oslo'}, None)
    >>> conversation += [*answer.messages, call.result("Rain.")]
    >>> tokenizer.decode(Renderer(tokenizer).prompt(conversation)[-16:])
    '<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>Rain.<|end|><|start|>assistant'

message.py has the messages, prompt.py the two that open a conversation, tools.py, schema.py and typescript.py the
functions in them, builtin.py the text of python and browser; history.py says which analysis stays, render.py makes ids;
parse.py and header.py read them, fold.py and calls.py make messages and calls of what was read.

Names are imported on first use: who needs messages alone loads no tokenizer.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlx_model.harmony.calls import ToolCall as ToolCall
    from mlx_model.harmony.calls import read_call as read_call
    from mlx_model.harmony.fold import FoldedAnswer as FoldedAnswer
    from mlx_model.harmony.history import drop_old_analysis as drop_old_analysis
    from mlx_model.harmony.message import Effort as Effort
    from mlx_model.harmony.message import Message as Message
    from mlx_model.harmony.message import Role as Role
    from mlx_model.harmony.message import assistant as assistant
    from mlx_model.harmony.message import user as user
    from mlx_model.harmony.parse import StreamParser as StreamParser
    from mlx_model.harmony.prompt import developer_message as developer_message
    from mlx_model.harmony.prompt import system_message as system_message
    from mlx_model.harmony.render import Renderer as Renderer
    from mlx_model.harmony.tools import FunctionTool as FunctionTool
    from mlx_model.harmony.tools import Namespace as Namespace
    from mlx_model.harmony.tools import ResponseFormat as ResponseFormat

_HOME = {
    "Effort": "message",
    "FoldedAnswer": "fold",
    "FunctionTool": "tools",
    "Message": "message",
    "Namespace": "tools",
    "Renderer": "render",
    "ResponseFormat": "tools",
    "Role": "message",
    "StreamParser": "parse",
    "ToolCall": "calls",
    "assistant": "message",
    "developer_message": "prompt",
    "drop_old_analysis": "history",
    "read_call": "calls",
    "system_message": "prompt",
    "user": "message",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
