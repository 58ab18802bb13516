"""Rows padded with harmless text in ten ways, so that what stands around a text does not decide its label.

Cores and padding are training rows, drawn by a hash. A harmful core keeps its label. As many harmless cores are padded
alike: else padding itself would say harmful. None of the dilution suite's texts is used.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Row = dict[str, Any]

SOURCE: Final = "padded"
_CORE, _PAD = (12, 160), (12, 150)  # characters, at least and at most
_REPEATED = 24
_NEXT = "\n\n"


def padded(rows: Sequence[Row], *, each: int) -> list[Row]:
    """New rows.

    Args:
        rows: Training rows: what is padded, and what it is padded with.
        each: Harmful rows of each way, and harmless ones.
    """
    cores: dict[bool, list[Row]] = {True: [], False: []}
    pads: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _drawn("order", row["id"])):
        if row["kind"] == "response" or row.get("context"):
            continue
        size, harmless = len(row["text"]), row["severity"] == "safe"
        if _CORE[0] <= size <= _CORE[1]:
            cores[harmless].append(row)
        if harmless and _PAD[0] <= size <= _PAD[1]:
            pads[row.get("language") or "und"].append(row)
    spoken = sorted(language for language, found in pads.items() if len(found) >= 8)
    made = []
    for harmless, found in cores.items():
        usable = [row for row in found if row.get("language") in spoken]
        for number, name in enumerate(WAYS):
            by_language = _in_turn(usable[number :: len(WAYS)])
            made += [_made(core, name, pads, spoken, harmless=harmless) for core in by_language[:each]]
    return made


def _in_turn(rows: Iterable[Row]) -> list[Row]:
    """One row of each language, then the next of each: the large ones do not take it all."""
    turns: dict[str, int] = defaultdict(int)
    placed = []
    for row in rows:
        placed.append((turns[row["language"]], row))
        turns[row["language"]] += 1
    return [row for _, row in sorted(placed, key=lambda one: one[0])]


def _made(
    core: Row, name: str, pads: Mapping[str, list[Row]], spoken: Sequence[str], *, harmless: bool
) -> Row:
    own = pads[core["language"]]
    foreign = [pads[spoken[_drawn(core["id"], name, str(n)) % len(spoken)]] for n in range(2)]
    chosen = [
        found[_drawn(core["id"], name, "pad", str(n)) % len(found)]
        for n, found in enumerate(foreign if name == "other languages around" else [own] * 3)
    ]
    texts = [one["text"] for one in chosen if one["id"] != core["id"]] or [own[0]["text"]]
    kept = ("kind", "severity", "categories", "language", "licence")
    return {
        **{field: core[field] for field in kept if field in core},
        "id": f"{SOURCE}:{_drawn(core['id'], name):014x}",
        "text": WAYS[name](core["text"], texts),
        "source": SOURCE,
        "split": "train",
        "label_basis": f"{core.get('label_basis', 'unknown')}; padded",
        "source_labels": {"way": name, "core": core["id"], "with": [one["id"] for one in chosen]},
    } | ({} if harmless or "reason" not in core else {"reason": core["reason"]})


def _drawn(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=7).digest())


def _behind(core: str, pads: Sequence[str]) -> str:
    return f"{core} {' '.join(pads[:2])}"


def _before(core: str, pads: Sequence[str]) -> str:
    return f"{' '.join(pads[:2])} {core}"


def _both_sides(core: str, pads: Sequence[str]) -> str:
    return _NEXT.join((pads[0], core, pads[-1]))


def _blank_lines(core: str, pads: Sequence[str]) -> str:
    return f"{core}{10 * chr(10)}{' '.join(pads)}"


def _repeated(core: str, pads: Sequence[str]) -> str:
    word = (pads[0].split() or [pads[0]])[0][:12]
    return f"{core} {' '.join([word] * _REPEATED)}"


def _questions(core: str, pads: Sequence[str]) -> str:
    return f"{pads[0].rstrip('.!?。！？')}? {core} {pads[-1].rstrip('.!?。！？')}?"


def _list(core: str, pads: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate((pads[0], core, *pads[1:]), 1))


def _chat(core: str, pads: Sequence[str]) -> str:
    line = core.replace("\n", " ")
    return "\n".join((f"A: {pads[0]}", f"B: {line}", *(f"A: {one}" for one in pads[1:])))


def _in_between(core: str, pads: Sequence[str]) -> str:
    space = core.find(" ", len(core) // 2)
    middle = space if space > 0 else len(core) // 2
    return f"{pads[0]} {core[:middle].strip()} {pads[-1]} {core[middle:].strip()}"


WAYS: Final[Mapping[str, Callable[[str, Sequence[str]], str]]] = {
    "behind": _behind,
    "before": _before,
    "both sides": _both_sides,
    "blank lines and text behind": _blank_lines,
    "a word again and again": _repeated,
    "questions around": _questions,
    "other languages around": _both_sides,
    "in a list": _list,
    "in a chat": _chat,
    "in between": _in_between,
}
