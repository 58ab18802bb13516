"""Text to token ids, with a hard line between our text and a user's.

A control token (``<|im_end|>`` and the like) acts only where we wrote it. The usual way, one
tokenizer that recognises control tokens wherever their spelling occurs, would let an author
end the turn. Here the tokenizer that reads user text does not *know* any control id: it can
not produce one, whatever the text says.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Protocol

import orjson

from sluicegate.engines.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class TextTokenizer(Protocol):
    """Encodes user text and our own text, differently. Thread-safe; blocking."""

    @property
    def digest(self) -> str:
        """``sha256:…`` over everything that decides which ids a text gets."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """One more than the highest id."""
        ...

    def encode_text(self, text: str) -> list[int]:
        """Encode user text: control tokens spelled in it become ordinary tokens."""
        ...

    def encode_static(self, text: str) -> list[int]:
        """Encode our own text: control tokens act."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many user texts at once: ``n`` in, ``n`` out, in order.

        Equal ids of all texts are one object: a window holds millions of tokens.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Text of these ids, control tokens spelled out. Broken UTF-8 becomes U+FFFD."""
        ...


class _ControlMap:
    """Control tokens by their spelling, and the cutting of static text at them."""

    def __init__(self, control: Mapping[str, int]) -> None:
        self.ids = dict(control)
        self.texts = {number: text for text, number in control.items()}
        longest_first = sorted(control, key=len, reverse=True)
        self._cut = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")") if control else None

    def parts(self, text: str) -> Iterator[int | str]:
        """Control ids and the plain texts between them, in order; no empty text."""
        for part in self._cut.split(text) if self._cut else (text,):
            if part in self.ids:
                yield self.ids[part]
            elif part:
                yield part

    def runs(self, ids: Sequence[int]) -> Iterator[str | list[int]]:
        """Spelled control tokens and the runs of ordinary ids between them, in order."""
        run: list[int] = []
        for number in ids:
            if number in self.texts:
                if run:
                    yield run
                    run = []
                yield self.texts[number]
            else:
                run.append(number)
        if run:
            yield run


class BundleTokenizer:
    """The tokenizer of an engine bundle.

    Args:
        raw: Content of a ``tokenizer.json`` that has no added tokens and no post-processor,
            and whose vocabulary holds none of the control ids.
        control: Control tokens, spelling to id.

    Raises:
        BundleError: The file is no tokenizer, or could produce a control token from user text.
    """

    def __init__(self, raw: bytes, control: Mapping[str, int]) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415 - slow to load, and many name only the type

        try:
            document = orjson.loads(raw)
            tokenizer = Tokenizer.from_buffer(raw)
        except Exception as error:  # tokenizers raises bare Exception for every defect
            raise BundleError(
                "tokenizer.json: not a file that this version of tokenizers reads; make the bundle again"
            ) from error
        for field in ("added_tokens", "post_processor", "truncation", "padding"):
            if document.get(field):
                raise BundleError(
                    f"tokenizer.json: {field} must be empty, or user text could act; make the bundle again"
                )
        if any(tokenizer.id_to_token(number) is not None for number in control.values()):
            raise BundleError(
                "tokenizer.json: its vocabulary holds a control token's id; make the bundle again"
            )
        if len(set(control.values())) != len(control) or any(number < 0 for number in control.values()):
            raise BundleError(
                "manifest.json: tokenizer.control_tokens: ids must be distinct and not negative; make the bundle again"
            )
        self._tokenizer = tokenizer
        self._control = _ControlMap(control)
        self._ids: dict[int, int] = {}  # one object for each token of the vocabulary, as they come
        vocabulary = tokenizer.get_vocab(with_added_tokens=False)
        self.vocabulary_size = max([*vocabulary.values(), *control.values()]) + 1
        self.digest = tokenizer_digest(raw, control)

    def encode_text(self, text: str) -> list[int]:
        """Encode user text; see :class:`TextTokenizer`."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode many user texts; the library releases the GIL and uses every core."""
        # Every int that the library gives is a new object.
        found = [one.ids for one in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        return [list(map(self._ids.setdefault, ids, ids)) for ids in found]

    def encode_static(self, text: str) -> list[int]:
        """Encode our own text; see :class:`TextTokenizer`."""
        ids: list[int] = []
        for part in self._control.parts(text):
            ids.extend([part] if isinstance(part, int) else self.encode_text(part))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of these ids; an id outside the vocabulary gives nothing."""
        return "".join(
            run if isinstance(run, str) else self._tokenizer.decode(run, skip_special_tokens=False)
            for run in self._control.runs(ids)
        )


class ByteTokenizer:
    """One id per byte of UTF-8, control tokens from 256 on. For the fake engine: nothing to fetch."""

    CONTROL = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")

    def __init__(self) -> None:
        self._control = _ControlMap({text: 256 + index for index, text in enumerate(self.CONTROL)})
        self.vocabulary_size = 256 + len(self.CONTROL)
        self.digest = tokenizer_digest(b"bytes", self._control.ids)

    def encode_text(self, text: str) -> list[int]:
        """Bytes of the text."""
        return list(text.encode())

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Bytes of each text."""
        return [list(text.encode()) for text in texts]

    def encode_static(self, text: str) -> list[int]:
        """Encode our own text; see :class:`TextTokenizer`."""
        ids: list[int] = []
        for part in self._control.parts(text):
            ids.extend([part] if isinstance(part, int) else part.encode())
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of these ids; an id outside the vocabulary gives U+FFFD."""
        return "".join(
            run
            if isinstance(run, str)
            else bytes(n if 0 <= n < 256 else 0xFF for n in run).decode(errors="replace")
            for run in self._control.runs(ids)
        )


def tokenizer_digest(raw: bytes, control: Mapping[str, int]) -> str:
    """``sha256:…`` over a tokenizer file and its control tokens."""
    parts = [hashlib.sha256(raw).hexdigest(), sorted(control.items())]
    return f"sha256:{hashlib.sha256(orjson.dumps(parts)).hexdigest()}"
