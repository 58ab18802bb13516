"""Does one harmful sentence raise the same verdict wherever it stands in a long text?

    python benchmarks/studies/long_posts [--tokens 20000] [--out benchmarks/reports]

Texts are stand-ins: ordinary sentences of our own, and one threat put at the start, in the
middle or at the end. Judged by the CPU model in overlapping segments, as the worker does; the
same texts with a fake engine that knows the threat show the segmenting apart from the model.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.report import options, write
from sluicegate.engines.adapt.report import ruled
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.protocol import Explanation, Scored
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.flow.decision import assess, worst
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post

THREAT = "If you come to the meeting I will hurt you and your whole family, and nobody will find you. "
SENTENCES = (
    "The bakery on the corner opens at seven and sells out of rye bread by nine. ",
    "We planted tomatoes in April and the first ones were ripe in the second week of July. ",
    "The number 12 bus is late again because of the road works near the station. ",
    "My sister learns the violin and practises the same three scales every evening. ",
    "Somebody left a blue umbrella in the reading room, it is at the front desk. ",
    "The recipe asks for two eggs, a cup of flour and a little patience. ",
    "After the storm the river was high but the bridge stayed open. ",
    "The chess club meets on Thursdays and welcomes beginners of any age. ",
)


@dataclass(frozen=True)
class Row:
    """One text judged."""

    engine: str
    place: str
    tokens: int
    segments: int
    deciding_holds_the_sentence: bool | None
    unsafe: float
    action: str
    seconds: float


def text_of(place: str, tokens: int, backend_tokens: int) -> str:
    """A text of about so many tokens with the threat at ``start``, ``middle``, ``end`` or nowhere."""
    count = max(3, tokens // max(1, backend_tokens // len(SENTENCES)))
    sentences = [SENTENCES[number % len(SENTENCES)] for number in range(count)]
    where = {"start": 0, "middle": count // 2, "end": count}.get(place)
    if where is not None:
        sentences.insert(where, THREAT)
    return "".join(sentences)


async def judge(choice: EngineChoice, tokens: int) -> list[Row]:
    """Judge the four texts with one engine."""
    backend, policy = open_backend(choice), Policy.load(None)
    tokenizer = backend.prompter.tokenizer
    per_round = len(tokenizer.encode_text("".join(SENTENCES)))
    rows = []
    async with backend.engine:
        for place in ("nowhere", "start", "middle", "end"):
            text = text_of(place, tokens, per_round)
            post = Post(id=place, text=text)
            built = Segmenter(backend.prompter).build_many([post], [LengthLimits(10**6, 10**4)])[0]
            if not isinstance(built, Parts):
                raise SystemExit(f"{place}: {built.detail}")
            started = time.monotonic()
            answers = await backend.engine.score([part.prompt for part in built.parts], timeout_s=1800)
            findings = [
                assess(one.scores, Explanation(()), one.scores.harm) if isinstance(one, Scored) else one
                for one in answers
            ]
            deciding = worst(post, findings, policy)
            part, found = built.parts[deciding], answers[deciding]
            if not isinstance(found, Scored):
                raise SystemExit(f"{place}: {found.code}")
            rows.append(
                Row(
                    engine=choice.backend,
                    place=place,
                    tokens=len(tokenizer.encode_text(text)),
                    segments=len(built.parts),
                    deciding_holds_the_sentence=None
                    if place == "nowhere"
                    else THREAT.strip() in text[part.start : part.end],
                    unsafe=round(found.scores.unsafe, 4),
                    action=policy.decide(post, found.scores).action.value,
                    seconds=round(time.monotonic() - started, 1),
                )
            )
            print(rows[-1], flush=True)
    return rows


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = (
        "engine",
        "sentence stands",
        "tokens",
        "segments",
        "deciding segment holds it",
        "p(unsafe)",
        "action",
    )
    holds = {None: "-", True: "yes", False: "no"}
    lines = [
        (
            row.engine,
            row.place,
            str(row.tokens),
            str(row.segments),
            holds[row.deciding_holds_the_sentence],
            f"{row.unsafe:.4f}",
            row.action,
        )
        for row in rows
    ]
    return ruled(head, lines, (False, False, True, True, False, True, False))


def main() -> None:
    """Measure, print the table, and keep both forms if asked."""
    parser = options(__doc__)
    parser.add_argument(
        "--tokens", type=int, default=20_000, help="length of the text in the CPU model's tokens"
    )
    parser.add_argument("--out", type=Path, help="folder for long-posts.json and long-posts.md")
    asked = parser.parse_args()
    rules = FakeProfile(max_prompt_tokens=8192, rules={"hurt you": "unsafe", " the ": "safe"})
    rows = asyncio.run(judge(EngineChoice(backend="fake", fake=rules), asked.tokens * 4))
    rows += asyncio.run(judge(EngineChoice(backend="llama_cpp"), asked.tokens))
    print(table(rows))
    if asked.out:
        write(asked.out, "long-posts", [asdict(row) for row in rows], table(rows) + "\n")
