"""Settings of the review desk."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
_Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
ReviewSeconds = Annotated[float, Field(gt=0, le=366 * 86_400)]


class ReviewSettings(BaseModel):
    """The review desk: where people decide what the machine leaves to them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: SecretStr = Field(
        SecretStr("sqlite:///sluicegate-review.db"),
        description="Its database as a URL of SQLAlchemy: sqlite:///file, or postgresql://user:password@host/name?sslmode=verify-full.",
    )
    key: SecretStr | None = Field(
        None,
        description="Secret of 32 characters or more. It wraps the keys of authors, with which texts are encrypted.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on. In a pod, take 0.0.0.0.")
    port: int = Field(8787, ge=0, le=65_535, description="Port to listen on. 0 takes a free one.")
    oidc_issuer: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="Who logs reviewers in: an OpenID Connect issuer, such as https://login.example/realms/forum.",
    )
    oidc_client_id: str | None = Field(None, description="The desk's name at the issuer.")
    oidc_client_secret: SecretStr | None = Field(None, description="The desk's secret at the issuer.")
    oidc_role_claim: str = Field(
        "roles",
        description="Claim with roles: reviewer, lead, policy_editor, auditor or administrator.",
    )
    oidc_tenant_claim: str | None = Field(
        None, description="Claim with the tenants that a person may see. Without one everybody sees all."
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s@/]+$",
        description="Address under which people reach the desk, such as https://review.example.",
    )
    text_s: ReviewSeconds = Field(7 * 86_400, description="A text is kept for this time after it came.")
    join_wait_s: ReviewSeconds = Field(
        60, description="A case opens without its text if that has not come by then."
    )
    sla_s: ReviewSeconds = Field(
        86_400, description="A case should be decided within this time of its verdict."
    )
    half_life_s: ReviewSeconds = Field(
        6 * 3600, description="With this much less time left, a case counts twice as urgent."
    )
    reach: str | None = Field(
        None, max_length=64, description="Entry of a post's metadata with the number of its readers."
    )
    lease_s: float = Field(
        120,
        ge=10,
        le=3600,
        description="A case is one reviewer's for this time. Every sign of life extends it.",
    )
    audit_share: Share = Field(0.001, description="This share of all verdicts is reviewed whatever they say.")
    margin_share: Share = Field(
        0.0,
        description="This share of the verdicts that were nearly another severity is reviewed, too: to learn from.",
    )
    novelty_share: Share = Field(
        0.0,
        description="This share of the verdicts in languages that are not familiar is reviewed, too: to learn from.",
    )
    familiar_languages: tuple[_Language, ...] = Field(
        (),
        description="Languages in which people have decided much, by primary tags such as en. Others are new to the loop.",
    )
    double_share: Share = Field(0.05, description="This share of cases is decided by two people, each alone.")
    blind_share: Share = Field(
        0.25, description="In this share of cases the verdict is shown only after the first answer."
    )
    dispositions: tuple[str, ...] = Field(
        ("none", "warn", "takedown"),
        min_length=1,
        description="Dispositions that a reviewer may choose, as your policy names them.",
    )
    exposure_cap: int = Field(
        60,
        ge=0,
        le=100_000,
        description="After a reviewer found so many texts unsafe within an hour, a pause comes. 0 never asks for one.",
    )
    lift_sample: int = Field(
        10,
        ge=1,
        le=1000,
        description="After people found so many breaker cases of a tenant alike, a lead may decide the rest at once.",
    )
    golden_share: Share = Field(
        0.02,
        description="This share of what a reviewer gets has a known answer, where there are golden cases.",
    )

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        if self.oidc_issuer is not None and None in (self.oidc_client_id, self.public_url, self.key):
            raise ValueError(
                "review.oidc_issuer needs review.oidc_client_id, review.public_url and review.key, which makes pseudonyms; "
                "for example review-desk and https://review.example"
            )
        return self

    @model_validator(mode="after")
    def _key_is_long(self) -> Self:
        if self.key is not None and len(self.key.get_secret_value()) < 32:
            raise ValueError(
                "review.key is shorter than 32 characters; make one with `openssl rand -base64 32`"
            )
        return self
