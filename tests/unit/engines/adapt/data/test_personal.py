"""Personal data: found where a check confirms it, left alone where none does, masked in its shape."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.personal import find, masked

# Published test values: none belongs to anybody.
FOUND = [
    ("write to jane.doe+news@mail.example.org today", "en", "email", "jane.doe+news@mail.example.org"),
    ("微信joe@example.com联系", "zh", "email", "joe@example.com"),
    ("IBAN DE89 3704 0044 0532 0130 00 please", "de", "iban", "DE89 3704 0044 0532 0130 00"),
    ("GB82WEST12345698765432", "en", "iban", "GB82WEST12345698765432"),
    ("card 4111 1111 1111 1111, thanks", "en", "card", "4111 1111 1111 1111"),
    ("378282246310005", "en", "card", "378282246310005"),
    ("server 192.0.2.44 is down", "en", "ip", "192.0.2.44"),
    ("server 2001:db8::8a2e:370:7334 is down", "en", "ip", "2001:db8::8a2e:370:7334"),
    ("身份证11010519491231002X", "zh", "national_id", "11010519491231002X"),
    ("CPF 529.982.247-25", "pt", "national_id", "529.982.247-25"),
    ("DNI 12345678Z", "es", "national_id", "12345678Z"),
    ("SSN 219-09-9999", "en", "national_id", "219-09-9999"),
    ("주민번호 900101-1234567", "ko", "national_id", "900101-1234567"),
    ("call +44 20 7946 0958", None, "phone", "+44 20 7946 0958"),
    ("电话13812345678", "zh", "phone", "13812345678"),
    ("ruf an: 030 12345678", "de", "phone", "030 12345678"),
]
LEFT = [
    ("the card 4111 1111 1111 1112 fails Luhn", "en"),
    ("DE89 3704 0044 0532 0130 01", None),
    ("身份证110105194912310021", None),
    ("CPF 529.982.247-26", "pt"),
    ("DNI 12345678A", "es"),
    ("SSN 000-12-3456", "en"),
    ("version 1.2.3.4.5 at 10:20:30", "en"),
    ("300.1.2.3 and 1.2.3", "en"),
    ("it cost 1,234,567 in 2024", "en"),
    ("0000 0000 0000 0000", "en"),
    ("@user wrote to [EMAIL] and [PHONE]", "en"),
    ("::", "en"),
    ("", None),
]


@pytest.mark.parametrize(("text", "language", "kind", "value"), FOUND)
def test_what_a_check_confirms_is_found(text: str, language: str | None, kind: str, value: str) -> None:
    (span,) = find(text, language=language)
    assert (span.kind, text[span.start : span.end]) == (kind, value)


@pytest.mark.parametrize(("text", "language"), LEFT)
def test_what_only_looks_like_it_is_left(text: str, language: str | None) -> None:
    assert find(text, language=language) == []


def test_the_region_says_where_a_number_is_dialled() -> None:
    text = "ring 020 7946 0958"
    assert find(text, language="en") == []
    assert [span.kind for span in find(text, language="en", region="GB")] == ["phone"]


def test_a_mask_keeps_the_shape() -> None:
    text = "Mail Jane.Doe@mail.example.org or 4111-1111-1111-1111."
    assert masked(text, find(text)) == "Mail Xxxx.Xxx@xxxx.xxxxxxx.xxx or 0000-0000-0000-0000."


pieces = st.lists(st.sampled_from([text for text, *_ in FOUND]) | st.text(max_size=20), max_size=4)


@given(parts=pieces, language=st.sampled_from([None, "en", "zh", "de"]))
def test_a_masked_text_has_its_length_its_rest_and_nothing_more_to_mask(
    parts: list[str], language: str | None
) -> None:
    text = " ".join(parts)
    spans = find(text, language=language)
    found = masked(text, spans)
    assert len(found) == len(text)
    inside = {at for span in spans for at in range(span.start, span.end)}
    assert all(found[at] == one for at, one in enumerate(text) if at not in inside)
    assert all(span.start < span.end for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert find(found, language=language) == []


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ["1", "1 2-", "a@a.", "4111 ", ":a", "DE89 ", "1.", "+1", "a."])
def test_a_hostile_text_is_read_in_bounded_time(piece: str) -> None:
    assert isinstance(find(piece * (200_000 // len(piece)), language="en"), list)
