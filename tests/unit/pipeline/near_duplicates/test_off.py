"""Switched off, as it is by default, nothing is reused from a near duplicate: verdicts recorded before there was such a thing.

`PYTHONPATH=tests python tests/unit/pipeline/near_duplicates/test_off.py` records anew what today's code says.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from sluicegate.engines.backends.fake import FakeProfile
from unit.pipeline.fakes import Bench

GOLDEN = Path(__file__).with_name("off.jsonl")
TEXTS = (
    "The library opens at nine tomorrow morning",
    "The library  opens at nine\u200b tomorrow morning",
    "The library opens at nine tomorrow morning!!!!!!!!",
    "I will kill you when you come home",
    "I will k\u200bill you when you come home",
    "I will k1ll you when you come home",
    "Ｉ ｗｉｌｌ kill you when you come home",
    "Sooooooooo good, thank you all",
    "Soooooo good, thank you all",
    "Was für ein schöner Tag heute",
    "Was für ein  schöner Tag heute",
    "今天天气真好，我们去公园走走吧",
    "今天天气真好，我们\u200b去公园走走吧",
    "Nos vemos mañana en la plaza 😂😂😂😂😂😂",
    "Nos vemos mañana en la plaza 😂😂😂😂😂",
    "Call 555 0100 now",
    "Call 555 0101 now",
)
PROFILE = FakeProfile(rules={"kill you": "unsafe", "thank": "controversial", "library": "safe"})
POLICY = {
    "name": "p",
    "version": "1",
    "tenants": {"strict": {"rules": {"review_at": {"unsafe": 0.05, "risk": 0.1}}}},
}

NOT_TOLD = {"verdict_id", "engine", "timings", "judged_at", "category_scores"}


def posts() -> list[dict[str, Any]]:
    told = [
        {"text": text, "tenant": tenant, "kind": kind} | ({"context": "a"} if kind == "response" else {})
        for text in TEXTS
        for tenant in ("default", "strict")
        for kind in ("post", "response")
    ]
    return [{"id": f"p{number}"} | one for number, one in enumerate(told + told[:8])]


async def verdicts() -> list[dict[str, Any]]:
    """Everything that a verdict says but for times and digests; another verdict is named by its post."""
    bench = Bench(profile=PROFILE, policy=POLICY)
    await bench.run(list(posts()))
    post_of = {verdict.verdict_id: verdict.post_id for verdict in bench.outlet.verdicts}
    told = []
    for verdict in sorted(bench.outlet.verdicts, key=lambda one: int(one.post_id[1:])):
        fields = verdict.model_dump(mode="json", exclude=NOT_TOLD, exclude_defaults=True)
        fields["policy"] = fields["policy"]["rule"]
        fields["reused_from"] = post_of.get(verdict.reused_from or "")
        told.append(fields)
    return told


async def test_off_verdicts_are_those_of_before() -> None:
    recorded = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
    assert await verdicts() == recorded
    assert {one["assessed_by"] for one in recorded} == {"engine", "cache"}


if __name__ == "__main__":
    lines = [json.dumps(one, ensure_ascii=False) for one in asyncio.run(verdicts())]
    GOLDEN.write_text("\n".join(lines) + "\n", encoding="utf-8")
