"""The pages that people read: their blocks of code, sections, tables, links and anchors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_NOT_RUN = 'title="not run: '


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    not_run: str
    """Why it is not run; empty where it is."""

    @property
    def file(self) -> str:
        """The file that the block says it is, in a comment on its first line; or nothing."""
        found = re.match(r"# ([\w-]+\.(?:py|ya?ml))\n", self.text)
        return found[1] if found else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page of the site that we write by hand or generate, reports of measurements apart."""
    first = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "helm/sluicegate/README.md")]
    return [*first, *sorted(DOCS.rglob("*.md"))]


@cache
def text(page: str | Path) -> str:
    """A page's Markdown; a bare name is one in docs/."""
    path = ROOT / page if (ROOT / page).is_file() else DOCS / f"{page}.md"
    return path.read_text(encoding="utf-8")


def flat(page: str) -> str:
    """The page on one line, for sentences that are broken over lines."""
    return " ".join(text(page).split())


@cache
def blocks(page: str | Path, language: str | None = None) -> tuple[Block, ...]:
    """The fenced blocks of a page, in their order."""
    whole = text(page)
    found = []
    for match in _FENCE.finditer(whole):
        name, _, rest = match["info"].strip().partition(" ")
        reason = rest.removeprefix(_NOT_RUN).removesuffix('"') if rest.startswith(_NOT_RUN) else ""
        line = whole.count("\n", 0, match.start()) + 1
        found.append(Block(str(page), line, name, match["text"], reason))
    return tuple(one for one in found if language in (None, one.language))


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one of any level."""
    _, found, rest = text(page).partition(f"# {heading}\n")
    assert found, f"{page}: no heading {heading!r}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def names_in_first_column(markdown: str) -> list[str]:
    """Names in code of the first column of every table in the text."""
    cells = re.findall(r"^\| (`.+?) \|", markdown, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def prose(page: str | Path) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", text(page))


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may say after the number sign, as code hosts and the site make it."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)|`", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def links(page: Path) -> list[tuple[Path, str]]:
    """Links of a page that lead into the repository: the file, and the anchor or nothing."""
    found = re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", prose(page))
    return [((page.parent / target).resolve() if target else page, anchor) for target, anchor in found]
