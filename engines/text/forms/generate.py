"""Make the tables of look-alike letters and of split characters from their public sources.

    python -m sluicegate.engines.text.forms.generate confusables.txt chaizi-jt.txt

Run once per release of the sources; the tables are committed, with their licences, in ``data/``.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

from sluicegate.engines.text.forms.chinese import FIRST_PARTS, LAST_PARTS

DATA = Path(__file__).parent / "data"

_SCRIPTS = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "LISU", "COPTIC")
# Beyond the letters of languages: phonetic signs, small capitals and other Latin letters used as fonts.
_LATIN = ((0x0250, 0x02B0), (0x1D00, 0x1D80), (0xA720, 0xA800), (0xAB30, 0xAB70))
_SMALL_CAPITAL = "LATIN LETTER SMALL CAPITAL "
_KRA = "ĸ"
"""A letter of old Greenlandic in the shape of a small k, which Cyrillic к is compared with."""
_LOOSE = "гшγσ"
"""The source calls these confusable, few fonts agree, and real words are full of them: rough."""


def lookalikes(confusables: str) -> list[tuple[str, str, str]]:
    """Letters that look like an ASCII letter: letter, ASCII letter, ``close`` or ``rough``.

    ``rough`` is a letter that looks like a small capital, such as Cyrillic т.
    """
    to: dict[str, str] = {}
    for line in confusables.splitlines():
        fields = [field.strip() for field in line.partition("#")[0].split(";")]
        if len(fields) == 3 and len(source := _text(fields[0])) == 1:
            to[source] = _text(fields[1])
    found = []
    for one in sorted(to.keys() | {chr(code) for first, end in _LATIN for code in range(first, end)}):
        if not one.isalpha() or not _is_foreign(one):
            continue
        target, kind = to.get(one, one), "close"
        if not (target.isascii() and target.isalpha()):
            kind = "close" if _is_latin(one) else "rough"
            target = _as_small_capital(target)
        if len(target) == 1:
            # Prototypes are of one shape, not of one case: l stands for a capital I, too.
            target = ("I" if target == "l" else target.upper()) if one.isupper() else target
            found.append((one, target, "rough" if one in _LOOSE else kind))
    return found


def splits(chaizi: str) -> list[tuple[str, str]]:
    """Pairs of parts that can only be one character written in two, and that character.

    One part is never a character by itself; the pair belongs to one character; all are common.
    """
    whole: defaultdict[str, set[str]] = defaultdict(set)
    for line in chaizi.splitlines():
        one, *ways = line.strip().split("\t")
        for way in ways:
            parts = way.split(" ")
            if len(parts) == 2 and (parts[0] in FIRST_PARTS or parts[1] in LAST_PARTS):
                other = parts[1] if parts[0] in FIRST_PARTS else parts[0]
                if _is_common(one) and _is_common(other):
                    whole["".join(parts)].add(one)
    return sorted((pair, ones.pop()) for pair, ones in whole.items() if len(ones) == 1)


def _text(codes: str) -> str:
    return "".join(chr(int(code, 16)) for code in codes.split())


def _is_foreign(one: str) -> bool:
    name = unicodedata.name(one, "")
    return name.startswith(_SCRIPTS) or _is_latin(one)


def _is_latin(one: str) -> bool:
    return any(first <= ord(one) < end for first, end in _LATIN)


def _as_small_capital(one: str) -> str:
    if one == _KRA:
        return "k"
    name = unicodedata.name(one, "") if len(one) == 1 else ""
    letter = name.removeprefix(_SMALL_CAPITAL)
    return letter.lower() if name.startswith(_SMALL_CAPITAL) and len(letter) == 1 else ""


def _is_common(one: str) -> bool:
    """True for the 6,763 characters of GB 2312."""
    try:
        return "\u4e00" <= one <= "\u9fff" and len(one) == 1 and len(one.encode("gb2312")) == 2
    except UnicodeEncodeError:
        return False


def main(confusables: Path, chaizi: Path) -> None:
    """Write both tables below the comments that stand in them."""
    letters = "".join(
        f"{one} {to} {kind}\n" for one, to, kind in lookalikes(confusables.read_text(encoding="utf-8-sig"))
    )
    pairs = "".join(f"{pair} {one}\n" for pair, one in splits(chaizi.read_text(encoding="utf-8")))
    for name, rows in (("lookalikes.txt", letters), ("splits.txt", pairs)):
        path = DATA / name
        head = [
            line
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
            if line.startswith("#")
        ]
        path.write_text("".join(head) + rows, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
