"""Asks the model for the title of a conversation, and makes one line of what it says."""

import re
from contextlib import aclosing
from dataclasses import replace

from app.chat.conversation import Conversation, auto_title, shortened
from app.engine.engine import Engine
from app.lines import one_line
from mlx_model.events import Finished, MessageEnd
from mlx_model.harmony.message import user
from mlx_model.options import Options
from mlx_model.request import Request

PROMPT = "Name this conversation in two to six words, in its language. Write the name alone, without quotation marks."
MAX_TOKENS = 24
"""Some twelve of the title, and the markup around it; what takes more is no title."""

_AROUND = " \t\"'`*_#\u201c\u201d\u2018\u2019\u201e\u00ab\u00bb"


def wants_title(conversation: Conversation) -> bool:
    """Whether the first turn has just been answered, and the title still is the first words of its prompt."""
    path = conversation.path
    if len(conversation.nodes) != 2 or len(path) != 2:
        return False
    prompt, answer = path
    answered = answer.facts is not None and answer.facts.reason == "stop"
    return answered and conversation.title == one_line(auto_title(prompt.text()))


def title_request(conversation: Conversation, options: Options, instructions: str | None) -> Request:
    """One more turn of the conversation itself: all that comes before it is in the KV cache, and stays there.

    For that the system message has to be the same, and so the effort (the thought is left out instead) and the tools,
    which the caller declares.
    """
    facts = conversation.path[-1].facts
    effort = facts.effort if facts is not None and facts.effort is not None else options.effort
    brief = replace(options, effort=effort, temperature=0.0, max_tokens=MAX_TOKENS, max_thinking=0, stop=())
    return Request([*conversation.for_engine(), user(PROMPT)], brief, instructions)


async def ask_title(engine: Engine, request: Request) -> str:
    """The title that the model gives; "" for none. Raises EngineError and EngineDied."""
    text = ""
    async with aclosing(engine.ask(request)) as answers:
        async for answer in answers:
            match answer.event:
                case MessageEnd(message) if message.channel == "final":
                    text = message.text
                case Finished(reason):
                    return clean_title(text) if reason == "stop" else ""
    return ""


def clean_title(text: str) -> str:
    """The first line of what a model has written, without what it puts around a title."""
    line = next((line for line in text.splitlines() if line.strip(_AROUND)), "")
    title = re.sub(r"^(title|name)\s*:\s*", "", one_line(line).strip(_AROUND), flags=re.IGNORECASE)
    return shortened(title.strip(_AROUND).rstrip(".").rstrip(_AROUND))
