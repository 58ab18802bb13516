"""Calibration in the flow: what the policy and the verdict see, and what stays raw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.engines.bundle.calibration import Calibration
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import Health
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import FailureCode
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.layouts import Piece
    from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt
    from sluicegate.schemas import Post, Severity

RULES: dict[str, Severity] = {"[bad]": "unsafe", "[odd]": "controversial", "": "safe"}


def towards(risk: float, unsafe: float) -> dict[str, Any]:
    """Whatever comes in, these come out."""
    return {"method": "isotonic", "risk": [[0.5, risk]], "unsafe": [[0.5, unsafe]]}


SAME = {"method": "temperature", "temperature": 1.0}


def calibration(fallback: dict[str, Any], *groups: dict[str, Any]) -> Calibration:
    return Calibration.parse(
        orjson.dumps({"data": f"sha256:{'0' * 64}", "fallback": fallback, "groups": groups})
    )


class Watched(FakeEngine):
    """Remembers which severities its explanations were forced to begin with."""

    def __init__(self, profile: FakeProfile) -> None:
        super().__init__(profile)
        self.forced: list[Severity] = []
        self.scored = 0

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> Any:
        self.scored += len(prompts)
        return await super().score(prompts, timeout_s=timeout_s)

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Any = None,
    ) -> list[Explanation | ItemFailure]:
        self.forced += severities
        return await super().explain(prompts, severities, timeout_s=timeout_s, texts=texts)


class Calibrated(Bench):
    def __init__(self, found: Calibration | None, *, limit: int = 32_768, **more: Any) -> None:
        profile = FakeProfile(rules=RULES, max_prompt_tokens=limit)
        self.watched = Watched(profile)
        super().__init__(engine=self.watched, profile=profile, calibration=found, **more)


def post(name: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "text": text, **fields}


async def test_policy_and_verdict_see_calibrated_scores_and_the_verdict_says_so() -> None:
    plain, calibrated = Calibrated(None), Calibrated(calibration(towards(0.9, 1.0)))
    for bench in (plain, calibrated):
        await bench.run([post("p", "hello")])
    before, after = plain.outlet.verdict("p"), calibrated.outlet.verdict("p")
    assert (before.engine.calibrated, before.severity, before.action.value) == (False, "safe", "allow")
    assert (after.engine.calibrated, after.severity, after.action.value) == (True, "unsafe", "block")
    assert after.scores is not None
    assert after.scores.unsafe == pytest.approx(0.9)


async def test_a_failure_has_no_scores_to_calibrate() -> None:
    bench = Calibrated(
        calibration(towards(0.9, 1.0)), policy={"name": "p", "version": "1", "rules": {"max_tokens": 1}}
    )
    await bench.run([post("p", "hello")])
    assert bench.outlet.verdict("p").scores is None


async def test_raw_scores_are_cached_and_each_post_is_calibrated_by_its_own_language() -> None:
    chinese = {"kind": "post", "languages": ["zh"], "rows": 1, "mapping": towards(0.9, 1.0)}
    bench = Calibrated(calibration(SAME, chinese))
    texts = [post("de", "x", language="de"), post("zh", "x", language="zh"), post("none", "x")]
    await bench.run(texts)
    assert {name: bench.outlet.verdict(name).severity for name in ("de", "zh", "none")} == {
        "de": "safe",
        "zh": "unsafe",
        "none": "safe",
    }
    found = [bench.flow.cache.get(key) for key in list(bench.flow.cache._stored)]
    cached = [stored.assessment for stored in found if stored is not None]
    assert {assessment.severity for assessment in cached} == {"safe"}
    scored = bench.watched.scored
    again = Calibrated(calibration(towards(0.9, 1.0)))
    again.share_cache(bench)  # as after a restart beside a shared cache
    await again.run(texts)
    assert {again.outlet.verdict(name).severity for name in ("de", "zh", "none")} == {"unsafe"}
    assert again.watched.scored == 0 < scored


async def test_whether_to_explain_is_asked_of_calibrated_scores_and_forced_as_they_say() -> None:
    quiet = Calibrated(calibration(towards(0.0, 0.0)))
    await quiet.run([post("p", "[bad] hello")])
    assert quiet.watched.forced == []
    assert quiet.outlet.verdict("p").action.value == "allow"
    loud = Calibrated(calibration(towards(0.9, 0.0)))
    await loud.run([post("p", "hello")])
    assert loud.watched.forced == ["controversial"]
    assert loud.outlet.verdict("p").severity == "controversial"


async def test_every_part_of_a_long_post_is_calibrated_before_the_worst_is_chosen() -> None:
    """Raw, the unsafe part is worse than the odd one; calibrated they are alike, and the first of them decides."""
    texts = ["An ordinary sentence of no interest. "] * 30
    texts[3], texts[25] = "[odd] Something. ", "[bad] Something else. "
    alike = {"method": "isotonic", "risk": [[0.5, 0.1], [0.9, 0.9]], "unsafe": [[0.5, 0.0]]}
    plain, level = Calibrated(None, limit=600), Calibrated(calibration(alike), limit=600)
    whole = post("p", "".join(texts))
    for bench in (plain, level):
        await bench.run([whole])
    before, after = plain.outlet.verdict("p"), level.outlet.verdict("p")
    assert before.segments.count == after.segments.count > 2
    assert "[bad]" in whole["text"][before.segments.start : before.segments.end]
    assert "[bad]" not in whole["text"][after.segments.start : after.segments.end]
    assert after.severity == "controversial"


async def test_posts_that_are_given_up_with_scores_keep_calibrated_ones() -> None:
    class Mute(Watched):
        async def explain(
            self,
            prompts: Sequence[Prompt],
            severities: Sequence[Severity],
            *,
            timeout_s: float,
            texts: Any = None,
        ) -> list[Explanation | ItemFailure]:
            if prompts:
                raise EngineUnavailable("gone")
            return []

        async def health(self) -> Health:
            return Health(ok=False)

    policy = {"name": "p", "version": "1", "rules": {"max_wait_seconds": 0.3}}
    bench = Bench(
        engine=Mute(FakeProfile(rules=RULES)), policy=policy, calibration=calibration(towards(0.9, 1.0))
    )
    await bench.run([post("p", "hello")])
    verdict = bench.outlet.verdict("p")
    assert (verdict.failure, verdict.severity, verdict.action.value) == (None, "unsafe", "block")
    assert verdict.explanation_failure == FailureCode.ENGINE_UNAVAILABLE


class OneFrame(CompactLayout):
    """Posts and prompts look alike to the model, as in the vendor's layout."""

    def render(self, post: Post) -> list[Piece]:
        return super().render(post.model_copy(update={"kind": "post"}))


@pytest.mark.parametrize("cached", [False, True])
async def test_an_explanation_that_began_with_another_severity_is_not_reused(
    cached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same text of another kind, which its calibration makes more severe."""
    alike = Prompter(ByteTokenizer(), OneFrame(), max_prompt_tokens=32_768)
    monkeypatch.setattr("unit.pipeline.fakes.fake_prompter", lambda _profile: alike)
    prompts = {"kind": "prompt", "rows": 1, "mapping": towards(0.9, 1.0)}
    both = [post("post", "x"), post("prompt", "x", kind="prompt")]
    first, second = (Calibrated(calibration(towards(0.4, 0.0), prompts)) for _ in range(2))
    await first.run(both[:1] if cached else both)
    if cached:
        second.share_cache(first)
        await second.run(both[1:])
    assert first.watched.forced + second.watched.forced == ["safe", "unsafe"]
    severe = (second if cached else first).outlet.verdict("prompt")
    assert (severe.severity, bool(severe.categories)) == ("unsafe", True)
    assert first.outlet.verdict("post").categories == ()
