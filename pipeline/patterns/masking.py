"""Masking: what may stand for a person in a text goes before anything is hashed. Pure.

Two looks that share nothing. :func:`masked` goes by shapes: addresses, whatever has a digit, mentions, and names as they
are given or written. :class:`CommonWords` goes by use: a word that few other authors write is nobody's but theirs.
"""

from __future__ import annotations

import re
from collections import defaultdict

from sluicegate.pipeline.patterns.sketch import BARRIER, words_of

_ADDRESS = re.compile(r"[@#/\\_]|[^\W_][.:=&][^\W_]")
"""In a run without blanks: a mention, a tag, a link, a path, a host name, a mail address."""
_DIGIT = re.compile(r"\d")
_RUN = re.compile(r"\S+")
_NOT_LATIN = re.compile(r"[^\x00-\u024f]")
_NEAR_ADDRESS, _NEAR_DIGIT = 24, 2
"""Characters that go on each side where blanks do not end words, as in Chinese."""

_CUES = re.compile(
    r"\b(?:mr|mrs|ms|dr|prof|herr|frau|señor|señora|sr|sra|monsieur|madame|mme|dear|hi|hello|hey|hallo|hola|bonjour"
    r"|lieber|liebe|querido|querida|name is|called|i am|i'm|this is|heiße|ich bin|me llamo|je suis|je m'appelle)\s+",
    re.IGNORECASE,
)
"""What stands before a name. The word after it goes, and the next one if it begins with a capital letter."""
_SPELT = "(?:zero|one|two|three|four|five|six|seven|eight|nine|oh|null|eins|zwei|drei|vier|fünf|sechs|sieben|acht|neun)"
_SPELT_RUN = re.compile(rf"\b{_SPELT}(?:[\s,-]+{_SPELT}\b){{2,}}", re.IGNORECASE)
"""Three and more digits in words."""

GIVEN_NAMES = frozenset(
    """
    aaron adam ahmed aisha alberto alejandro alex alexander alexandra alfred ali alice alicia amina amy ana
    andrea andreas andrew andrey angela anita anja ann anna anne antoine anton antonio arthur barbara ben
    benjamin bernd bianca boris brian bruno camille carla carlos carmen caroline catherine cecilia charles
    charlotte chen chloe chris christian christina christine christopher clara claudia daniel daniela david
    deborah denis diana diego dieter dmitri dominik dorothea edgar eduardo elena elias elisabeth elizabeth emil
    emilia emily emma eric erik ernst esther eva fatima felix fernando florian francesca francisco frank franz
    fred frieda gabriel gabriela george georg gerd gloria greta guillaume hannah hans harry hassan heidi heike
    heinz helena helene henri henry hugo ibrahim ines inga ingrid irene isabel isabella ivan jack jacob jakob
    james jan jana jane jason javier jean jens jessica joachim joan johann johanna john jonas jonathan jorge
    jose joseph juan juana judith julia julian julie jürgen karen karin karl karla katharina katja kevin klaus
    konrad kurt lara larissa laura lea lena leo leon leonie lilian lina linda lisa louis louise luca lucas lucia
    luis luisa lukas luke manfred manuel manuela marc marcel marco marcus margaret maria mariam marie marina
    mario marion marta martha martin martina mateo matthew matthias maurice maximilian maya melanie mehmet
    michael michelle miguel mikhail mila mohamed mohammed monika mustafa nadia natalia nathalie nicolas nicole
    nina noah nora norbert olga oliver olivia omar oscar otto pablo patricia patrick paul paula pedro peter
    petra philip philipp pierre rachel rafael rainer ralf raquel rebecca reinhard renate ricardo richard robert
    roberto roland rosa ruth sabine samuel sandra sara sarah sebastian sergei simon simone sofia sonja sophia
    sophie stefan stefanie stephanie stephen steven susan susanne svenja sven tamara tanja tatiana teresa theo
    theresa thomas thorsten tim timo tobias tom ulrich ulrike ursula valentina vanessa vera veronika victor
    victoria viktor vincent vladimir walter wei werner wilhelm william wolfgang xavier yasmin yusuf yvonne zoe
    """.split()  # noqa: SIM905 - a list would be a name a line
)
"""Given names that are seldom anything else. No list has them all; that is what the vocabulary is for."""


def masked(text: str) -> str:
    """A text with a barrier in place of whatever may stand for a person.

    Args:
        text: Any text.
    """
    gone = [False] * len(text)
    for run in _RUN.finditer(text):
        _mask_run(run, gone)
    for cue in _CUES.finditer(text):
        _mask_words(text, cue.end(), gone)
    for spelt in _SPELT_RUN.finditer(text):
        _mask(gone, *spelt.span())
    return "".join(BARRIER if out else one for one, out in zip(text, gone, strict=True))


def _mask_run(run: re.Match[str], gone: list[bool]) -> None:
    """Mask a run of characters without blanks if it holds an address or a digit, or begins with a given name."""
    word = run[0]
    bare = word.strip("\"'.,;:!?()[]*").removesuffix("'s").lower()
    if bare in GIVEN_NAMES:
        _mask_words(run.string, run.start(), gone)
    if not (_ADDRESS.search(word) or _DIGIT.search(word)):
        return
    if not _NOT_LATIN.search(word):
        _mask(gone, *run.span())
        return
    for pattern, near in ((_ADDRESS, _NEAR_ADDRESS), (_DIGIT, _NEAR_DIGIT)):
        for found in pattern.finditer(word):
            at = run.start() + found.start()
            _mask(gone, max(run.start(), at - near), min(run.end(), at + near + 1))


def _mask_words(text: str, start: int, gone: list[bool]) -> None:
    """Mask a word, and those after it that begin with a capital letter; the next one in any case after a small one."""
    first = _RUN.match(text, start)
    if first is None:
        return
    _mask(gone, *first.span())
    small, at = first[0][:1].islower(), first.end()
    while text[at - 1] not in ".!?" and (following := _RUN.search(text, at)) is not None:
        if not following[0][:1].isupper() and not small:
            return
        _mask(gone, *following.span())
        small, at = False, following.end()


def _mask(gone: list[bool], start: int, end: int) -> None:
    gone[start:end] = [True] * (end - start)


class CommonWords:
    """Words that many authors of an institution use: what is in it stands for nobody.

    Args:
        least_authors: Different authors that use a word in small letters.
    """

    CAPITALS = 4
    """A word that is only ever written with a capital letter needs so many times the authors: it may be a name."""

    def __init__(self, least_authors: int) -> None:
        self._least = least_authors
        self._small: defaultdict[bytes, set[str]] = defaultdict(set)
        self._any: defaultdict[bytes, set[str]] = defaultdict(set)

    def add(self, text: str, author: str) -> None:
        """Take in a text of an author."""
        for run in _RUN.findall(text):
            capital = run.lstrip("\"'([*")[:1].isupper()
            for word in words_of(run):
                if len(self._any[word]) < self._least * self.CAPITALS:
                    self._any[word].add(author)
                if not capital and len(self._small[word]) < self._least:
                    self._small[word].add(author)

    def knows(self, word: bytes) -> bool:
        """True if it is a common word."""
        small = self._small.get(word, ())
        return len(small) >= self._least or len(self._any.get(word, ())) >= self._least * self.CAPITALS

    def masked(self, text: str) -> str:
        """A text, masked already, with a barrier in place of every word that is not common."""
        parts = []
        at = 0
        for run in re.finditer(rf"[^\s{BARRIER}]+", text):
            parts.append(text[at : run.start()])
            at = run.end()
            words = words_of(run[0])
            parts.append(run[0] if all(map(self.knows, words)) else BARRIER)
        return "".join([*parts, text[at:]])
