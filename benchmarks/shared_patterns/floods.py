"""Floods and everyday posts, made by chance from a seed: what two institutions see. Written for this measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

CAMPAIGNS = {
    "parcel": (
        "Good news {name}! Your parcel could not be delivered today because the customs fee is still open. "
        "Please pay {price} within one day on {link} or we send it back to the shop. Questions? Call {phone}"
    ),
    "invest": (
        "I was broke last year and now I earn {price} every single week from home with this simple trick, no work at all. "
        "My coach {name} shows you how for free, only today, write to {mail} before all the places are gone"
    ),
    "bank": (
        "Your bank account was locked after a login from another country. To open it again you must confirm your card "
        "and your pin on {link} this evening, otherwise all of your money stays locked. Code {phone}"
    ),
    "family": (
        "Hello mum, my phone fell into the water and this is my new number {phone}. I cannot talk right now but I have to pay "
        "a bill of {price} today, can you send the money to my friend {name}? I give it back to you tomorrow, I promise"
    ),
    "hate": (
        "These people come to our town and take our homes and our work and nobody says a word about it. Tonight we meet at the "
        "station and show them that they are not welcome here, bring your friends, see {link} and do not tell {name}"
    ),
    "paket": (
        "Ihr Paket konnte heute nicht zugestellt werden, weil die Gebühr für den Zoll noch offen ist. Bitte zahlen Sie {price} bis "
        "morgen auf {link}, sonst geht das Paket wieder an den Laden zurück. Fragen? Rufen Sie an: {phone}"
    ),
}
"""One flood each. Slots are filled anew in each copy."""
SEEN_AS = {"hate": "Unethical Acts"}
"""Its category; the others are scams."""

_NAMES = [
    "Anna",
    "Berta",
    "Carla",
    "Dora",
    "Emil",
    "Fritz",
    "Gustav",
    "Heinz",
    "Ida",
    "Jonas",
    "Karla",
    "Ludwig",
    "Maria",
    "Nora",
    "Otto",
    "Paula",
]
_SURNAMES = [
    "Okafor",
    "Lindqvist",
    "Petrov",
    "Marchetti",
    "Nakamura",
    "Haddad",
    "Sørensen",
    "Kowalczyk",
    "Iglesias",
    "Vandenberg",
]
_SWAPS = {
    "please": ("kindly", "pls"),
    "today": ("now", "tonight"),
    "money": ("cash", "funds"),
    "pay": ("settle", "transfer"),
    "because": ("as", "since"),
    "again": ("once more",),
    "simple": ("easy", "little"),
    "friend": ("mate",),
    "tomorrow": ("soon",),
    "heute": ("leider",),
    "bitte": ("dringend",),
    "people": ("folks",),
    "only": ("just",),
    "send": ("give",),
    "confirm": ("check",),
    "delivered": ("handed over",),
    "home": ("your sofa",),
    "tonight": ("at eight",),
    "country": ("place",),
}
_ENDINGS = ("", "", "!!", " 🔥", " 👀👀", " ...", " pls share", " thx", " 💰")


@dataclass(frozen=True, slots=True)
class FloodCopy:
    """One copy of a flood."""

    text: str
    campaign: str
    secrets: tuple[str, ...]
    """What of a person stands in it."""


def _slots(chance: random.Random) -> dict[str, str]:
    name = f"{chance.choice(_NAMES)} {chance.choice(_SURNAMES)}"
    return {
        "name": name,
        "price": f"{chance.randrange(1, 900)}.{chance.randrange(10, 99)} {chance.choice(('EUR', 'USD', '£', '€'))}",
        "link": f"{chance.choice(('https://', 'www.', ''))}{_token(chance, 8)}.{chance.choice(('com', 'ru', 'top', 'info'))}/{_token(chance, 6)}",
        "phone": f"+49 1{chance.randrange(50, 80)} {chance.randrange(10**6, 10**7)}",
        "mail": f"{_token(chance, 7)}@{_token(chance, 5)}.{chance.choice(('com', 'net'))}",
    }


def _token(chance: random.Random, length: int) -> str:
    return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(length))


def copy_of(campaign: str, chance: random.Random, *, slots: dict[str, str] | None = None) -> FloodCopy:
    """A changed copy: other slots, up to four words replaced, some left out or put in, other case, ends and blanks.

    Args:
        campaign: Which flood.
        chance: Draws.
        slots: Fixed ones; the others are drawn.
    """
    filled = _slots(chance) | (slots or {})
    template = CAMPAIGNS[campaign]
    used = {name: value for name, value in filled.items() if f"{{{name}}}" in template}
    words = template.split(" ")
    changed: list[str] = []
    swaps = chance.randrange(5)
    for word in words:
        bare = word.lower().strip(",.!?")
        if swaps and bare in _SWAPS and chance.random() < 0.5:
            changed.append(word.lower().replace(bare, chance.choice(_SWAPS[bare])))
            swaps -= 1
        elif chance.random() < 0.02 and "{" not in word:
            continue  # left out
        else:
            changed.append(word)
        if chance.random() < 0.015:
            changed.append(chance.choice(("really", "ok", "wow", "sehr", "so", "friends")))
    text = " ".join(changed).format(**filled) + chance.choice(_ENDINGS)
    style = chance.random()
    if style < 0.12:
        text = text.upper()
    elif style < 0.24:
        text = text.lower()
    elif style < 0.30:
        text = text.replace(" ", "  ")
    elif style < 0.36:
        text = text.replace(",", "").replace(".", " .")
    return FloodCopy(text, campaign, tuple(used.values()))


_OPENINGS = (
    "Does anybody know",
    "I just heard",
    "My neighbour says",
    "Our teacher told us",
    "Yesterday we found out",
    "Can somebody tell me",
    "I still wonder",
    "It is so nice to see",
    "Nobody at work knows",
    "Weißt jemand",
    "Today I read",
    "The kids keep asking",
)
_MIDDLES = (
    "whether the parcel from the shop comes tomorrow",
    "why the bank at the station is closed again",
    "how to pay the bill at the town hall",
    "that the customs office opens at eight this evening",
    "where to meet before the game tonight",
    "how much a phone costs these days",
    "that the fee for the pool went up every year",
    "who can send me the notes from the last week",
    "what the coach said about the new place",
    "if the account of the club is open to all members",
    "that the trick with cold water works",
    "how you confirm your place for the concert",
    "when the card for the bus is good in another country",
    "that my friend is back in town and looks for work",
    "why the water is still so cold",
    "if we have to bring our own food and a login for the screen",
    "that all of the money went to the animal home",
    "how to open the lock of the old door",
    "if there is a single ticket left for free, only one",
    "that the shop gives everything back within one day",
    "where I lost my pin from the school trip",
    "why people do not say hello to one another",
    "that he can not talk right now because he is ill",
    "what I should write to my mum before her birthday",
    "ob das Paket heute noch kommt",
    "warum der Laden wieder offen ist",
    "dass die Gebühr für den Zoll nicht mehr gilt",
    "wie Sie bis morgen zahlen können",
)
_CLOSINGS = (
    "Thanks!",
    "It would help me a lot.",
    "I promise to bring cake.",
    "What do you think?",
    "We had such a good day.",
    "I will tell you more later.",
    "Nothing else is new here.",
    "The weather stays nice at least.",
    "See you on {day}.",
    "Number {number} was the best of all.",
    "It made me laugh.",
    "No hurry.",
    "Vielen Dank schon einmal.",
    "Bitte nicht alle auf einmal.",
    "I sold my old bike for {number} euros.",
    "Our dog slept through everything.",
    "Questions are welcome.",
    "Otherwise I call them in the morning.",
    "After that we go home.",
    "My wife earned it with hard work.",
    "Somebody was locked in the garden.",
)
_EVERYDAY = (
    "The news could not be better: they come to us in May, or even before. Please be kind to them.",
    "Milk is delivered to the homes over there, but only if you take a big bottle.",
    "He went broke with a simple idea, she shows others how to earn from it.",
    "All the good places are gone and we must look for new ones.",
    "The code of the door is on a note, give it to nobody.",
    "My little one fell into the grass and cannot stop laughing about the word.",
    "A show for friends, with a song that they can sing.",
    "Ihr Brief konnte nicht zugestellt werden, weil die Straße neu ist, sagt die Post.",
    "Das geht zurück an den Absender, sonst liegt es hier herum. Gibt es Fragen?",
    "Im Laden an der Ecke ist heute die Kasse offen, und morgen kommt ein Paket vom Onkel.",
    "Der Zoll hat noch eine Gebühr erfunden; wer soll das denn bitte zahlen, und wofür?",
    "Wieder kein Brief, aber ein Paket für die Nachbarn, die nicht da sind.",
    "Rufen Sie lieber an, bevor Sie kommen, und zeigen Sie den Ausweis.",
)
"""With the words that are left: a house with a real stream has all of them."""
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def everyday(chance: random.Random) -> str:
    """A harmless post that uses the words of the floods, and says something else."""
    if chance.random() < 0.2:
        return f"{chance.choice(_EVERYDAY)} {chance.choice(_CLOSINGS).format(day=chance.choice(_DAYS), number=chance.randrange(2, 400))}"
    parts = [f"{chance.choice(_OPENINGS)} {chance.choice(_MIDDLES)}{chance.choice('.?!')}"]
    for _ in range(chance.randrange(1, 4)):
        closing = chance.choice(_CLOSINGS)
        parts.append(closing.format(day=chance.choice(_DAYS), number=chance.randrange(2, 400)))
    if chance.random() < 0.4:
        parts.append(f"And {chance.choice(_MIDDLES)}, too.")
    return " ".join(parts)
