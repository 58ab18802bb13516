"""Prompt layouts: which text of ours stands around a post.

``CompactLayout`` is ours, in two lengths. ``VendorLayout`` is the prompt that a guard checkpoint was trained on, from its own chat
template. The template is rendered when a bundle is made, with marks in place of texts, and cut into static pieces
(:func:`split_template`). At run time the pieces come from the bundle.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias, get_args

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from sluicegate.engines.errors import BundleError, EngineSetupError
from sluicegate.schemas import Kind, Post

if TYPE_CHECKING:
    from collections.abc import Sequence


CompactName = Literal["compact", "compact-short"]
LayoutName = Literal[CompactName, "vendor"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)

LABEL_HEAD = "Safety:"
"""Every prompt ends in this, with no space after it: the label's own token brings the space."""


@dataclass(frozen=True, slots=True)
class Static:
    """Our own text. Control tokens in it act."""

    text: str


@dataclass(frozen=True, slots=True)
class Hint:
    """A short value the producer set, such as a region. Part of the shared prefix; control tokens never act."""

    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """Text of an author: the post or its context. Control tokens never act."""

    text: str


Piece: TypeAlias = Static | Hint | Content


class Layout(Protocol):
    """Places a post between static texts. Pure: equal posts give equal pieces."""

    @property
    def name(self) -> LayoutName:
        """The layout's name, as a bundle's manifest gives it."""
        ...

    @property
    def digest(self) -> str:
        """``sha256:…`` over all text of ours. Another digest is another prompt for every post."""
        ...

    def content(self, text: str) -> str:
        """What a text of an author becomes in a prompt; nowhere shorter than it was."""
        ...

    def said(self, text: str) -> Content:
        """The piece that a text of an author is in a prompt: :meth:`content`, with what is tokenised along."""
        ...

    def render(self, post: Post) -> list[Piece]:
        """Pieces of one prompt, in order: what stands around the turns depends on kind, region and language alone.

        Pieces are tokenised one by one, so that a static piece has the same ids in every
        prompt. The last one is static and ends in :data:`LABEL_HEAD`.
        """
        ...


def static_digest(form: object) -> str:
    """Digest of a layout's static form, given as plain JSON values."""
    return f"sha256:{hashlib.sha256(orjson.dumps(form, option=orjson.OPT_SORT_KEYS)).hexdigest()}"


# The labels are named so that a model that was never adapted has something to go by.
_TASK: dict[Kind, str] = {
    "post": "<|im_start|>system\nRate the post: Safe, Controversial or Unsafe.",
    "prompt": "<|im_start|>system\nRate the prompt: Safe, Controversial or Unsafe.",
    "response": "<|im_start|>system\nRate the response: Safe, Controversial or Unsafe.",
}
_REGION = "\nRegion:"
_LANGUAGE = "\nLanguage:"
_USER = "<|im_end|>\n<|im_start|>user\n"
_ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"

_TAILS: dict[CompactName, str] = {
    "compact": _ASSISTANT + LABEL_HEAD,
    "compact-short": f"<|im_end|>{LABEL_HEAD}",
}


class CompactLayout:
    """Chat turns between control tokens, which are the only delimiters.

    Nothing an author types can close a turn, so nothing in the text needs to be changed.
    The judged text is the last turn before the answer: an assistant's for a response,
    a user's otherwise. Earlier turns of the context stand before it.

    Args:
        name: ``compact`` opens the assistant's turn before the answer: seven tokens after the post. ``compact-short``
            only closes the post: three. A model answers well in the one that it was trained on alone.
    """

    def __init__(self, name: CompactName = "compact") -> None:
        self.name: LayoutName = name
        self._tail = _TAILS[name]
        tail = (
            LABEL_HEAD if name == "compact" else self._tail
        )  # as bundles of before have it in their digests
        self.digest = static_digest([name, _TASK, _REGION, _LANGUAGE, _USER, _ASSISTANT, tail])

    def content(self, text: str) -> str:
        """The text itself."""
        return text

    def said(self, text: str) -> Content:
        """The text itself, as a piece."""
        return Content(text)

    def render(self, post: Post) -> list[Piece]:
        """Pieces of one prompt; see :class:`~sluicegate.engines.layouts.Layout`."""
        pieces: list[Piece] = [Static(_TASK[post.kind])]
        if post.region:
            pieces += [Static(_REGION), Hint(f" {post.region}")]
        if post.language:
            pieces += [Static(_LANGUAGE), Hint(f" {post.language}")]
        for turn in post.turns:
            pieces += [Static(_USER if turn.role == "user" else _ASSISTANT), self.said(turn.text)]
        pieces += [Static(_ASSISTANT if post.kind == "response" else _USER), self.said(post.text)]
        pieces.append(Static(self._tail))
        return pieces


_HEADS = {"user": "USER:", "assistant": "ASSISTANT:"}
_GAP = "\n\n"
_HINTS = "HINTS:"

# Where the template's own plain-text delimiters are recognised in content: the two block
# marks anywhere, a speaker's or the hints' head at the start of a line. Blanks are matched
# within one line only, which keeps the search linear.
_BLANK = r"[^\S\n\r\v\f\x1c-\x1e\x85\u2028\u2029]"
_LINE_START = r"(?<![^\n\r\v\f\x1c-\x1e\x85\u2028\u2029])"
_DELIMITERS = re.compile(
    rf"<(?={_BLANK}{{0,8}}(?:BEGIN|END){_BLANK}{{1,8}}CONVERSATION)"
    rf"|{_LINE_START}{_BLANK}*(?:USER|ASSISTANT|HINTS)(?={_BLANK}{{0,8}}:)",
    re.IGNORECASE,
)
_JOINER = "\u2060"  # word joiner: no width, no line break, unchanged by Unicode normalisation


class Frame(BaseModel):
    """Static text around the conversation, in one mode."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    before: str
    after: str


class VendorLayout(BaseModel):
    """Static pieces of a checkpoint's chat template; the content of a bundle's ``layout.json``.

    Kinds ``post`` and ``prompt`` use the frame for prompts, ``response`` the one for responses.
    Delimiters of the template that occur in content are broken by a word joiner
    (:func:`break_delimiters`); all other content is unchanged. The space before a text and the
    blank line after it are tokenised with the text: cut there, Qwen's tokenizer gives the ids of
    the whole rendering.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    prompt: Frame
    response: Frame

    @property
    def name(self) -> LayoutName:
        """The layout's name in a manifest."""
        return "vendor"

    @property
    def digest(self) -> str:
        """Digest of the frames and of the words between turns."""
        return static_digest([self.name, self.model_dump(), _HEADS, _GAP, _HINTS, LABEL_HEAD])

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read ``layout.json``.

        Raises:
            BundleError: It is not of the expected form.
        """
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "document"
            raise BundleError(f"layout.json: {where}: {first['type']}; make the bundle again") from error

    def content(self, text: str) -> str:
        """The text, with the template's delimiters broken."""
        return break_delimiters(text)

    def said(self, text: str) -> Content:
        """That text, between the space and the blank line that the template has around it."""
        return Content(f" {break_delimiters(text)}{_GAP}")

    def render(self, post: Post) -> list[Piece]:
        """Pieces of one prompt; see :class:`~sluicegate.engines.layouts.Layout`."""
        frame = self.response if post.kind == "response" else self.prompt
        pieces: list[Piece] = [Static(frame.before)]
        hints = [
            f"{word} {value}"
            for word, value in (("region", post.region), ("language", post.language))
            if value
        ]
        if hints:
            pieces += [Static(_HINTS), Hint(f" {', '.join(hints)}{_GAP}")]
        for turn in post.turns:
            pieces += [Static(_HEADS[turn.role]), self.said(turn.text)]
        pieces += [Static(_HEADS["assistant" if post.kind == "response" else "user"]), self.said(post.text)]
        pieces.append(Static(frame.after))
        return pieces


def break_delimiters(text: str) -> str:
    """Content in which none of the template's delimiters is left whole."""
    return _DELIMITERS.sub(lambda found: found[0] + _JOINER, text)


def split_template(template: str) -> VendorLayout:
    """Cut a checkpoint's chat template (Jinja) into static pieces.

    Raises:
        BundleError: The template does not have the structure this layout stands for.
        EngineSetupError: jinja2 is not installed.
    """
    layout = VendorLayout(
        prompt=_frame(template, ["user"]),
        response=_frame(template, ["user", "assistant"]),
    )
    _frame(template, ["user", "assistant", "user"], expected=layout.prompt)
    _frame(template, ["user", "assistant", "user", "assistant"], expected=layout.response)
    return layout


def _frame(template: str, roles: Sequence[str], *, expected: Frame | None = None) -> Frame:
    """The frame around a conversation of these roles; equal to the expected one, if given."""
    marks = [f"mark{index}mark" for index in range(len(roles))]
    text = _render(template, [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)])
    conversation = "".join(f"{_HEADS[r]} {m}{_GAP}" for r, m in zip(roles, marks, strict=True))
    before, found, after = text.partition(conversation)
    frame = Frame(before=before, after=after + LABEL_HEAD)
    if not found or any(mark in before + after for mark in marks) or (expected and frame != expected):
        raise BundleError(
            f"chat template: a conversation of {len(roles)} turns is not rendered as USER:/ASSISTANT: turns "
            "with a blank line after each; use the template of a Qwen3Guard-Gen checkpoint"
        )
    return frame


def _render(template: str, messages: list[dict[str, str]]) -> str:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415  # only the making of a bundle needs it
    except ModuleNotFoundError as error:
        raise EngineSetupError("jinja2 is missing: pip install 'sluicegate[bundle]'") from error
    # Block trimming as chat templates are written for.
    environment: Any = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, autoescape=False
    )  # a prompt, no HTML
    try:
        return str(environment.from_string(template).render(messages=messages, add_generation_prompt=True))
    except Exception as error:  # a template may fail in any way Python code can
        raise BundleError(
            f"chat template: {type(error).__name__} while rendering; use the checkpoint's own"
        ) from error
