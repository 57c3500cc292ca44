"""The ids that the model's own messages were sampled with, so that a prompt repeats them and matches the KV cache."""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from mlx_model.harmony.message import Message


class SampledIds(Mapping[Message, Sequence[int]]):
    """Message to sampled ids, for `Renderer.prompt`.

    Holds at most `most` ids; the least recently used message is dropped first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._ids: OrderedDict[Message, array[int]] = OrderedDict()

    def add(self, sampled: Mapping[Message, Sequence[int]]) -> None:
        """Takes the messages of one answer."""
        for message, ids in sampled.items():
            self._count += len(ids) - len(self._ids.pop(message, ()))
            self._ids[message] = array("L", ids)
        while self._count > self._most:
            _, dropped = self._ids.popitem(last=False)
            self._count -= len(dropped)

    def __getitem__(self, message: Message) -> Sequence[int]:
        ids = self._ids[message]
        self._ids.move_to_end(message)
        return ids

    def __iter__(self) -> Iterator[Message]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
