"""The input with what belongs to it: the files of a prompt above, the list to choose them from."""

import asyncio
from dataclasses import dataclass

from textual import work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList

from app.documents.attachments import AttachmentError, AttachmentLocked
from app.tui.widgets.attached import Attached, Chip
from app.tui.widgets.composer import Composer
from app.tui.widgets.live_container import LiveContainer


class InputArea(Vertical, LiveContainer):
    """Reads files in a thread, so that typing goes on meanwhile."""

    @dataclass
    class Locked(Message):
        """A file takes a password, as `reason` says: `unlock` it, or give it up."""

        reason: str
        name: str
        chip: Chip

    def __init__(self) -> None:
        super().__init__()
        self.composer = Composer()

    def compose(self) -> ComposeResult:
        """Where to type; what stands above it comes with `furnish`."""
        yield self.composer

    async def furnish(self) -> None:
        """Bring what nobody sees at first."""
        await self.mount(self.composer.completion, self.composer.attached, before=self.composer)

    @work(exclusive=True, group="complete")
    async def on_completing_area_named(self) -> None:
        """Show the files that may be meant."""
        await self.composer.look_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click on one of them."""
        event.stop()
        self.composer.focus()
        self.composer.choose(self.composer.completion.names[event.option_index])

    def on_composer_mentioned(self, event: Composer.Mentioned) -> None:
        """A file was chosen."""
        self._read(event.name, event.chip)

    @work(group="read")
    async def _read(self, name: str, chip: Chip, password: str | None = None) -> None:
        from app.documents.files import attach

        try:
            attachment = await asyncio.to_thread(attach, name, self.composer.folder, password)
        except AttachmentLocked as error:
            self.post_message(self.Locked(f"{error}", name, chip))
        except AttachmentError as error:
            self.give_up(chip)
            self.notify(f"{error}.", severity="error", markup=False)
        else:
            chip.fill(attachment)
            self.composer.files_read()

    def unlock(self, locked: Locked, password: str) -> None:
        """Read the file again, with its password."""
        self._read(locked.name, locked.chip, password)

    def give_up(self, chip: Chip) -> None:
        """A file is not read: what was to be sent with it is not sent by itself."""
        self.composer.attached.drop(chip)
        self.composer.hold()

    def on_unmount(self) -> None:
        """The chat ends: it must not wait for a file that takes long."""
        from mlx_model.documents.process import stop_readers

        stop_readers()

    def on_attached_removed(self, event: Attached.Removed) -> None:
        """One is removed, or becomes part of the text."""
        self.composer.attached.drop(event.chip)
        self.composer.leave_as_text([event.chip.title])
        if event.unfold and event.chip.attachment is not None:
            self.composer.unfold(event.chip.attachment)
        self.composer.focus()
