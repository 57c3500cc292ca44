"""A conversation with the model: messages in, events out, with the prompt cache kept between turns."""

import datetime
from collections.abc import Callable, Iterator, Sequence

from mlx_model.errors import RequestError, TokenizerError
from mlx_model.events import Event, Finished, MessageStart, PrefillProgress
from mlx_model.generation.runner import Runner, never
from mlx_model.generation.stop import StopStrings
from mlx_model.harmony.history import drop_old_analysis
from mlx_model.harmony.message import Message, Role
from mlx_model.harmony.parse import StreamParser
from mlx_model.harmony.prompt import developer_message, system_message
from mlx_model.harmony.render import Renderer
from mlx_model.model import Model
from mlx_model.request import Request


class Session:
    """Answers requests with one model. What a prompt shares with the last one is not computed again.

    `today` is the date the system message states, by default that of the conversation's first day: midnight must not
    cost a chat its cache. Raises TokenizerError for a model without tokenizer.
    """

    def __init__(self, model: Model, *, today: datetime.date | None = None) -> None:
        if model.tokenizer is None:
            raise TokenizerError(f"{model.folder} has no tokenizer.json; without it the model works on token ids only")
        self.model = model
        self.tokens: list[int] = []
        """The ids sampled for the last answer."""
        self._tokenizer = model.tokenizer
        self._start = model.tokenizer.special["<|start|>"]
        self._call = model.tokenizer.special.get("<|call|>")
        self._renderer = Renderer(model.tokenizer)
        self._runner = Runner(model)
        self._given_today = today
        self._today = today or datetime.date.today()
        self._sampled: dict[Message, Sequence[int]] = {}

    def prompt(self, request: Request) -> list[int]:
        """The ids that the model is given for a request.

        Analysis of turns that have been answered is left out, as in training. A last message of the model's own was cut
        off: the prompt ends where it does, and the model goes on inside it. Raises RequestError if there is nothing to
        answer, or for tools and schemas that can't be used.
        """
        messages = request.messages
        if not messages or (messages[-1].role is Role.USER and not messages[-1].text.strip()):
            raise RequestError("the prompt is empty")
        if len(messages) == 1:
            self._today = self._given_today or datetime.date.today()
        begun = _begun(messages)
        # The thoughts that led to a final message are no old ones until that is complete.
        kept = drop_old_analysis(messages[:-1] if begun else messages)
        return self._renderer.prompt([*self._head(request), *kept], self._sampled, begun)

    def _head(self, request: Request) -> list[Message]:
        """The messages a conversation opens with: system, and developer where there is anything to say in it."""
        functions = bool(request.functions)
        head = [system_message(request.options.effort, date=self._today, tools=request.tools, functions=functions)]
        formats = () if request.response_format is None else (request.response_format,)
        if request.instructions or functions or formats:
            head.append(developer_message(request.instructions or None, request.functions, formats=formats))
        return head

    def stream(self, request: Request, cancelled: Callable[[], bool] = never) -> Iterator[Event]:
        """Answers; the last event is always Finished. The caller appends the MessageEnd messages to its conversation.

        Where the last message is the model's own, cut off, the first events go on with it: text deltas without a
        MessageStart, which continue its text, and a MessageEnd with the whole of it, to take its place.

        `cancelled` is asked before each token and each prefill chunk. Raises RequestError and ContextError.
        """
        messages, options = request.messages, request.options
        prompt = self.prompt(request)
        # Where a message starts, a later prompt may go another way: an edit, an answer without its analysis.
        boundaries = [position for position, token in enumerate(prompt) if token == self._start]
        parser, stop = StreamParser(self._tokenizer), StopStrings(options.stop)
        if (begun := _begun(messages)) is not None:
            parser = StreamParser(self._tokenizer, role=None)
            for token in prompt[boundaries[-1] :]:
                parser.push(token)
            stop = StopStrings(options.stop, begun)
        self.tokens = []
        reason = None
        for item in self._runner.run(prompt, options, boundaries=boundaries, cancelled=cancelled):
            if isinstance(item, PrefillProgress):
                yield item
                continue
            self.tokens.append(item)
            for event in parser.push(item):
                if isinstance(event, MessageStart) and event.role != Role.ASSISTANT:
                    reason = "stop"  # the model begins to write somebody else's message: its own turn is over
                    break
                yield from stop.filter([event])
            if stop.found:
                reason = "stop_string"
            if reason is not None:
                break
        else:
            yield from stop.filter(parser.finish())
            reason = "stop_string" if stop.found else self._runner.finish_reason
            if reason == "stop" and self.tokens[-1] == self._call:
                reason = "tool_call"
        self._sampled |= parser.sampled
        yield Finished(reason, self._runner.stats)


def _begun(messages: Sequence[Message]) -> Message | None:
    """The message of the model's own that the conversation breaks off in."""
    return messages[-1] if messages and messages[-1].role is Role.ASSISTANT else None
