"""What ``sluicegate policy explain`` and ``diff`` are given, and how they answer people."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.account import Account, Check, RuleOrigin
from sluicegate.pipeline.policy.diff import Diff
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import ExplainedBy, Post, Scores, Severity, Verdict
from sluicegate.schemas import Kind as PostKind

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


_EXAMPLE = '{"scores": {"safe": 0.1, "controversial": 0.2, "unsafe": 0.7}, "categories": ["PII"]}'
_ROWS = 20  # of a table; the JSON form has all


@dataclass(frozen=True, slots=True)
class Case:
    """A finding and whose text it was about."""

    scores: Scores | None
    """None if nothing could be scored."""
    categories: tuple[str, ...] = ()
    category_scores: dict[str, float] = field(default_factory=dict)
    tenant: str = "default"
    kind: PostKind = "post"
    region: str | None = None
    language: str | None = None
    explained_as: Severity | None = None
    explained_by: ExplainedBy | None = None
    explanation_failure: str | None = None


class _Given(BaseModel):
    """What of a JSON document counts: an assessment's fields, and a verdict's."""

    model_config = ConfigDict(extra="ignore")

    scores: Scores | None = None
    categories: tuple[str, ...] = ()
    category_scores: dict[str, float] = Field(default_factory=dict)
    explained_as: Severity | None = None
    explained_by: ExplainedBy | None = None
    explanation_failure: str | None = None
    failure: Annotated[bool, BeforeValidator(lambda value: value is not None)] = False
    tenant: str = "default"
    kind: PostKind = "post"
    region: str | None = None
    language: str | None = None


def read_case(document: str | bytes, given: Mapping[str, str | None]) -> Case:
    """Read an assessment or a verdict; what is ``given`` counts before the document's own fields.

    One that says neither how it was explained nor that this failed is taken as explained in the way that is asked for.

    Raises:
        PolicyError: It is neither.
    """
    try:
        read = _Given.model_validate_json(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "it"
        raise PolicyError(f"--assessment: {place}: {fault['msg']}; an example is {_EXAMPLE}") from error
    if (read.scores is None) == (not read.failure):
        raise PolicyError(f"--assessment: give `scores`, or a `failure` instead; an example is {_EXAMPLE}")
    fields = read.model_dump(include={"tenant", "kind", "region", "language"})
    fields |= {name: value for name, value in given.items() if value is not None}
    explained_as = read.explained_as
    if read.scores is not None and read.explanation_failure is None:
        explained_as = explained_as or read.scores.harm
    return Case(
        read.scores,
        read.categories,
        read.category_scores,
        explained_as=explained_as,
        explained_by=read.explained_by,
        explanation_failure=read.explanation_failure,
        **fields,
    )


def judged(
    policy: Policy, text: str, given: Mapping[str, str | None], *, engine: str, settings: Path | None
) -> Case:
    """Judge a text on this machine.

    Raises:
        PolicyError: The text or one of the hints is none.
        JudgeError: It cannot be judged.
    """
    from sluicegate.pipeline.flow.once import judge_once  # noqa: PLC0415 - the same
    from sluicegate.pipeline.observe.logs import configure_logs  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - the same

    fields = {name: value for name, value in given.items() if value is not None}
    try:
        post = Post.model_validate({"id": "explain", "text": text, **fields})
    except ValidationError as error:
        place = error.errors(include_url=False, include_input=False)[0]["loc"][0]
        raise PolicyError(f"--{place} is not what it has to be; docs/contract.md has its form") from error
    loaded = load_settings(settings)
    chosen = loaded.engine.model_copy(update={"backend": engine})
    loaded = loaded.model_copy(update={"engine": chosen})
    configure_logs("error")
    verdict: Verdict = asyncio.run(judge_once(loaded, policy, post))
    return Case(
        verdict.scores,
        verdict.categories,
        verdict.category_scores,
        post.tenant,
        post.kind,
        post.region,
        post.language,
        verdict.explained_as,
        verdict.explained_by,
        verdict.explanation_failure,
    )


def told(account: Account, policy: Policy, case: Case) -> Iterator[str]:
    """A decision and its reasons, for people."""
    parameters = ", ".join(f"{name} {value}" for name, value in account.parameters.items())
    yield f"action       {account.action}, disposition {account.disposition}" + (
        f" ({neutral(parameters)})" if parameters else ""
    )
    yield f"rule         {neutral(account.rule)} ({_written(account.origin)})"
    yield f"policy       {neutral(policy.name)} {neutral(policy.version)}: {', '.join(account.places)}"
    if account.adapter is not None:
        yield f"adapter      {account.adapter} ({_written(account.adapter_origin)})"
    if case.scores is not None:
        scores = case.scores
        yield (
            f"scores       safe {scores.safe:.3g}, controversial {scores.controversial:.3g}, "
            f"unsafe {scores.unsafe:.3g}, risk {scores.unsafe + scores.controversial:.3g}"
        )
    yield f"explanation  {account.explanation}"
    yield f"breaker      {account.breaker} ({_written(account.breaker_origin)})"
    yield f"screen       {account.screen} ({_written(account.screen_origin)})"
    for category in account.categories:
        yield f"{'+' if category.applies else '-'} {neutral(category.category)}: {category.said}"
    for one in account.checks:
        yield f"{'*' if one.fired else ' '} {_compared(one)}: {one.said} ({_written(one.origin)})"


def _compared(one: Check) -> str:
    threshold = "null" if one.threshold is None else f"{one.threshold:g}"
    return f"{neutral(one.rule)} >= {threshold}"


def _written(origin: RuleOrigin) -> str:
    return origin.place if origin.line is None else f"{origin.place}, line {origin.line}"


def table(found: Diff) -> Iterator[str]:
    """What would have changed, for people."""
    yield (
        f"{found.verdicts} verdicts: {found.unchanged} unchanged, {found.stricter} stricter, "
        f"{found.milder} milder, {found.disposition_only} with another disposition only, "
        f"{found.undecidable} undecidable"
    )
    yield from _remarks(found)
    if changed := found.breakers:
        yield f"  another block_breaker for {', '.join(map(neutral, changed[:_ROWS]))}{', …' if changed[_ROWS:] else ''}"
    yield from _section("direction", [(name, str(count)) for name, count in found.directions.most_common()])
    for title, groups in (("tenant", found.tenants), ("category", found.categories)):
        yield from _section(title, _grouped(groups))
    for direction, examples in found.examples.items():
        if examples:
            yield f"\nexamples of {direction}"
        for one in examples:
            yield f"  {neutral(one.verdict_id, 40)}  {neutral(one.tenant)}: {neutral(one.old_rule)} -> {neutral(one.new_rule)}"


def _remarks(found: Diff) -> Iterator[str]:
    old = f"{neutral(found.old.name)} {neutral(found.old.version)}"
    if found.repeats:
        yield f"  {found.repeats} more came again with an id that was counted"
    if found.namesakes:
        yield f"  the two policies differ, and both are {old}: give the new one a version of its own"
    if found.old.engines != found.new.engines:
        old_engines, new_engines = (", ".join(sorted(one.engines)) or "any" for one in (found.old, found.new))
        yield f"  engines: the old one is for {old_engines}, the new one for {new_engines}"
    if found.of_other_engines:
        yield f"  {found.of_other_engines} have scores of an engine that the new one is not for: its workers would not take it up"
    if found.undecidable:
        yield "  undecidable: no category is known, and one could change what follows; or judged by another adapter"
    if found.decided_by_others:
        yield f"  {found.decided_by_others} had been decided by another policy than {old}"
    if found.decided_by_namesakes:
        yield f"  {found.decided_by_namesakes} of these by one with the same name and version, which was another file"


def _grouped(groups: Mapping[str, Counter[str]]) -> list[tuple[str, str]]:
    rows = sorted(groups.items(), key=lambda group: -group[1].total())
    return [
        (neutral(name, 40), ", ".join(f"{way} {count}" for way, count in counts.most_common()))
        for name, counts in rows
    ]


def _section(title: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = max(len(name) for name, _ in rows)
    yield f"\nby {title}"
    for name, text in rows[:_ROWS]:
        yield f"  {name.ljust(width)}  {text}"
    if len(rows) > _ROWS:
        yield f"  and {len(rows) - _ROWS} more: --json has them"
