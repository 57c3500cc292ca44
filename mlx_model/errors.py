"""The errors a caller is meant to show to a person: each says what happened and what to do next."""


class GptossError(Exception):
    """Base of every expected failure; `str(error)` is one or two sentences fit for the terminal."""


class CheckpointError(GptossError):
    """The checkpoint is missing, incomplete or damaged; the text names the file and the tensor."""


class TokenizerError(GptossError):
    """tokenizer.json is missing, or not the byte-level BPE of gpt-oss."""


class ContextError(GptossError):
    """The prompt does not fit into the context."""


class BudgetError(GptossError):
    """The model does not fit into the memory there is; the text says how much would do."""


class RequestError(GptossError):
    """A parameter or a prompt that can't be used: an empty prompt, a negative temperature.

    `about` is the field of the Request at fault, or the full name of the function whose schema is; "" where the text
    alone says so.
    """

    def __init__(self, text: str, about: str = "") -> None:
        super().__init__(text)
        self.about = about
