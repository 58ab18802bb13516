"""Patterns from one institution to another: two brokers, the commands, and a real worker that raises."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import pytest

from shared_patterns.floods import everyday
from shared_patterns.institutions import Institution, write_keys
from shared_patterns.study import topics_of
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.patterns.circle import FILE, new_circle
from sluicegate.schemas import Action, Verdict
from unit.pipeline.patterns.circles import SLOTS, TEMPLATE

if TYPE_CHECKING:
    from pathlib import Path

GREETING = "Happy birthday to you dear friend, may all of your wishes come true today and stay with us for many years {number}"


def copies(count: int) -> list[str]:
    chance = random.Random(3)
    return [
        TEMPLATE.format(
            **SLOTS | {"phone": f"+49 151 555 {chance.randrange(10_000):04d}", "price": f"{number}.99 EUR"}
        )
        for number in range(count)
    ]


def backwards(text: str) -> str:
    """Its words, none beside one that it stands beside there; it is no flood to the engine either."""
    return " ".join(reversed(text.lower().replace("birthday", "birth day").split()))


async def seen(one: Institution, names: set[str], *, decide_per_s: float = 0.0) -> dict[str, Verdict]:
    """The verdicts of these posts, once all are there; people decide meanwhile."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 60
    while not names <= one.ledger.verdicts.keys():
        assert loop.time() < until, "verdicts did not come"
        await one.watch(loop.time() + 0.6, decide_per_s=decide_per_s)
    return {name: one.ledger.verdicts[name][1] for name in names}


def sent(one: Institution, texts: list[str], campaign: str | None) -> set[str]:
    before = set(one.ledger.sent)
    for number, text in enumerate(texts):
        one.send(text, f"author-{number}", campaign)
    return set(one.ledger.sent) - before


@pytest.mark.slow
async def test_a_pattern_goes_from_a_decision_to_a_raised_copy_and_away_again(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("north", "south")}
    for folder in folders.values():
        folder.mkdir()
    circle = new_circle("alps", write_keys(folders.items()), k=5, licence="x", today=datetime.now(UTC).date())
    policy = tmp_path / "policy.yaml"
    policy.write_text('name: acts\nversion: "1"\nrules: {confirmed_pattern: block, explain_at: 0.99}\n')
    # Each has topics of its own, but for the one with feeds.
    topics = {name: topics_of(name).model_copy(update={"patterns": "patterns"}) for name in folders}
    names = {topic for one in topics.values() for topic in one.model_dump().values()}
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(EmbeddedBroker(sorted(names)))
        rules = {"customs fee": "controversial", "birthday": "controversial", "": "safe"}
        north, south = (
            Institution(
                name,
                folder,
                broker.address,
                topics[name],
                rules if name == "north" else {"": "safe"},
                {"policy.path": str(policy)} if name == "south" else {},
            )
            for name, folder in folders.items()
        )
        for one in (north, south):
            path = one.folder / "patterns" / FILE
            path.write_bytes(circle.encode())
            path.chmod(0o600)
            await stack.enter_async_context(one)
        await story(north, south, tmp_path)


async def story(north: Institution, south: Institution, folder: Path) -> None:
    chance = random.Random(1)
    plain = sent(north, [everyday(chance) for _ in range(300)], None)
    # Words of both are common, in posts that are no copies.
    bare = TEMPLATE.format(name="", price="", link="", phone=""), GREETING.format(number="")
    for text in bare:
        plain |= sent(north, [backwards(text)] * 5, None)
    flood = sent(north, copies(18), "parcel")
    # A benign phrase that people at the first one wrongly confirm: a poisoned pattern.
    greetings = sent(north, [GREETING.format(number=number) for number in range(18)], "greeting")
    verdicts = await seen(north, plain | flood | greetings, decide_per_s=50)
    assert {verdicts[name].action for name in flood | greetings} == {Action.REVIEW}
    await north.watch(asyncio.get_running_loop().time() + 2, decide_per_s=50)

    draft, feed = folder / "draft.json", folder / "north.feed"
    code, said = await north.command("export", "--draft", draft, "--as", "ann")
    assert (code, "2 clusters may be shared" in said) == (0, True), said
    assert SLOTS["name"].split()[1] not in draft.read_text()
    approve = (
        "export",
        "--approve",
        draft,
        "--member",
        "north",
        "--signing-key",
        folder / "north/north.pem",
        "--out",
        feed,
    )
    code, said = await north.command(*approve, "--as", "ann")
    assert (code, "a second person approves it" in said, feed.exists()) == (1, True, False)
    code, said = await north.command(*approve, "--as", "bob")
    assert code == 0, said

    code, said = await north.command("publish", feed, "--as", "bob")
    assert code == 0, said

    before = sent(south, copies(3), "parcel")
    assert {one.action for one in (await seen(south, before)).values()} == {Action.ALLOW}
    code, said = await south.command("import", "--topic", "--as", "cid")
    assert (code, "2 new patterns" in said) == (0, True), said
    code, said = await south.command("import", feed, "--no-learn", "--as", "cid")
    assert (code, "taken in before" in said) == (1, True)
    await asyncio.sleep(2.5)  # the worker looks every second
    raised = sent(south, copies(8), "parcel")
    happy = sent(south, [GREETING.format(number=number) for number in range(30, 34)], None)
    harmless = sent(south, [everyday(chance) for _ in range(100)], None)
    verdicts = await seen(south, raised | happy | harmless, decide_per_s=50)
    for name in raised | happy:
        assert verdicts[name].action is Action.REVIEW
        assert verdicts[name].reason_codes[0].startswith("shared_pattern_")
    assert {verdicts[name].action for name in harmless} == {Action.ALLOW}
    await south.watch(asyncio.get_running_loop().time() + 2, decide_per_s=50)

    good, poisoned = (verdicts[next(iter(names))].reason_codes[0][-16:] for names in (raised, happy))
    code, said = await south.command("import", "--as", "cid")
    assert code == 0
    assert f"{good}: confirmed: people here found" in said
    assert f"{poisoned}: refused" in said
    assert all(name in said for name in happy), "its cases are not listed"
    await ending(south, good, poisoned, raised)


async def ending(south: Institution, good: str, poisoned: str, raised: set[str]) -> None:
    await asyncio.sleep(2.5)
    acted = sent(south, copies(3), "parcel")
    verdicts = await seen(south, acted)
    assert {one.action for one in verdicts.values()} == {Action.BLOCK}, (
        "the policy acts on what people here confirmed"
    )
    assert {one.policy.rule for one in verdicts.values()} == {"confirmed_pattern.block"}
    code, said = await south.command("revoke", good, "--reason", "it is over", "--as", "dora")
    assert code == 0
    assert all(name in said for name in raised | acted)
    code, said = await south.command("list", "--json")
    standings = {one["id"]: one["standing"] for one in map(orjson.loads, said.splitlines())}
    assert standings == {good: "revoked", poisoned: "refused"}
    events = [
        orjson.loads(line) for line in (south.folder / "patterns/events.jsonl").read_bytes().splitlines()
    ]
    told = [(one["actor"], one["what"]) for one in events]
    assert ("cid", "feed taken in") in told
    assert ("cid", "feed refused") in told
    assert told[-1] == ("dora", "pattern revoked")
    await asyncio.sleep(2.5)
    after = sent(south, [*copies(3), GREETING.format(number=77)], None)
    assert {one.action for one in (await seen(south, after)).values()} == {Action.ALLOW}
