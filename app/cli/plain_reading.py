"""Documents that are read by parts in the plain chat: the cost first, the person's yes, the notes as they come."""

from collections.abc import Callable
from pathlib import Path

from app.chat.by_parts import ReadingByParts, has_notes, unread
from app.chat.conversation import Conversation
from app.chat.reading_cost import speed_in
from app.chat.reading_texts import find_texts, keep_texts
from app.cli.approval import confirmed
from app.cli.by_parts import read_parts
from app.cli.printing import say
from app.engine.engine import Engine
from app.lines import one_line
from mlx_model.options import Options

NOTES_KEPT = "the notes so far are kept; /continue reads on"


async def read_documents(
    engine: Engine, conversation: Conversation, id: str, options: Options, model: str, save: Callable[[], None]
) -> bool:
    """Read what a prompt of the conversation has to be read by parts; whether it is to be answered now. The prompt has
    the notes as they come, and `save` has them on the disk.

    Raises RequestError, EngineError and EngineDied.
    """
    prompt = conversation.nodes[id]
    reading = ReadingByParts(engine, prompt.text(), options, conversation.tokens_to(prompt.parent)[0])
    find_texts(reading, Path.cwd())
    await reading.plan()

    def keep(text: str) -> None:
        conversation.update_prompt(id, text)
        save()

    for name in reading.fits:
        say(f"{one_line(name)} fits into the context: it is read as it is")
    if reading.prompt != prompt.text():
        keep(reading.prompt)
    if not reading.cost.parts:
        return not unread(reading.prompt)
    if not has_notes(prompt.text()):
        names = ", ".join(one_line(name.removesuffix("*")) for name in reading.names)
        time = (
            reading.cost.time(speed_in(conversation, model)) or "how long it takes is not known before the first part"
        )
        shown = f"{reading.cost}; {time}\nCtrl-C stops it at any time; notes that were made are kept."
        if not confirmed(f"read all of {names}?", shown, "gptoss-chat ask --read does without"):
            say("nothing was read, and nothing asked")
            return False
    keep_texts(reading, conversation.id)
    await read_parts(reading, keep)
    return not unread(reading.prompt)
