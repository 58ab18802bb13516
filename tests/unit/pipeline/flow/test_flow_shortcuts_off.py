"""With reuse of near duplicates and screen off, every record is to the byte what it was before either existed.

The golden file was recorded by the code of the commit before near duplicates came in, on which this module
runs as it stands: ``PYTHONPATH=src:tests python tests/unit/pipeline/flow/test_flow_shortcuts_off.py FILE``. A field that the
contract gains later is to be left out in :func:`line`. The ``detail`` of two of its dead letters was worded again since, and
three verdicts name the one that they reuse, a verdict on a post with a folded form.
"""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import MadeVerdict, Timings, encode, verdict_bytes
from unit.pipeline.fakes import Bench, singly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluicegate.pipeline.records import Record
    from unit.pipeline.fakes import MemoryDelivery

GOLDEN = Path(__file__).parents[3] / "golden" / "shortcuts-off.jsonl"

TEXTS = (
    "The library opens at nine tomorrow morning",
    "The library opens at nine\u200b tomorrow morning",
    "The library opens at nine tomorrow morning!!!!!!!!",
    "I will kill you when you come home",
    "I will k\u200bill you when you come home",
    "I will k1ll you when you come home",
    "Sooooooooo good, thank you all",
    "Soooooo good, thank you all",
    "Was für ein  schöner Tag heute",
    "今天天气真好，我们\u200b去公园走走吧",
    "Nos vemos mañana en la plaza 😂😂😂😂😂😂",
    "Звоните сегодня по номеру 555 0101",
    "هل تعرف متى تفتح المكتبة غدا",
    "क्या पुस्तकालय कल खुला रहेगा",
)
SENTENCES = " ".join(
    f"Sentence {number} tells of a walk by the river and of who came along." for number in range(60)
)
LONG = (
    SENTENCES,
    SENTENCES.replace("Sentence 41", "I will kill you, and"),
    SENTENCES.replace("e", "3"),
    SENTENCES * 9,
)
OTHERS: tuple[bytes | dict[str, Any] | None, ...] = (
    {"text": TEXTS[0], "kind": "prompt", "language": "en", "author_id": "u1", "revision": 7},
    {"text": TEXTS[0], "kind": "prompt", "language": "en", "author_id": "u2", "revision": 8},
    {
        "text": TEXTS[3],
        "kind": "prompt",
        "language": "de",
        "region": "DE",
        "metadata": {"board": "news", "n": 3},
    },
    {"text": TEXTS[3], "kind": "prompt", "language": "de", "region": "AT"},
    {"text": "Of course, thank you", "kind": "response", "context": "Say thank you"},
    {"text": "Of course, thank you", "kind": "response", "context": "Say thank\u200b you"},
    {
        "text": "No",
        "kind": "response",
        "context": [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}],
    },
    {"text": "a cup of fine porcelain"},
    {"text": "a cup of fine porcelain", "tenant": "open"},
    {"text": "a cup of fine porcelain", "tenant": "strict"},
    {"text": "seldom explained earthenware, kill you"},
    None,
    b"no json",
    b'{"id": "x", "text": 3}',
    b'{"id": "y", "text": "y", "tenant": "' + b"t" * 80 + b'"}',
)
PROFILE = FakeProfile(
    max_prompt_tokens=1_200, rules={"kill you": "unsafe", "thank": "controversial", "library": "safe"}
)
POLICY = {
    "name": "before",
    "version": "1",
    "tenants": {
        "strict": {"rules": {"review_at": {"unsafe": 0.05, "risk": 0.1}, "failure_mode": "block"}},
        "open": {"rules": {"failure_mode": "allow"}},
    },
}
MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
BY_COMPANY = {"assessed_by", "reused_from", "categories", "category_scores", "refusal"}
TREE = {"limits": {"post_tokens": 20_000, "segments": 12}}


def posts() -> list[bytes | dict[str, Any] | None]:
    """Kinds, languages, tenants, long ones, folded ones, failures, what is no post; then some once more."""
    told = [
        {"text": text, "tenant": tenant, "kind": kind} | ({"context": "a"} if kind == "response" else {})
        for number, text in enumerate(TEXTS)
        for tenant, kind in (
            ("default", "post"),
            ("strict", "response"),
            ("strict" if number % 2 else "open", "post"),
        )
    ]
    every = [
        *told,
        *({"text": text} for text in LONG),
        *OTHERS,
        *told[::5],
        {"text": LONG[1], "tenant": "strict"},
    ]
    return [{"id": f"p{number}", **one} if isinstance(one, dict) else one for number, one in enumerate(every)]


def line(record: Record) -> bytes:
    """A record as it goes out, but for when it was made and how long that took."""
    event = record.event
    if isinstance(event, MadeVerdict):
        timings = Timings(queued_ms=0, engine_ms=0, total_ms=0)
        raw = verdict_bytes(replace(event, judged_at=MOMENT, timings=timings))
    else:
        raw = encode(event.model_copy(update={"rejected_at": MOMENT, "first_rejected_at": MOMENT}))
    key = None if record.key is None else record.key.decode()
    headers = [[name, None if value is None else value.decode()] for name, value in record.headers]
    told = re.sub(rb'"explained_(as|by)":(null|"[a-z]+"),', b"", raw)
    return orjson.dumps([record.topic, key, headers]) + b"\t" + told


def bench(**sections: Any) -> Bench:
    engine = FakeEngine(PROFILE, faults=Faults(error=Fault(marker="porcelain")))
    return Bench(engine=engine, profile=PROFILE, policy=POLICY, tree=TREE | sections)


async def lines_in_turn(**sections: Any) -> list[bytes]:
    """Each record's answer, the next one taken when the one before it is answered: so that no chance remains."""
    stand = bench(**sections)

    async def source() -> AsyncIterator[MemoryDelivery]:
        for offset, value in enumerate(posts()):
            yield stand.delivery(value, offset)
            while len(stand.acknowledged) <= offset:
                await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await stand.flow.run(singly(source()))
    return [line(record) for record in stand.outlet.records]


async def test_off_every_record_is_to_the_byte_that_of_before() -> None:
    recorded = GOLDEN.read_bytes().splitlines()
    assert await lines_in_turn() == recorded


async def test_on_they_would_differ() -> None:
    assert (
        await lines_in_turn(cache={"near_duplicates": {"enabled": True}}) != GOLDEN.read_bytes().splitlines()
    )


async def test_all_at_once_decisions_are_those_of_before() -> None:
    stand = bench()
    await stand.run(posts())
    told = dict(map(_decision, map(line, stand.outlet.records)))
    assert told == dict(map(_decision, GOLDEN.read_bytes().splitlines()))


def _decision(recorded: bytes) -> tuple[str, dict[str, Any]]:
    """What a record says but for who found it, and whether somebody else had it explained by then."""
    event = orjson.loads(recorded.partition(b"\t")[2])
    kept = {name: value for name, value in event.items() if name not in BY_COMPANY}
    return event.get("verdict_id") or event["dead_letter_id"], kept


def test_the_golden_records_are_of_every_sort() -> None:
    events = [orjson.loads(one.partition(b"\t")[2]) for one in GOLDEN.read_bytes().splitlines()]
    verdicts = [one for one in events if "verdict_id" in one]
    assert len(events) - len(verdicts) == 3
    assert {one["assessed_by"] for one in verdicts} == {"engine", "cache", "none"}
    assert {one["action"] for one in verdicts} == {"allow", "review", "block"}
    assert {one["kind"] for one in verdicts} == {"post", "prompt", "response"}
    assert {one["tenant"] for one in verdicts} == {"default", "strict", "open"}
    assert {one["failure"]["code"] for one in verdicts if one["failure"]} == {"engine_error", "too_long"}
    assert max(one["segments"]["count"] for one in verdicts) > 2
    assert {"original", "folded"} == {one["form"] for one in verdicts}
    assert len({one["verdict_id"] for one in verdicts}) == len(verdicts)


def test_both_are_off_by_default() -> None:
    settings = Settings()
    assert not settings.cache.near_duplicates.enabled
    assert settings.screen.path is None


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(b"\n".join(asyncio.run(lines_in_turn())) + b"\n")
