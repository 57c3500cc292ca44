"""The messages of one chat, in one place: what the engine is asked with and what a store will keep."""

from mlx_model.harmony.message import Message, Role, user


class Conversation:
    """A list of messages that grows by a prompt and what the model wrote in answer to it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def add_prompt(self, text: str) -> None:
        """The person asks."""
        self.messages.append(user(text))

    def withdraw_prompt(self) -> str:
        """Take back the last prompt, which came to nothing, and return its text."""
        assert self.messages and self.messages[-1].role is Role.USER
        return self.messages.pop().text

    def add_answer(self, messages: list[Message]) -> None:
        """What the model wrote, cut-off parts included."""
        self.messages.extend(messages)

    def for_engine(self) -> list[Message]:
        """The messages to ask with. An analysis that never came to an answer (stopped, or the engine died) is left out.

        The model would otherwise read its own broken-off thought as the beginning of the next.
        """
        kept: list[Message] = []
        for message in self.messages:
            if message.role is Role.USER:
                while kept and _is_analysis(kept[-1]):
                    kept.pop()
            kept.append(message)
        return kept

    def last_answer(self) -> str | None:
        """The text of the last answer, None before the first."""
        for message in reversed(self.messages):
            if message.role is Role.ASSISTANT and message.channel == "final" and message.text:
                return message.text
        return None


def _is_analysis(message: Message) -> bool:
    return message.role is Role.ASSISTANT and message.channel == "analysis"
