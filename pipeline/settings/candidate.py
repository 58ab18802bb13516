"""Settings of an experiment with a candidate: a judge that is tried beside the one that acts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sluicegate.pipeline.policy.document import TenantName

_OpenShare = Annotated[float, Field(gt=0, lt=1)]


class CandidateTerms(BaseModel):
    """What a candidate has to show before it is certified."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_permissive: _OpenShare = Field(
        0.005, description="It is milder than the incumbent on less than this share of the posts."
    )
    max_shift: _OpenShare = Field(
        0.02, description="Its shares of blocks and of reviews differ from the incumbent's by less than this."
    )
    min_posts: int = Field(
        500, ge=1, description="Posts of evidence, at least. A stratum with fewer is listed, and not judged."
    )
    min_coverage: float = Field(
        0.98, gt=0, le=1, description="Share of the sample that both judged, at least."
    )
    alpha: _OpenShare = Field(0.05, description="Probability of a wrong certificate, at most.")


class CandidateSettings(BaseModel):
    """An experiment: a candidate judges beside the incumbent, and acts on nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: TenantName | None = Field(
        None,
        description="Its name. Samples, groups and facts of two experiments have nothing to do with each other.",
    )
    policy: Path | None = Field(
        None,
        description="Its policy file. It names the candidate's adapter, one of engine.adapters, where it has another engine. Workers that have it let the candidate act once facts say so.",
    )
    keys: Path | None = Field(
        None,
        description="Folder of public keys, named by role and owner: editor.anna.pem, approver.otto.pem, machine.comparator.pem.",
    )
    key: Path | None = Field(
        None, description="Private key of who signs facts: a person at a terminal, or the comparator."
    )
    share: float = Field(
        0.05,
        gt=0,
        le=1,
        description="The candidate judges this share of the posts. A greater one holds every post of a smaller one.",
    )
    audit_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="People judge this share of the posts on which both agree, too, and blindly.",
    )
    state_file: Path = Field(
        Path("sluicegate-comparison.json"),
        description="Where `sluicegate shadow compare` keeps its counts and offsets. Without it all is read and counted again.",
    )
    terms: CandidateTerms = CandidateTerms()

    @model_validator(mode="after")
    def _can_be_believed(self) -> Self:
        if self.policy is not None and (self.experiment is None or self.keys is None):
            raise ValueError(
                "candidate.policy may act only by signed facts about an experiment: give candidate.experiment, for "
                "example guard-2026-12, and candidate.keys, for example /etc/sluicegate/keys; or leave candidate.policy out"
            )
        return self
