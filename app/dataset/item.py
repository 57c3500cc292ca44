"""One item of a test set: what is asked, what is right, and where in which file that stands."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """A question and its right answer; `choices` has the answer among others, "" is what a field has that says nothing.

    `quote` is the text of the file that the answer stands on: from character `span[0]` up to `span[1]` of the page, on
    `lines`, counted from 1, of the file's page number `page`, 1 where the file has no pages. `where` is that in words.
    `context` is the passage around it. `asked_alone` is what the model answered without the document, where it was
    asked.
    """

    id: str
    kind: str
    question: str
    answer: str
    choices: tuple[str, ...]
    difficulty: str
    file: str
    sha256: str
    page: int
    where: str
    lines: tuple[int, int]
    span: tuple[int, int]
    quote: str
    context: str
    asked_alone: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Item":
        """The inverse of `to_json`. Raises TypeError, KeyError or ValueError for anything else."""
        if values.keys() != {field.name for field in fields(Item)}:
            raise KeyError("the fields are others")
        (first, last), (start, end) = values["lines"], values["span"]
        lists = {name: tuple(map(str, values[name])) for name in ("choices", "asked_alone")}
        return Item(**{**values, **lists, "lines": (int(first), int(last)), "span": (int(start), int(end))})
