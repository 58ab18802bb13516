"""The report of an experiment, from its summary alone: a Markdown page, an HTML page without anything outside, and plots.

Loads matplotlib when it draws. The texts are made once, as blocks, and both pages are renderings of these.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final

from sluicegate.engines.adapt.report import draw_picture, plain, table
from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.shadow import evidence
from sluicegate.pipeline.shadow.summary import FORMAT, covered, engine_s_per_1000, known_contents
from sluicegate.pipeline.shadow.tally import Dimension

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

PLOTS: Final = {
    "shadow-coverage.png": "Share of the contents that both judged, over time",
    "shadow-disagreement.png": "Disagreement by direction over time, and the bounds of the share that is milder",
    "shadow-cost.png": "Seconds of the engine's time for 1,000 posts",
}
"""Files and what they show."""

_ROWS = 40  # of one table of strata; the JSON document has all
_UNKNOWN = "–"
_OUTCOMES = {
    "agree": "both say the same",
    "candidate_stricter": "the candidate is stricter",
    "candidate_permissive": "the candidate is milder",
    "incumbent_failed": "the incumbent failed",
    "candidate_failed": "the candidate failed",
    "both_failed": "both failed",
    "incumbent_missing": "no verdict of the incumbent",
    "candidate_missing": "no verdict of the candidate",
}
_UNJOINED = {
    "late": "came too late to be compared",
    "ahead": "came from the future, by their clock",
    "waiting": "wait for the other one's",
    "crowded_out": "among the missing: given up early, for want of room",
    "foreign": "by neither of the two: another engine or policy",
}
_REVIEWED = {
    "candidate_right": "the candidate was right",
    "incumbent_right": "the incumbent was right",
    "both_right": "both were right",
    "neither_right": "neither was right",
}
_RULINGS = {
    "certified": "All terms are shown: the candidate may be certified.",
    "rejected": "The candidate is rejected.",
    "open": "Not decided yet. More posts may show what is missing.",
}


@dataclass(frozen=True, slots=True)
class _Heading:
    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class _Line:
    text: str


@dataclass(frozen=True, slots=True)
class _Points:
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Rows:
    head: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str


_Block = _Heading | _Line | _Points | _Rows | _Picture


def markdown(document: Mapping[str, Any]) -> str:
    """The report as a Markdown page. It names the pictures of :data:`PLOTS`, which :func:`draw` makes.

    Raises:
        CandidateError: The document is of another format.
    """
    return "\n\n".join(map(_as_markdown, _blocks(document))) + "\n"


def html(document: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The report as one HTML file that loads nothing.

    Args:
        document: The summary of an experiment.
        pictures: PNG files by their name in :data:`PLOTS`. One that is missing is left out.

    Raises:
        CandidateError: The document is of another format.
    """
    body = "\n".join(_as_html(block, pictures) for block in _blocks(document))
    title = escape(_title(document))
    return f'<!doctype html>\n<html lang="en">\n<head>\n{_HEAD}<title>{title}</title>\n</head>\n<body>\n{body}\n</body>\n</html>\n'


_HEAD = """<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 } th, td { border: 1px solid #bbb; padding: .2rem .6rem; text-align: left }
td.number, th.number { text-align: right } td { overflow-wrap: anywhere } img { max-width: 100% }
</style>
"""


def draw(document: Mapping[str, Any], folder: Path) -> None:
    """Draw all plots into a folder; each replaces an earlier one in one move.

    Raises:
        CandidateError: The document is of another format.
        OSError: The folder cannot be written to.
        ImportError: matplotlib is missing.
    """
    _require_format(document)
    for name, drawn in zip(PLOTS, (_coverage, _disagreement, _cost), strict=True):
        draw_picture(folder / name, partial(drawn, document=document), inches=(7, 3.6), dpi=110)


def _blocks(document: Mapping[str, Any]) -> Iterable[_Block]:
    _require_format(document)
    tally, terms = document["tally"], document["terms"]
    yield _Heading(_title(document), 1)
    yield _Line(_when(document))
    yield from _coverage_blocks(document)
    yield from _ruling_blocks(document)
    yield from _difference_blocks(tally, terms)
    yield from _review_blocks(document)
    for dimension in Dimension:
        yield from _stratum_blocks(document, dimension)
    yield from _cost_blocks(document)
    yield _Heading("Who was compared")
    yield _Rows(
        ("side", "engines", "policy"),
        tuple(
            (side, ", ".join(document[side]["engines"]), document[side]["policy"])
            for side in ("incumbent", "candidate")
        ),
    )


def _coverage_blocks(document: Mapping[str, Any]) -> Iterable[_Block]:
    tally, unjoined, terms = document["tally"], document["unjoined"], document["terms"]
    contents = known_contents(document)
    yield _Heading("Coverage")
    yield _Line(
        f"Both judged {_percent(covered(document))} of {contents:,} contents; {_percent(terms['min_coverage'])} are asked for. "
        "Nothing below speaks of the others: a missing verdict is no agreement."
    )
    yield _Rows(
        ("outcome", "contents"),
        tuple((said, tally["outcomes"][name]) for name, said in _OUTCOMES.items()),
    )
    if any(unjoined.values()):
        yield _Line("Verdicts that were not joined:")
        yield _Rows(
            ("why", "verdicts"), tuple((said, unjoined.get(name, 0)) for name, said in _UNJOINED.items())
        )
    yield _Picture("shadow-coverage.png")


def _ruling_blocks(document: Mapping[str, Any]) -> Iterable[_Block]:
    found, terms = document["conclusion"], document["terms"]
    yield _Heading("What is shown")
    yield _Line(_RULINGS.get(found["ruling"], found["ruling"]))
    if found["reasons"]:
        yield _Points(tuple(found["reasons"]))
    yield _Rows(
        ("term", "value"),
        (
            ("milder on less than", _percent(terms["max_permissive"])),
            ("blocks and reviews move by less than", _percent(terms["max_shift"])),
            ("posts of evidence, at least", terms["min_posts"]),
            ("both judge, at least", _percent(terms["min_coverage"])),
            ("probability of a wrong certificate, at most", _percent(terms["alpha"])),
        ),
    )


def _difference_blocks(tally: Mapping[str, Any], terms: Mapping[str, Any]) -> Iterable[_Block]:
    posts = tally["evidence_posts"]
    yield _Heading("Disagreement")
    yield _Line(
        f"{posts:,} posts are evidence: of equal and nearly equal posts one an hour. Of the others, {tally['copies']:,} are copies, "
        f"{tally['left_out']:,} came when their hour was over, and {tally['same']:,} were judged by the same engine and policy twice."
    )
    yield _Line(
        f"Each bound is wrong at some time with a probability of at most {_percent(terms['alpha'] / 2)}, however often one looks."
    )
    yield _Rows(
        ("of the evidence", "counted", "share", "lower bound", "upper bound"),
        (
            (
                "the candidate is milder",
                tally["milder"],
                _share(tally["milder"], posts),
                *map(_percent, tally["milder_share"]),
            ),
            (
                "change of the share of blocks",
                _UNKNOWN,
                _UNKNOWN,
                *map(_change, tally["blocked_change"]),
            ),
            (
                "change of the share of reviews",
                _UNKNOWN,
                _UNKNOWN,
                *map(_change, tally["reviewed_change"]),
            ),
        ),
    )
    yield _Picture("shadow-disagreement.png")
    if tally["actions"]:
        yield _Rows(("incumbent -> candidate", "contents"), tuple(tally["actions"].items()))


def _review_blocks(document: Mapping[str, Any]) -> Iterable[_Block]:
    reviews, alpha = document["reviews"], document["terms"]["alpha"]
    yield _Heading("Who is right")
    if not any(reviews.values()):
        yield _Line("Nobody has reviewed a post on which the two differ.")
        return
    wins, losses = reviews["candidate_right"], reviews["incumbent_right"]
    better = evidence.preferred(wins, losses, alpha)
    said = {
        True: "The candidate is shown to be right more often than the incumbent.",
        False: "The incumbent is shown to be right more often than the candidate.",
        None: "Neither is shown to be right more often.",
    }[better]
    yield _Line(f"{said} The reviewers saw neither action.")
    yield _Rows(("blind reviews", "posts"), tuple((text, reviews[name]) for name, text in _REVIEWED.items()))


def _stratum_blocks(document: Mapping[str, Any], dimension: Dimension) -> Iterable[_Block]:
    strata = document["tally"]["strata"][dimension.value]
    if not strata:
        return
    found = document["conclusion"]
    states = dict.fromkeys(found["shown"], "shown") | dict.fromkeys(found["unjudged"], "too few posts")
    ordered = sorted(strata.items(), key=lambda one: (-one[1]["contents"], one[0]))
    # A category is a finding: no limit for all posts is asked of it.
    other = _UNKNOWN if dimension is Dimension.CATEGORY else "open"
    yield _Heading(f"By {dimension.value}")
    yield _Rows(
        (
            dimension.value,
            "both judged",
            "contents",
            "evidence",
            "milder",
            "lower",
            "upper",
            "below the limit",
        ),
        tuple(
            (
                name,
                _percent(one["coverage"]),
                one["contents"],
                one["evidence_posts"],
                one["milder"],
                *map(_percent, one["milder_share"]),
                states.get(f"{dimension.value} {name}", other),
            )
            for name, one in ordered[:_ROWS]
        ),
    )
    if len(ordered) > _ROWS:
        yield _Line(f"{len(ordered) - _ROWS:,} more stand in the JSON document.")


def _cost_blocks(document: Mapping[str, Any]) -> Iterable[_Block]:
    yield _Heading("Cost")
    rows = []
    for side in ("incumbent", "candidate"):
        cost = document["cost"][side]
        each = engine_s_per_1000(cost)
        rows.append((side, cost["posts"], _UNKNOWN if each is None else f"{each:.2f}"))
    yield _Rows(("side", "posts judged", "engine seconds per 1,000 posts"), tuple(rows))
    yield _Picture("shadow-cost.png")


def _as_markdown(block: _Block) -> str:
    match block:
        case _Heading(text, level):
            return f"{'#' * level} {plain(text)}"
        case _Line(text):
            return plain(text)
        case _Points(texts):
            return "\n".join(f"- {plain(one)}" for one in texts)
        case _Rows(head, rows):
            return table(head, rows)
        case _Picture(name):
            return f"![{plain(PLOTS[name])}]({name})"


def _as_html(block: _Block, pictures: Mapping[str, bytes]) -> str:
    match block:
        case _Heading(text, level):
            return f"<h{level}>{escape(text)}</h{level}>"
        case _Line(text):
            return f"<p>{escape(text)}</p>"
        case _Points(texts):
            return "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in texts) + "</ul>"
        case _Rows(head, rows):
            return _html_table(head, rows)
        case _Picture(name):
            if name not in pictures:
                return ""
            data = b64encode(pictures[name]).decode()
            return f'<p><img alt="{escape(PLOTS[name])}" src="data:image/png;base64,{data}"></p>'


def _html_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    right = [_is_number(cell) for cell in rows[0]] if rows else [False] * len(head)

    def line(cells: Sequence[object], tag: str) -> str:
        made = (
            f"<{tag}{' class=' + chr(34) + 'number' + chr(34) if one else ''}>{escape(_cell(cell))}</{tag}>"
            for cell, one in zip(cells, right, strict=True)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "\n".join(line(row, "td") for row in rows)
    return f"<table>\n<thead>{line(head, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return "".join(one if one.isprintable() else " " for one in text)


def _is_number(cell: object) -> bool:
    return str(cell)[:1] in "0123456789+-–"


def _coverage(axes: Any, document: Mapping[str, Any]) -> None:
    hours, points = _hours(document)
    shares = [one["compared"] / one["contents"] if one["contents"] else 0.0 for one in points]
    axes.plot(hours, shares, marker=".", label="both judged")
    axes.axhline(
        document["terms"]["min_coverage"], color="0.4", linestyle="--", linewidth=1, label="asked for"
    )
    axes.set(xlabel="hours since the first post", ylabel="share of the contents", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _disagreement(axes: Any, document: Mapping[str, Any]) -> None:
    hours, points = _hours(document)
    alpha = document["terms"]["alpha"]
    bounds = [evidence.share_bounds(one["milder"], one["posts"], alpha) for one in points]
    milder = [100 * one["milder"] / one["posts"] if one["posts"] else 0.0 for one in points]
    stricter = [100 * one["stricter"] / one["compared"] if one["compared"] else 0.0 for one in points]
    lower, upper = ([100 * bound[side] for bound in bounds] for side in (0, 1))
    axes.fill_between(hours, lower, upper, alpha=0.2, color="C3", label="bounds, right at every moment")
    axes.plot(hours, milder, color="C3", marker=".", label="milder")
    axes.plot(hours, stricter, color="C0", marker=".", label="stricter")
    limit = 100 * document["terms"]["max_permissive"]
    axes.axhline(limit, color="0.4", linestyle="--", linewidth=1, label="limit")
    # The first bounds reach from 0 to everything, and would leave a flat line of the rest.
    top = 4 * max([limit, *milder, *stricter])
    axes.set(xlabel="hours since the first post", ylabel="percent of the posts", ylim=(0, min(100, top)))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right", ncols=2)


def _cost(axes: Any, document: Mapping[str, Any]) -> None:
    sides = ("incumbent", "candidate")
    values = [engine_s_per_1000(document["cost"][side]) for side in sides]
    axes.barh(range(len(sides)), [one or 0.0 for one in values], height=0.5)
    axes.set_yticks(range(len(sides)))
    axes.set_yticklabels(
        [
            side if value is not None else f"{side} (not known)"
            for side, value in zip(sides, values, strict=True)
        ]
    )
    axes.set(xlabel="engine seconds per 1,000 posts", ylim=(len(sides) - 0.5, -0.5))
    axes.set_xlim(left=0)
    axes.grid(axis="x", alpha=0.3)


def _hours(document: Mapping[str, Any]) -> tuple[list[float], Sequence[Mapping[str, Any]]]:
    points = document["series"]
    return [(one["until_at"] - document["began_at"]) / 3_600 for one in points], points


def _title(document: Mapping[str, Any]) -> str:
    return f"Candidate {document['experiment']} beside the incumbent"


def _when(document: Mapping[str, Any]) -> str:
    began, until = (
        datetime.fromtimestamp(document[name], UTC).strftime("%Y-%m-%d %H:%M UTC")
        for name in ("began_at", "until_at")
    )
    state = document["state"] or "not registered"
    return f"State: {state}. Share of the posts: {_percent(document['share'])}. Verdicts from {began} to {until}."


def _require_format(document: Mapping[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise CandidateError(
            f"the summary has format {document.get('format')!r}, and this release reads {FORMAT}; make it with this release"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _change(share: float) -> str:
    return f"{100 * share:+.2f} %"


def _share(hits: int, of: int) -> str:
    return _percent(hits / of) if of else _UNKNOWN
