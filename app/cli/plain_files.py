"""`@name` in a message of the plain chat: the file, or the part of one, goes into the prompt, as on the screen."""

from functools import partial
from pathlib import Path

from app.cli.files import say_notes, unlocked
from app.cli.printing import say
from app.documents.attachments import Attachment, AttachmentError, join
from app.documents.files import attach, meant
from app.documents.mentions import looks_like_path, names_in


class PlainFiles:
    """Reads the files of messages. What can't be read is said once; then its name is text."""

    def __init__(self) -> None:
        self._as_text: set[str] = set()

    def prompt_of(self, text: str) -> str | None:
        """The prompt of a message; None where a file of it can't be read: then nothing is to be sent."""
        folder, attachments, wrong = Path.cwd(), list[Attachment](), list[str]()
        for name in names_in(text):
            if name in self._as_text:
                continue
            try:
                if meant(name, folder)[0].exists() or looks_like_path(name):
                    attachments.append(unlocked(name, partial(attach, name, folder)))
            except (AttachmentError, OSError) as error:
                say(str(error))
                wrong.append(name)
        if wrong:
            self._as_text.update(wrong)
            say("nothing was sent; the same message again is sent as text")
            return None
        say_notes(attachments)
        return join(text, attachments)
