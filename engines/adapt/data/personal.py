"""Personal data in a text: where it stands, by kind, and the text with it masked.

Phone numbers are found by phonenumbers, Google's own rules for every country. The other kinds are
shapes with a check that chance seldom passes: Luhn, ISO 13616, the check digits of national ids.
Names and addresses are not found: that takes a model of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from phonenumbers import SUPPORTED_REGIONS, Leniency, PhoneNumberMatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS: Final = ("email", "iban", "national_id", "card", "ip", "phone")
"""In the order in which they claim characters: an IBAN holds what could be a phone number."""

_PHONE_DIGITS = 7  # the shortest number that anybody dials from elsewhere
_PHONE_TRIES = 64  # of the matcher; bounds the work on a text of nothing but digits
# Where a text in this language names a number without its country, it is most likely from here.
_REGIONS = {"de": "DE", "en": "US", "es": "ES", "fr": "FR", "it": "IT", "ja": "JP", "ko": "KR"}
_REGIONS |= {"pt": "BR", "ru": "RU", "th": "TH", "tr": "TR", "vi": "VN", "zh": "CN", "hi": "IN"}

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9_.+-])[A-Za-z0-9_.+-]{1,64}@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9_@])"
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"
)
_CARD = re.compile(r"(?<![0-9.,-])[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}(?![0-9-])")
_CARD_DIGITS = {2: (16,), 3: (14, 15, 16), 4: (13, 16, 19), 5: (16,), 6: (16, 17, 18, 19)}
_IP4 = re.compile(r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.]*[0-9])")
_IP6 = re.compile(r"(?<![0-9A-Za-z:.])(?=[0-9a-fA-F:]*:[0-9a-fA-F:]*:)[0-9a-fA-F:]{6,39}(?![0-9A-Za-z:])")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters ``start`` to ``end``, the last one not among them."""

    kind: str
    start: int
    end: int


def find(text: str, *, language: str | None = None, region: str | None = None) -> list[Span]:
    """Personal data in a text, in order, without overlaps. What :func:`masked` wrote is none.

    Args:
        text: Any text.
        language: Its language, for phone numbers without a country.
        region: The same, and stronger.
    """
    if "@" not in text and sum(map(str.isdigit, text)) < 4 and ":" not in text:
        return []
    found: list[Span] = []
    for kind in KINDS:
        for start, end in _FINDERS[kind](text) if kind != "phone" else _phones(text, language, region):
            clear = all(end <= other.start or start >= other.end for other in found)
            if clear and _shape(text[start:end]) != text[start:end]:
                found.append(Span(kind, start, end))
    return sorted(found, key=lambda span: span.start)


def masked(text: str, spans: list[Span]) -> str:
    """The text with every letter and digit of these spans replaced: its shape and its length stay."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], _shape(text[span.start : span.end])]
        at = span.end
    return "".join([*parts, text[at:]])


def _shape(text: str) -> str:
    return "".join(
        "0" if one.isdigit() else "X" if one.isupper() else "x" if one.isalpha() else one for one in text
    )


def _matches(
    pattern: re.Pattern[str], check: Callable[[str], bool]
) -> Callable[[str], Iterator[tuple[int, int]]]:
    def spans(text: str) -> Iterator[tuple[int, int]]:
        return (match.span() for match in pattern.finditer(text) if check(match[0]))

    return spans


def _any(_: str) -> bool:
    return True


def _card(text: str) -> bool:
    """ISO/IEC 7812: a length that the networks of this first digit give out, and Luhn's check."""
    digits = [int(one) for one in text if one.isdigit()]
    doubled = [2 * one - 9 * (one > 4) for one in digits[-2::-2]]
    return len(digits) in _CARD_DIGITS[digits[0]] and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    bare = text.replace(" ", "")
    turned = bare[4:] + bare[:4]
    return (
        15 <= len(bare) <= 34
        and bare[:2] in SUPPORTED_REGIONS
        and int("".join(str(int(one, 36)) for one in turned)) % 97 == 1
    )


def _address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return text.strip(":0") != ""


def _resident_of_china(text: str) -> bool:
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(one) * weight for one, weight in zip(text[:17], weights, strict=True))
    return text[17].upper() == "10X98765432"[total % 11]


def _cpf(text: str) -> bool:
    digits = [int(one) for one in text if one.isdigit()]
    ninth = sum(one * weight for one, weight in zip(digits[:9], range(10, 1, -1), strict=True)) * 10 % 11 % 10
    tenth = (
        sum(one * weight for one, weight in zip(digits[:10], range(11, 1, -1), strict=True)) * 10 % 11 % 10
    )
    return [ninth, tenth] == digits[9:]


def _dni(text: str) -> bool:
    number = text[:-1].upper().translate(str.maketrans("XYZ", "012"))
    return text[-1].upper() == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


_NATIONAL_IDS = (
    # China: GB 11643, ends in a check character (ISO 7064, MOD 11-2).
    (
        r"(?<![0-9A-Za-z])[1-8][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9A-Za-z])",
        _resident_of_china,
    ),
    # Brazil: CPF, in its printed form; eleven bare digits are too many other things.
    (r"(?<![0-9.])[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?![0-9])", _cpf),
    # Spain: DNI and NIE.
    (r"(?<![0-9A-Za-z])(?:[0-9]{8}|[XYZ][0-9]{7})[A-HJ-NP-TV-Z](?![0-9A-Za-z])", _dni),
    # United States: SSN, which has no check digit, without the numbers never given out.
    (r"(?<![0-9-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![0-9-])", _any),
    # Korea: date of birth, then a digit for century and sex; newer ones have no check digit.
    (
        r"(?<![0-9-])[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])-[1-8][0-9]{6}(?![0-9-])",
        _any,
    ),
)
_ID_FINDERS = [_matches(re.compile(pattern), check) for pattern, check in _NATIONAL_IDS]


def _national_ids(text: str) -> Iterator[tuple[int, int]]:
    for finder in _ID_FINDERS:
        yield from finder(text)


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_IP4, _IP6):
        yield from _matches(pattern, _address)(text)


def _phones(text: str, language: str | None, region: str | None) -> Iterator[tuple[int, int]]:
    if sum(map(str.isdigit, text)) < _PHONE_DIGITS:
        return
    country = region.partition("-")[0] if region else _REGIONS.get((language or "").partition("-")[0].lower())
    for match in PhoneNumberMatcher(text, country, leniency=Leniency.VALID, max_tries=_PHONE_TRIES):
        yield match.start, match.end


_FINDERS: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "email": _matches(_EMAIL, _any),
    "iban": _matches(_IBAN, _iban),
    "national_id": _national_ids,
    "card": _matches(_CARD, _card),
    "ip": _addresses,
}
