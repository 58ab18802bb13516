"""Policy: from an assessment to an action and a disposition. Pure and total."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from sluicegate.pipeline.errors import PolicyError
from sluicegate.schemas import Action, Kind, PolicyRef, Scores

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.schemas import Post

Share = Annotated[float, Field(ge=0, le=1)]
Disposition = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
TenantKey = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(_Part):
    """Scores from which on an action applies; either suffices."""

    unsafe: Share | None = None
    risk: Share | None = Field(None, description="Controversial and unsafe together: the strict reading.")

    def reached(self, scores: Scores) -> str | None:
        """Name the threshold that the scores reach, or None."""
        if self.unsafe is not None and scores.unsafe >= self.unsafe:
            return f"unsafe>={self.unsafe:g}"
        if self.risk is not None and scores.unsafe + scores.controversial >= self.risk:
            return f"risk>={self.risk:g}"
        return None


class Rules(_Part):
    """What decides for one tenant and kind."""

    block_at: Thresholds = Thresholds(unsafe=0.8)
    review_at: Thresholds = Thresholds(unsafe=0.4, risk=0.6)
    dispositions: dict[Action, Disposition] = Field(
        default_factory=lambda: {Action.ALLOW: "none", Action.REVIEW: "limit_reach", Action.BLOCK: "takedown"}
    )
    failure_mode: Action = Field(Action.REVIEW, description="The action for a post that cannot be scored.")
    max_wait_seconds: float | None = Field(
        None, gt=0, description="Wait for an absent engine; without: for ever."
    )
    explain_at: Share = Field(0.3, description="Risk from which on an allow is explained, too.")
    explain_responses: bool = Field(True, description="Responses are always explained: that tells refusals.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        missing = [action.value for action in Action if action not in self.dispositions]
        if missing:
            raise ValueError(
                f"dispositions lacks {missing[0]!r}; name one for each of allow, review and block"
            )
        for name in ("unsafe", "risk"):
            review, block = getattr(self.review_at, name), getattr(self.block_at, name)
            if review is not None and block is not None and review > block:
                raise ValueError(
                    f"review_at.{name} = {review:g} can never fire above block_at.{name} = {block:g}; "
                    f"set review_at.{name} to {block:g} or less"
                )
        return self


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says of one post."""

    action: Action
    disposition: str
    rule: str


class Policy(_Part):
    """Thresholds per tenant and kind. Later layers win: base, base kind, tenant, tenant kind."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    kinds: dict[Kind, Rules] = Field(description="Resolved rules for everybody; every kind is present.")
    tenants: dict[TenantKey, dict[Kind, Rules]] = Field(
        description="The same for tenants with rules of their own."
    )

    @classmethod
    def load(cls, path: Path | None) -> Policy:
        """Read a policy file, or the built-in policy.

        Raises:
            PolicyError: With file, place, fault and what would be right.
        """
        source = path if path is not None else resources.files(__package__) / "policies" / "default.yaml"
        try:
            document = yaml.safe_load(source.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise PolicyError(f"{source}: cannot be read as YAML ({type(error).__name__})") from error
        try:
            return cls.parse(document)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in fault["loc"]) or "policy"
            raise PolicyError(f"{source}: {place}: {fault['msg']}") from error

    @classmethod
    def parse(cls, document: Any) -> Policy:
        """Resolve the layers of a policy document.

        Raises:
            pydantic.ValidationError: With the place inside the document.
        """
        written = _Document.model_validate(document)
        kinds: tuple[Kind, ...] = ("post", "prompt", "response")
        base = {kind: _merge(written.rules, written.kinds.get(kind)) for kind in kinds}
        tenants = {
            name: {kind: _merge(base[kind], tenant.rules, tenant.kinds.get(kind)) for kind in kinds}
            for name, tenant in written.tenants.items()
        }
        return cls.model_validate(
            {"name": written.name, "version": written.version, "kinds": base, "tenants": tenants}
        )

    @cached_property
    def digest(self) -> str:
        """Digest of the resolved rules: comments and layout of the file do not change it."""
        canonical = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"

    def rules(self, post: Post) -> Rules:
        """The rules for a post. A tenant nobody wrote rules for gets the base."""
        return self.tenants.get(post.tenant, self.kinds)[post.kind]

    def needs_explanation(self, post: Post, scores: Scores) -> bool:
        """True unless this is a confident allow whose refusal nobody asked for."""
        rules = self.rules(post)
        if post.kind == "response" and rules.explain_responses:
            return True
        return (
            scores.unsafe + scores.controversial >= rules.explain_at
            or self.decide(post, scores).action is not Action.ALLOW
        )

    def decide(self, post: Post, scores: Scores) -> Decision:
        """Decide a scored post."""
        rules = self.rules(post)
        for action, thresholds in ((Action.BLOCK, rules.block_at), (Action.REVIEW, rules.review_at)):
            reached = thresholds.reached(scores)
            if reached is not None:
                return Decision(action, rules.dispositions[action], f"{action}_at.{reached}")
        return Decision(Action.ALLOW, rules.dispositions[Action.ALLOW], "otherwise")

    def decide_failure(self, post: Post) -> Decision:
        """Decide a post that could not be scored: the tenant's failure mode."""
        rules = self.rules(post)
        return Decision(rules.failure_mode, rules.dispositions[rules.failure_mode], "failure_mode")

    def reference(self, rule: str) -> PolicyRef:
        """The stamp on a verdict."""
        return PolicyRef(name=self.name, version=self.version, digest=self.digest, rule=rule)


class _Tenant(_Part):
    rules: dict[str, Any] = {}
    kinds: dict[Kind, dict[str, Any]] = {}


class _Document(_Part):
    """The file, before the layers are resolved."""

    name: str
    version: str
    rules: dict[str, Any] = {}
    kinds: dict[Kind, dict[str, Any]] = {}
    tenants: dict[str, _Tenant] = {}


def _merge(*layers: dict[str, Any] | None) -> dict[str, Any]:
    """Later layers win, mapping by mapping, so that one threshold can be changed alone."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in (layer or {}).items():
            known = merged.get(key)
            merged[key] = (
                _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
            )
    return merged
