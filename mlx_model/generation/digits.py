"""Counts the digits that a JSON text ends in: a schema sets no end to a number, and a model may write on for ever."""

MOST_DIGITS = 20
"""Of a number before its point, behind it, or of its exponent. Integers of 64 bits have no more, and floats 17."""


class Digits:
    """Follows a JSON text piece by piece, from its beginning."""

    def __init__(self) -> None:
        self._count = 0
        self._in_string = False
        self._is_escaped = False

    @property
    def suffice(self) -> bool:
        """Whether the number at the end has as many as are ever meant."""
        return self._count >= MOST_DIGITS

    def read(self, text: str) -> None:
        """Takes what comes next."""
        for character in text:
            if self._is_escaped:
                self._is_escaped = False
            elif character == '"':
                self._in_string = not self._in_string
            else:
                self._is_escaped = character == "\\"  # which stands in strings alone
            is_digit = not self._in_string and "0" <= character <= "9"
            self._count = self._count + 1 if is_digit else 0
