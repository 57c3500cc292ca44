"""A kit: what a person switches on by one name, with its tools, what the model is told of them, what a call wants."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

from app.tools.permission import Wish
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message
from mlx_model.tools.base import Tool


class Kit(Protocol):
    """What a person switches on in a conversation. Starts nothing before `prepare`."""

    @property
    def name(self) -> str:
        """What it is switched on by."""
        ...

    @property
    def tools(self) -> Sequence[Tool]:
        """What the model may call. Known after `prepare`."""
        ...

    @property
    def instructions(self) -> str:
        """What the developer message says of it, "" for nothing. Known after `prepare`."""
        ...

    @property
    def trouble(self) -> str:
        """Why it can't be used here, and what to do about it, in one line; "" if it can."""
        ...

    @property
    def state(self) -> str:
        """How it is, in a few words: "confined by bubblewrap". Known after `prepare`."""
        ...

    @property
    def subjects(self) -> tuple[str, ...]:
        """What the subjects of its calls begin with, for who looks for the rules about it."""
        ...

    async def prepare(self) -> None:
        """Finds out what has to be known before the model is asked. Called before each turn, so quick after the first
        time. Never raises: `trouble` says what is wrong."""
        ...

    async def wish(self, call: ToolCall) -> Wish:
        """What a call of one of its tools wants."""
        ...

    async def close(self) -> None:
        """Ends what it has started: processes, connections. May be called twice."""
        ...


Judge = Callable[[ToolCall, Wish], Awaitable[str | None]]
"""Decides on something that a call has come to want while it runs: None allows it, else what the model is told."""


@runtime_checkable
class Following(Protocol):
    """A kit that goes by what stands in the conversation."""

    def follow(self, messages: Sequence[Message]) -> None:
        """Takes in the conversation as it is before a turn, the person's prompts and the results of tools included."""
        ...


@runtime_checkable
class Browsing(Following, Protocol):
    """A kit that goes also by what comes up while a call runs: a page that sends the browser to another site.
    `has_private_text` says whether there is something in the conversation that should not go to anybody else."""

    judge: Judge | None
    has_private_text: bool


@runtime_checkable
class Undoing(Protocol):
    """A kit that can take back what its tools have done last. Both look at files, so a thread is the place for them."""

    @property
    def has_changed(self) -> bool:
        """Whether there is something to take back."""
        ...

    def undo(self) -> str:
        """Takes it back; says what that was. Raises GptossError, and nothing is taken back."""
        ...
