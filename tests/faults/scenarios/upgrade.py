"""Rolling upgrades: two engines, or two policies, live at once in one group."""

from __future__ import annotations

import shutil
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from faults.scenario import scenario
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Verdict
from support.redis import redis_server

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from faults.stage import Stage

_RATE_PER_S = 200.0
_TEXTS = 300  # few, so that nearly every post could be answered from a cache
# "text" is in every post: no finding of the one engine is ever the other's.
_OLD_ENGINE, _NEW_ENGINE = {"text": "safe"}, {"text": "controversial"}
_OLD_BAR, _NEW_BAR = 0.85, 0.3


def few_texts(number: int, rng: random.Random) -> dict[str, Any]:
    """A post whose text many others have, too."""
    return {"id": f"post-{number}", "text": f"text {rng.randrange(_TEXTS)}"}


def policy(version: str, bar: float) -> str:
    """A policy whose every decision names its version."""
    names = ", ".join(f"{action}: {action}_{version}" for action in ("allow", "review", "block"))
    return f"""
name: upgraded
version: "{version}"
rules:
  block_at: {{unsafe: {bar}}}
  review_at: {{unsafe: {bar / 2}}}
  dispositions: {{{names}}}
"""


@scenario(number=16, name="upgrade-of-the-engine")
def upgrade_engine(stage: Stage) -> None:
    """No verdict of one engine reuses what the other found, though all workers share one cache."""
    stage.expect(one_action=False)  # a post that both engines judged has both actions
    lane = stage.lane
    lane.set_fake(rules=_OLD_ENGINE, call_overhead_s=0.01)
    old = shutil.copy(lane.folder / "fake.json", lane.folder / "fake-old.json")
    lane.set_fake(rules=_NEW_ENGINE, call_overhead_s=0.01)
    with _shared_cache(stage) as shared:
        _replace_one_by_one(stage, shared | {"engine.fake_profile": str(old)}, shared)
    verdicts = _verdicts(stage)
    engines: defaultdict[str, set[str]] = defaultdict(set)
    for verdict in verdicts:
        engines[verdict.verdict_id].add(verdict.engine.digest)
    stage.require(all(len(found) == 1 for found in engines.values()), "one id under two engines")
    findings = Counter((verdict.engine.digest, verdict.severity) for verdict in verdicts)
    stage.require(
        sorted(severity or "" for _digest, severity in findings) == ["controversial", "safe"],
        f"an engine's verdicts carry the other's findings: {findings}",
    )
    reused = [verdict for verdict in verdicts if verdict.reused_from in engines]
    mixed = [one for one in reused if engines[one.reused_from or ""] != {one.engine.digest}]
    stage.require(not mixed, f"{len(mixed)} verdicts reuse what the other engine found")
    stage.require({one.severity for one in reused} == {"controversial", "safe"}, "an engine reused nothing")
    old_verdicts = sum(verdict.severity == "safe" for verdict in verdicts)
    stage.note("upgraded", old=old_verdicts, new=len(verdicts) - old_verdicts, reused=len(reused))


@scenario(number=16, name="upgrade-of-the-policy")
def upgrade_policy(stage: Stage) -> None:
    """Each verdict is decided by one policy from end to end, whoever found its assessment."""
    stage.expect(one_action=False)  # a post that both policies decided may have both actions
    policies, settings = {}, []
    for version, bar in (("old", _OLD_BAR), ("new", _NEW_BAR)):
        path = stage.lane.folder / f"policy-{version}.yaml"
        path.write_text(policy(version, bar))
        loaded = Policy.load(path)
        policies[loaded.digest] = loaded
        settings.append({"policy.path": str(path)})
    stage.lane.set_fake(call_overhead_s=0.01)
    with _shared_cache(stage) as shared:
        _replace_one_by_one(stage, shared | settings[0], shared | settings[1])
    verdicts = _verdicts(stage)
    count: Counter[str] = Counter()
    for verdict in verdicts:
        decided_by = policies.get(verdict.policy.digest)
        if decided_by is None or verdict.scores is None:
            stage.require(condition=False, message="a verdict of neither policy")
            continue
        decision = decided_by.decide(verdict, verdict.scores, verdict)
        stage.require(
            (verdict.action, verdict.disposition) == (decision.action, decision.disposition),
            "a verdict bears one policy's stamp and another's decision",
        )
        count[decided_by.version] += 1
    stage.require(set(count) == {"old", "new"}, f"verdicts by {dict(count)}")
    stage.note("upgraded", **count)


def _replace_one_by_one(stage: Stage, before: dict[str, str], after: dict[str, str]) -> None:
    """Under load, put two workers into the place of two others, one at a time."""
    old = stage.kubelet(2, before)
    old.wait_ready()
    load = stage.load(_RATE_PER_S, make=few_texts)
    pause_s = 5 * stage.size + 1
    time.sleep(pause_s)
    new = stage.kubelet(1, after)
    new.wait_ready()
    time.sleep(pause_s)
    old.scale(1)
    new.scale(2)
    new.wait_ready()
    time.sleep(pause_s)
    old.scale(0)
    time.sleep(pause_s)
    load.stop()
    stage.wait_settled()
    stage.require(set(old.exits) <= {0}, f"an old worker left with {dict(old.exits)}")


def _verdicts(stage: Stage) -> list[Verdict]:
    return [Verdict.model_validate(one.body, strict=False) for one in stage.lane.read()]


@contextmanager
def _shared_cache(stage: Stage) -> Iterator[dict[str, str]]:
    """The setting of a Redis that all workers share; without Redis on this machine, no setting."""
    stage.note("cache", shared_cache="yes" if shutil.which("redis-server") else "no redis-server here")
    if shutil.which("redis-server") is None:
        yield {}
        return
    with redis_server(stage.lane.folder) as redis:
        yield {"cache.redis_url": redis.url}
