"""docs/policy.md: every snippet is checked or run, every table compared with the code."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.document import presets
from sluicegate.pipeline.policy.rules import Rules
from sluicegate.pipeline.settings.tree import TopicSettings
from sluicegate.schemas import Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
HEAD = 'name: snippet\nversion: "1"\n'
TOPICS = TopicSettings()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", blocks("yaml"))
def test_every_policy_on_the_page_is_in_order(snippet: str) -> None:
    text = snippet if "name: our-platform" in snippet else HEAD + snippet
    assert Policy.from_bytes(text.encode(), "snippet").digest


def test_the_page_shows_every_kind_of_block() -> None:
    assert len(blocks("yaml")) >= 7
    assert len(re.findall(r"^```", PAGE, re.MULTILINE)) == 2 * sum(
        len(blocks(language)) for language in ("yaml", "sh", "text")
    )


def test_every_rule_is_described() -> None:
    named = set(re.findall(r"`(\w+)[`:]", PAGE)) | set(re.findall(r"^ *(\w+):", PAGE, re.MULTILINE))
    assert set(Rules.model_fields) <= named


def test_the_table_of_presets_is_what_the_presets_are() -> None:
    def cell(values: dict[tuple[str | int, ...], float | None], action: str) -> str:
        both = [(name, values[action, name]) for name in ("unsafe", "risk")]
        return ", ".join(f"{name} {value:g}" for name, value in both if value is not None)

    for name, values in presets().items():
        explain_at = values[("explain_at",)]
        row = f"| `{name}` | {cell(values, 'block_at')} | {cell(values, 'review_at')} | {explain_at:g} |"
        assert row in PAGE


def test_the_faults_that_are_shown_are_what_is_said() -> None:
    shown = blocks("text")[0].splitlines()
    head = HEAD + "\n" * 2
    broken = head + "rules:\n  block_at:\n    unsafe: 1.5\n\n  blok_at: {unsafe: 1}\n"
    with pytest.raises(InvalidPolicyError) as refused:
        Policy.from_bytes(broken.encode(), "policy.yaml")
    assert [fault.sentence("policy.yaml") for fault in refused.value.faults] == shown[:2]
    unreachable = HEAD + "\n" * 7 + "rules:\n  block_at: {unsafe: 0.8}\n  review_at: {unsafe: 0.9}\n"
    with pytest.raises(InvalidPolicyError) as refused:
        Policy.from_bytes(unreachable.encode(), "policy.yaml")
    assert [fault.sentence("policy.yaml") for fault in refused.value.faults] == shown[2:]


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    async with EmbeddedBroker(topics=list(TOPICS.model_dump().values())) as started:
        yield started


@pytest.mark.timeout(120)
async def test_the_commands_of_the_page_run_in_their_order(broker: EmbeddedBroker, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": broker.address, "log_level": 2})
    for verdict in (ROOT / "tests" / "golden" / "v1.0" / "verdict").glob("*.json"):
        producer.produce(TOPICS.allow, verdict.read_bytes())
    assert producer.flush(20) == 0
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICEGATE_")}
    process = await asyncio.create_subprocess_exec(
        *("bash", "-eu", "-c", "\n".join(blocks("sh"))),
        cwd=tmp_path,
        env=kept
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS": broker.address,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    count = len(list((ROOT / "tests" / "golden" / "v1.0" / "verdict").glob("*.json")))
    assert f"{count} verdicts: " in text
    assert "is in order" in text
    assert (tmp_path / "verdicts.jsonl").read_text().count("\n") == count
    # The demo's verdicts, and what the stricter policy makes of them: counted here anew.
    demo = [Verdict.model_validate_json(line) for line in (tmp_path / "demo.jsonl").read_bytes().splitlines()]
    stricter = [one for one in demo if one.scores and 0.5 <= one.scores.unsafe < 0.8]
    assert stricter
    table = text.rpartition(f"{len(demo)} verdicts: ")[2]
    assert table.startswith(f"{len(demo) - len(stricter)} unchanged, {len(stricter)} stricter, 0 milder")
    assert f"by direction\n  review -> block  {len(stricter)}\n" in table
