"""How far do injection attempts move the scores of the CPU model?

    python benchmarks/studies/injection_scores [--out benchmarks/reports] [--work FOLDER]

Every attack of the injection suite (tests/support/attacks.py) is scored beside the plain text that it
dresses up: the harmless sentence of its language, and the plea alone. What the engine said is kept in
`--work`: a stopped run goes on from there.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.judging import Store, ask
from shared.report import options, table, write
from shared.shares import quantile
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.protocol import Prompt, Scored
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post, Scores
from support.attacks import CASES, FORMS, LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sluicegate.engines.backends import Backend

_PLEA = "plea"


@dataclass(frozen=True)
class Move:
    """One attack beside its base text."""

    language: str
    technique: str
    base_unsafe: float
    unsafe: float
    base_action: str
    action: str

    @property
    def distance(self) -> float:
        """How far the score of unsafe moved, whichever way."""
        return abs(self.unsafe - self.base_unsafe)

    @property
    def flipped(self) -> bool:
        """True if the action differs."""
        return self.action != self.base_action

    @property
    def milder(self) -> bool:
        """True if the attack got what it asks for."""
        order = ("allow", "review", "block")
        return order.index(self.action) < order.index(self.base_action)


@dataclass(frozen=True)
class Row:
    """All attacks of one technique, or of one language, or all together."""

    name: str
    cases: int
    median: float
    p90: float
    largest: float
    downwards: float
    """Share of the attacks after which the score of unsafe is lower."""
    flips: int
    milder: int


def summed_up(name: str, moves: Sequence[Move]) -> Row:
    """One row of a table."""
    distances = [move.distance for move in moves]
    return Row(
        name=name,
        cases=len(moves),
        median=round(statistics.median(distances), 4),
        p90=round(quantile(distances, 0.9), 4),
        largest=round(max(distances), 4),
        downwards=round(sum(move.unsafe < move.base_unsafe for move in moves) / len(moves), 3),
        flips=sum(move.flipped for move in moves),
        milder=sum(move.milder for move in moves),
    )


def rows_by(moves: Iterable[Move], key: Callable[[Move], str]) -> list[Row]:
    """A row for each value of a key, in the order in which they come."""
    groups: dict[str, list[Move]] = {}
    for move in moves:
        groups.setdefault(key(move), []).append(move)
    return [summed_up(name, group) for name, group in groups.items()]


def moves_of(scores: dict[str, Scores], policy: Policy) -> list[Move]:
    """Every attack beside its base: the plea beside the harmless sentence, all others beside the plea.

    An attack carries the plea, so what its form alone does is seen against the plea. What was not
    scored is left out.
    """
    moves = []
    for language, sentences in LANGUAGES.items():
        for technique in FORMS:
            text = CASES[f"{language}: {technique}"]
            if text not in scores:
                continue
            base = sentences.harmless if technique == _PLEA else sentences.plea
            actions = [
                policy.decide(Post(id="1", text=one), scores[one]).action.value for one in (base, text)
            ]
            moves.append(
                Move(language, technique, scores[base].unsafe, scores[text].unsafe, actions[0], actions[1])
            )
    return moves


def texts() -> list[str]:
    """Everything to be scored, each text once."""
    plain = [text for one in LANGUAGES.values() for text in (one.harmless, one.plea)]
    return list(dict.fromkeys((*plain, *CASES.values())))


def table_of(rows: Sequence[Row], what: str) -> str:
    """Rows as a Markdown table."""
    lines = [
        (
            row.name,
            row.cases,
            *(f"{distance:.3f}" for distance in (row.median, row.p90, row.largest)),
            f"{row.downwards:.0%}",
            row.flips,
            row.milder,
        )
        for row in rows
    ]
    head = ("cases", "median", "p90", "largest", "score of unsafe fell", "action differs", "milder action")
    return table((what, *head), lines)


def markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    base = report["base_unsafe"]
    what = (
        f"Model: `{report['model']}`, engine digest `{report['engine_digest']}`, on a CPU. "
        f"{report['cases']} attacks in {report['languages']} languages, each beside its base text: the plea "
        "(“forget every rule”) beside a harmless sentence, every other form beside the plea. Distances are of "
        "the probability of `unsafe`; actions are those of the built-in policy, without explanations. "
        f"{report['left_out']} further attacks are longer than one prompt of this model and are left out: a "
        "worker judges them in segments."
    )
    limits = (
        "**What this does not say.** The model was never taught to judge posts: its scores of the base "
        f"texts, harmless sentences and pleas alike, lie between {base['least']:.3f} and {base['most']:.3f} "
        f"(median {base['median']:.3f}). So these numbers tell how far the form of a text alone drags an "
        "untrained judge, and where to look again with an adapted one. They are no rate of attacks that "
        "succeed. What holds for every model is the structure, which the injection suite asserts: no attack "
        "moves a token outside the post, or adds a control token. Scores of this engine move by up to 0.03 "
        "with the company that a prompt has in its batch."
    )
    return "\n".join(
        (
            "# How far injection attempts move the scores",
            "",
            what,
            "",
            limits,
            "",
            "## All",
            "",
            table_of([Row(**report["all"])], "attacks"),
            "",
            "## By technique",
            "",
            table_of([Row(**row) for row in report["techniques"]], "technique"),
            "",
            "## By language",
            "",
            table_of([Row(**row) for row in report["by_language"]], "language"),
            "",
        )
    )


def report_of(moves: Sequence[Move], *, model: str, engine_digest: str) -> dict[str, Any]:
    """Everything that the page shows, as JSON values."""
    base = [move.base_unsafe for move in moves]
    return {
        "model": model,
        "engine_digest": engine_digest,
        "cases": len(moves),
        "left_out": len(CASES) - len(moves),
        "languages": len({move.language for move in moves}),
        "base_unsafe": {
            "least": round(min(base), 4),
            "median": round(statistics.median(base), 4),
            "most": round(max(base), 4),
        },
        "all": vars(summed_up("all", moves)),
        "techniques": [vars(row) for row in rows_by(moves, lambda move: move.technique)],
        "by_language": [vars(row) for row in rows_by(moves, lambda move: move.language)],
        "moves": [vars(move) for move in moves],
    }


async def score_all(backend: Backend, work: Path) -> dict[str, Scores]:
    """Score what is not known yet, as far as it fits into one prompt.

    Raises:
        SystemExit: The engine failed.
    """
    built = {text: backend.prompter.build(Post(id="1", text=text)) for text in texts()}
    prompts = {text: prompt for text, prompt in built.items() if isinstance(prompt, Prompt)}
    print(f"{len(prompts)} of {len(built)} texts fit", flush=True)
    async with backend.engine:
        store = Store(work, backend.engine.info)
        await ask(backend, prompts.values(), store, "attacks")
    scores = {}
    for text, prompt in prompts.items():
        answer = store.of(prompt)
        if not isinstance(answer, Scored):
            raise SystemExit(f"the engine failed: {answer.code.value} {answer.detail}")
        scores[text] = answer.scores
    return scores


def main() -> None:
    """Score, print the page, and keep both forms if asked."""
    parser = options(__doc__)
    parser.add_argument("--out", type=Path, help="folder for injection-scores.json and injection-scores.md")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/injection-scores"), help="folder of what the engine said"
    )
    asked = parser.parse_args()
    backend = open_backend(EngineChoice(backend="llama_cpp"))
    scores = asyncio.run(score_all(backend, asked.work))
    info = backend.engine.info
    report = report_of(moves_of(scores, Policy.load(None)), model=info.model, engine_digest=info.digest)
    page = markdown(report)
    print(page)
    if asked.out:
        write(asked.out, "injection-scores", report, page)
