"""What a person reads before a download begins: how much, where to, whether there is space, what happens meanwhile."""

from dataclasses import dataclass

from app.tui.text.computer import ModelFacts
from mlx_model.memory.sizes import disk_size


@dataclass(frozen=True, slots=True)
class DownloadOffer:
    """`model` is what would be downloaded, `free` are the bytes free on the disk with `folder`."""

    model: ModelFacts
    free: int
    folder: str
    is_demo: bool = False
    """Whether the demo answers meanwhile."""

    @property
    def missing(self) -> int:
        """Bytes to fetch."""
        return max(0, self.model.size - self.model.present)

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Names of facts, and the facts; those that aren't known are left out."""
        size = disk_size(self.model.size)
        here = f", of which {disk_size(self.model.present)} are here" if self.model.present else ""
        facts = (
            ("Size", f"{size}{here}"),
            ("Free disk", disk_size(self.free)),
            ("Folder", self.folder),
            ("Memory", self.model.fit),
        )
        return tuple((name, fact) for name, fact in facts if fact)

    @property
    def warning(self) -> str:
        """What speaks against it, "" if nothing does."""
        if self.missing > self.free:
            return f"The disk has no space for it: free {disk_size(self.missing - self.free)} more first."
        if self.model.needs and not self.model.dense_bits:
            return "This computer has too little memory to run it."
        return ""

    @property
    def meanwhile(self) -> str:
        """What happens while it goes on."""
        who = "The demo keeps answering" if self.is_demo else "The chat goes on"
        return f"{who} meanwhile. F6 pauses; what was fetched is kept, also when you quit."
