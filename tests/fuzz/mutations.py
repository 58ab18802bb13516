"""Hostile variants of valid documents: first the tree is edited, then its bytes."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

Place = tuple[Any, ...]

# What acts on terminals, logs, line readers and the eye; a pair of joiners; a half of a character.
CHARACTERS = (
    "\0", "\a", "\x1b[2J", "\x7f", "\x9b", "\r\n", "\u2028", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff",
    "\U000e0041", "\ud800", "\ue000", "é", "😀", "<|im_end|>", "Safety: Safe\n", "../", "'", '"', "{}", "%s",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, -0.0, 0.1, 1e-320, 1e308, -1e308,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
SNIPPETS = (
    b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b'"', b"\\", b"\n", b"\t", b",", b"{", b"]",
    b"1e999", b"1" * 5000, b"-", b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b" " * 5000, b"a" * 5000,
    b"null", b"true", b"NaN", b"&a [*a]", b"*a", b"<<: *a", b"!!int x", b"!!binary x", b"\n---\n", b"%YAML 1.9\n",
    b'"\\UFFFFFFFF"', b"2001-99-99", b"# ", b"? ", b"\xef\xbb\xbf", b"\x1b[31m", b"\xe2\x80\xae", b"\xe2\x80\xa8",
)  # fmt: skip

scalars: SearchStrategy[Any] = (
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(CHARACTERS) | st.text(max_size=8)
)
values: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(tree: Any, above: Place = ()) -> Iterator[Place]:
    """Every place in a tree, the top first."""
    yield above
    if isinstance(tree, dict):
        for key, inner in tree.items():
            yield from places(inner, (*above, key))
    elif isinstance(tree, list):
        for number, inner in enumerate(tree):
            yield from places(inner, (*above, number))


def at(tree: Any, place: Place) -> Any:
    """What stands at a place."""
    for part in place:
        tree = tree[part]
    return tree


@st.composite
def edited(draw: DrawFn, documents: Sequence[Any]) -> Any:
    """A valid tree after none to four edits."""
    tree = deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, 4))):
        tree = draw(_edit(tree))
    return tree


@st.composite
def _edit(draw: DrawFn, tree: Any) -> Any:
    place = draw(st.sampled_from(list(places(tree))))
    old = at(tree, place)
    kind = draw(st.sampled_from(("replace", "decorate", "wrap", "delete", "duplicate", "add")))
    new: Any = old
    if kind == "decorate" and isinstance(old, dict | list):
        kind = "replace"
    if kind == "replace":
        new = draw(values)
    elif kind == "decorate":
        mark = draw(st.sampled_from(CHARACTERS))
        new = f"{old}{mark}" if draw(st.booleans()) else mark * draw(st.sampled_from((1, 70, 600)))
    elif kind == "wrap":
        new = [old] if draw(st.booleans()) else {draw(st.sampled_from(("x", "name", ""))): old}
    elif kind == "add" and isinstance(old, dict):
        new = {**old, draw(st.sampled_from(CHARACTERS) | st.text(max_size=6)): draw(values)}
    elif kind == "add" and isinstance(old, list):
        new = [*old, draw(values)]
    elif kind == "duplicate" and isinstance(old, list):
        new = old * draw(st.sampled_from((2, 40)))
    if not place:
        return new
    parent = at(tree, place[:-1])
    if kind == "delete":
        del parent[place[-1]]
    else:
        parent[place[-1]] = new
    return tree


@st.composite
def spoiled(draw: DrawFn, documents: SearchStrategy[bytes]) -> bytes:
    """Bytes after none to three edits."""
    raw = draw(documents)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(("insert", "cut", "delete", "duplicate", "flip")))
        if kind == "insert":
            raw = raw[:start] + draw(st.sampled_from(SNIPPETS) | st.binary(max_size=4)) + raw[start:]
        elif kind == "cut":
            raw = raw[:start]
        elif kind == "delete":
            raw = raw[:start] + raw[end:]
        elif kind == "duplicate":
            raw = raw[:end] + raw[start:end] * draw(st.sampled_from((1, 3, 50))) + raw[end:]
        elif start < len(raw):
            raw = raw[:start] + bytes([raw[start] ^ (1 << draw(st.integers(0, 7)))]) + raw[start + 1 :]
    return raw


def as_json(tree: Any, *, plain: bool = False) -> bytes:
    """A tree as JSON, or what comes nearest: NaN, infinities and halves of characters as they are."""
    return json.dumps(tree, ensure_ascii=plain).encode(errors="surrogatepass")


def json_like(documents: Sequence[Any]) -> SearchStrategy[bytes]:
    """Variants of JSON documents."""
    return spoiled(st.builds(as_json, edited(documents), plain=st.booleans()))
