"""A circle of two, floods and feeds, for the tests of this room."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.pipeline.patterns.circle import FILE, Circle, new_circle
from sluicegate.pipeline.patterns.feed import seal
from sluicegate.pipeline.patterns.masking import CommonWords
from sluicegate.pipeline.patterns.mining import ConfirmedCopy, MinedCluster, mine
from sluicegate.pipeline.patterns.pattern import Feed
from sluicegate.pipeline.patterns.sharing import PatternCandidate, draft, next_feed, read_draft

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TODAY = datetime.now(UTC).date()
NOW = datetime.now(UTC)
K = 5
TEMPLATE = (
    "Good news {name}! Your parcel could not be delivered today because the customs fee is still open, "
    "please pay {price} on {link} within one day or it goes back. Call {phone}"
)
SLOTS = {
    "name": "Thandeka Quarshie",
    "price": "2.99 EUR",
    "link": "https://evil.example/x7",
    "phone": "+49 151 555 0815",
}


def keypair() -> tuple[bytes, bytes]:
    """A signing key in PEM, private and public."""
    key = Ed25519PrivateKey.generate()
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


NORTH, SOUTH = keypair(), keypair()
CIRCLE = new_circle(
    "alps", {"north": NORTH[1], "south": SOUTH[1]}, k=K, licence="for moderation", today=TODAY
)


def flood(count: int = 18, template: str = TEMPLATE, **slots: str) -> list[str]:
    """Copies of one text with other slots, but for those given."""
    chance = random.Random(7)
    found = []
    for number in range(count):
        filled = {
            "name": f"{chance.choice(['Ann', 'Bo', 'Cy'])} {chance.choice(['Roe', 'Doe'])}",
            "price": f"{number + 1}.99 EUR",
            "link": f"https://a{chance.randrange(10**6)}.example/x{number}",
            "phone": f"+49 151 555 {chance.randrange(10_000):04d}",
        }
        found.append(template.format(**filled | slots))
    return found


def vocabulary(*texts: str) -> CommonWords:
    """Words of the template are common here, and those of these texts."""
    known = CommonWords(K)
    bare = TEMPLATE.format(name="", price="", link="", phone="").lower()
    for number in range(K):
        for text in (bare, *texts):
            known.add(text, f"neighbour-{number}")
    return known


def confirmed(texts: Sequence[str], *, authors: int | None = None) -> list[ConfirmedCopy]:
    """These texts, confirmed at the desk; by as many authors, or each by its own."""
    return [
        ConfirmedCopy(text, f"a{number % (authors or len(texts))}", "Scams", "unsafe", "en", NOW)
        for number, text in enumerate(texts)
    ]


def mined(texts: Sequence[str], **other: Any) -> list[MinedCluster]:
    """The clusters of texts that were confirmed."""
    return mine(
        confirmed(texts),
        k=other.get("k", K),
        vocabulary=other.get("vocabulary") or vocabulary(),
        harmless=other.get("harmless", ()),
    ).clusters


def candidates(texts: Sequence[str]) -> list[PatternCandidate]:
    """What a draft of these texts has."""
    return read_draft(draft(mined(texts), matches=lambda _cluster: 0, by="ann"))


def feed(
    texts: Sequence[str] = (), *, before: Feed | None = None, member: str = "north", **fields: Any
) -> Feed:
    """A feed with the patterns of these texts."""
    made = next_feed(
        CIRCLE, member, before, candidates(texts) if texts else [], chance=random.Random(1), now=NOW
    )
    return made.model_copy(update=fields)


def sealed(one: Feed, key: tuple[bytes, bytes] = NORTH) -> bytes:
    """A feed as it travels."""
    return seal(one, key[0])


def circle_with(**fields: Any) -> Circle:
    """The circle, changed."""
    return CIRCLE.model_copy(update=fields)


def write_circle(folder: Path, circle: Circle = CIRCLE) -> Path:
    """A folder with the circle's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_bytes(circle.encode())
    path.chmod(0o600)
    return folder


def days(count: int) -> date:
    """So many days from today."""
    return TODAY + timedelta(days=count)
