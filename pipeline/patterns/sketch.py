"""Sketches: what a text has in common with its copies, in a few keyed numbers. Pure.

A text is reduced to words without digits, signs and case. Each pair of neighbouring words has a checksum. The lowest
few checksums stand for the text, and what leaves the house is their keyed hash. So a copy with another number, link
or emoji still has most of them, and nobody without the key can compare a guess with them.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOKED_UP = 4
"""Values that a post is looked up by. Two of them in one pattern are a match."""
NEEDED = 2
ASKED_FIRST = 2
"""Of those: with none of them in a pattern, the others are not asked about. A hash with a key is the dearest part."""
KEPT = 8
"""Values of a copy that a pattern is made of: a changed copy loses some of the lowest, and the next move up."""
LEAST_PAIRS = 4
"""A text with fewer pairs of words is too short: what it would share are idioms."""
VALUE_BYTES = 8
_CHARACTERS = 600
"""Read of a text. Copies that flood a stream are short; the rest of a long text costs time and says little."""
BARRIER = "\0"
"""Stands for what was masked. No pair of words reaches over it."""


def _table() -> tuple[bytes, bytes]:
    """Bytes as they are compared, and bytes that go: ASCII letters stay, in small; digits and most signs vanish.

    Scripts without blanks need word ends, too: one in six of the bytes that continue a character of UTF-8 is one.
    They stand where the text has them, so that a copy has them in the same places.
    """
    kept, gone = bytearray(256), bytearray()
    for byte in range(256):
        sign = chr(byte)
        if byte >= 0xC0:
            kept[byte] = byte
        elif byte >= 0x80:
            kept[byte] = 0x20 if byte % 6 == 3 else byte
        elif sign.isalpha():
            kept[byte] = ord(sign.lower())
        elif sign.isspace() or sign in "@/._:-,;!?|=&":
            kept[byte] = 0x20
        else:
            kept[byte] = 0x20
            gone.append(byte)
    return bytes(kept), bytes(gone)


_KEPT_AS, _GONE = _table()


def words_of(text: str) -> list[bytes]:
    """The words that are compared: without digits and signs, in small."""
    return text[:_CHARACTERS].lower().encode("utf-8", "surrogatepass").translate(_KEPT_AS, _GONE).split()


def checksums(text: str, most: int) -> list[int]:
    """The lowest checksums of a text's pairs of words, in order; none where it has too few.

    Args:
        text: Any text.
        most: As many at most. The same one may come twice.
    """
    # As in `words_of`: a call more would cost a tenth of the rest.
    small = text[:_CHARACTERS].lower().encode("utf-8", "surrogatepass")
    words = small.translate(_KEPT_AS, _GONE).split()
    if len(words) <= LEAST_PAIRS:
        return []
    found = list(map(crc32, words, map(crc32, words[1:])))
    found.sort()
    return found[:most]


def all_checksums(masked: str) -> set[int]:
    """Checksums of every pair of words of a masked text. None reaches over what was masked."""
    found: set[int] = set()
    for piece in masked[: 2 * _CHARACTERS].split(BARRIER):
        words = words_of(piece)
        found.update(map(crc32, words, map(crc32, words[1:])))
    return found


def keyed(secret: bytes) -> Callable[[int], bytes]:
    """What turns a checksum into the value that leaves the house: a hash with the circle's key.

    Args:
        secret: 32 bytes that the members of a circle share.
    """
    copy = blake2b(key=secret, digest_size=VALUE_BYTES, person=b"sluicegate-pat-1").copy

    def value(checksum: int) -> bytes:
        hashed = copy()
        hashed.update(checksum.to_bytes(4, "little"))
        return hashed.digest()

    return value


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many checksums two texts share."""
    return len(set(left) & set(right))
