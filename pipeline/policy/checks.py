"""What is said of a policy beyond faults of its own. Pure.

That is: posts that a failed explanation would change, adapters without a server, and engines that it is not for. A post
of the first kind was allowed once. The author of an older policy may have relied on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sluicegate.pipeline.policy.decider import FAILURE_MODE, SEVERITY
from sluicegate.pipeline.policy.layers import Laid, Layer
from sluicegate.pipeline.policy.policy import Policy
from sluicegate.pipeline.policy.reading import threshold
from sluicegate.pipeline.policy.yaml_text import DocumentFault, InvalidPolicyError, Where, dotted
from sluicegate.schemas import Action, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping


_ACTIONS = (Action.BLOCK, Action.REVIEW)
_MEASURES = ("unsafe", "risk")


@dataclass(frozen=True, slots=True)
class PolicyNote:
    """A value that decides where an explanation fails."""

    line: int | None
    """From 1; None for what is built in."""
    place: str
    said: str

    def sentence(self, source: str) -> str:
        """The note as one line, with file and line first."""
        where = source if self.line is None else f"{source}:{self.line}"
        return f"{where}: note: {self.place}: {self.said}"


def notes(policy: Policy) -> list[PolicyNote]:
    """Every value by which a post whose explanation fails is no allow any more, in the order of the file."""
    found: dict[tuple[Where, Where], PolicyNote] = {}
    for context in policy.scope.contexts():
        laid = policy.scope.lay(context)
        mode = Action(laid[FAILURE_MODE,][0])
        stricter = list(_stricter(laid))
        values: list[tuple[Where, str]] = []
        if mode is not Action.ALLOW and (stricter or _explains_an_allow(laid, context.kind)):
            values.append(
                (
                    (FAILURE_MODE,),
                    f"a post whose explanation fails is `{mode.value}` at least; it was an allow where its scores were one",
                )
            )
        values += [
            (
                path,
                f"a post whose explanation fails is `{action.value}` from here on, whatever its category; it was an allow",
            )
            for path, action in stricter
            if SEVERITY.index(action) > SEVERITY.index(mode)
        ]
        for path, said in values:
            layer = laid[path][1]
            found.setdefault((layer.where, path), _note(policy, layer, path, said))
    return sorted(found.values(), key=lambda note: (note.line or 0, note.place))


def _note(policy: Policy, layer: Layer, path: Where, said: str) -> PolicyNote:
    if not layer.written:
        return PolicyNote(None, f"{dotted(path)} (built-in)", said)
    where = (*layer.where, *path)
    return PolicyNote(policy.written.line(where), dotted(where), said)


def _stricter(laid: Laid) -> Iterator[tuple[Where, Action]]:
    """Bars of categories that some scores reach which all general bars allow."""
    for path, (value, _layer) in laid.items():
        if path[0] != "categories" or path[-2] not in ("block_at", "review_at") or value is None:
            continue
        least = float(value)
        if _allowed(laid, least if path[-1] == "unsafe" else 0.0, least):
            yield path, Action(str(path[-2]).removesuffix("_at"))


def _explains_an_allow(laid: Laid, kind: Kind) -> bool:
    """True if something that the general bars allow is explained for its risk, or as a response."""
    if kind == "response" and laid["explain_responses",][0] and _allowed(laid, 0.0, 0.0):
        return True
    return _allowed(laid, 0.0, float(laid["explain_at",][0]))


def _allowed(laid: Laid, unsafe: float, risk: float) -> bool:
    return all(
        value < threshold(laid, (), f"{action.value}_at", name)
        for action in _ACTIONS
        for name, value in zip(_MEASURES, (unsafe, risk), strict=True)
    )


_PATH = ("adapter",)


def require_adapters(policy: Policy, known: Collection[str], source: str) -> None:
    """Refuse a policy that names an adapter which is not there: its posts must not get another one's verdict.

    Args:
        policy: As it was read.
        known: Names of ``engine.adapters`` in the settings.
        source: The file, for faults.

    Raises:
        InvalidPolicyError: With every place that names one, and its line.
    """
    faults = [
        DocumentFault(
            where := (*layer.where, *_PATH),
            f"the settings have no adapter `{name}`",
            _right(name, known),
            policy.written.line(where),
        )
        for layer in policy.layers
        if (name := layer.values.get(_PATH)) is not None and name not in known
    ]
    if faults:
        raise InvalidPolicyError(source, faults)


def _right(name: str, known: Collection[str]) -> str:
    if close := get_close_matches(name, known, n=1):
        return f"did you mean `{close[0]}`? else say under engine.adapters.{name} where it is served"
    there = f"there are {', '.join(sorted(known))}" if known else "there are none"
    return f"say under engine.adapters.{name} where it is served; {there}"


class OtherEnginesError(InvalidPolicyError):
    """A policy that is sound, and for other engines than these."""


def require_engines(policy: Policy, engines: Mapping[str | None, str], source: str) -> None:
    """Refuse a policy that is for other engines: its thresholds were chosen for their scores.

    Args:
        policy: As it was read.
        engines: Digest of each engine by adapter; None is the engine's own. One that no post may get is not looked at.
        source: The file, for faults.

    Raises:
        OtherEnginesError: It names engines, and lacks one of these. Names both sides.
    """
    met = {
        digest: f"the engine of adapter `{adapter}`" if adapter else "the engine"
        for adapter, digest in engines.items()
        if adapter in policy.adapters
    }
    require_digests(policy, met, source)


def require_digests(policy: Policy, met: Mapping[str, str], source: str) -> None:
    """The same for digests, each with what it is called in the sentence.

    Raises:
        OtherEnginesError: As for :func:`require_engines`.
    """
    strange = [f"{who} is {digest}" for digest, who in met.items() if digest not in policy.engines]
    if not policy.engines or not strange:
        return
    wrong = f"the policy is for {', '.join(sorted(policy.engines))}, and {' and '.join(strange)}"
    right = "bring the policy and the engine that belong together, or name this one once the thresholds fit its scores"
    where: Where = ("engines",)
    raise OtherEnginesError(source, [DocumentFault(where, wrong, right, policy.written.line(where))])
