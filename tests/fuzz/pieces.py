"""How the bytes of a fuzzer are read: what they say first, and in which pieces the rest comes."""

from collections.abc import Iterator
from typing import final

from attrs import define


@final
@define
class Script:
    """Bytes of a fuzzer, of which choices are taken from the front. There is always one more: zeros follow."""

    data: bytes

    def number(self) -> int:
        """0 to 255."""
        first, self.data = self.data[:1], self.data[1:]
        return int.from_bytes(first)

    def numbers(self, most: int) -> list[int]:
        """So many or fewer."""
        return [self.number() for _ in range(self.number() % (most + 1))]


def cut(stream: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The stream in pieces of these sizes, over and over; 0 is 256. Without sizes, in one."""
    at = turn = 0
    while at < len(stream):
        size = (sizes[turn % len(sizes)] or 256) if sizes else len(stream)
        yield stream[at : at + size]
        at, turn = at + size, turn + 1
