"""An experiment with a candidate on a lane: policies, keys, and the facts that people and machines sign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sluicegate.pipeline.settings.candidate import CandidateSettings
from sluicegate.pipeline.settings.tree import KafkaSettings, Settings, TopicSettings
from sluicegate.pipeline.shadow.ledger import FactLedger, FactToSay, WrittenFact
from sluicegate.pipeline.shadow.states import CandidateState, Role
from support import command

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from sluicegate.pipeline.shadow.states import JudgeDigests
    from support.workers import Lane

EXPERIMENT = "retrained"
REPORT = f"sha256:{'d' * 64}"
PEOPLE = {"anna": "editor", "otto": "approver", "amy": "approver", "comparator": "machine"}
S = CandidateState
BY = {
    S.REGISTERED: "anna",
    S.GATED: "anna",
    S.SHADOW: "anna",
    S.CERTIFIED: "comparator",
    S.CANARY: "otto",
    S.PROMOTED: "otto",
    S.WATCHED: "comparator",
    S.ROLLED_BACK: "anna",
}
WAY = (S.REGISTERED, S.GATED, S.SHADOW, S.CERTIFIED, S.CANARY, S.PROMOTED)


def write_keys(folder: Path, people: dict[str, str] | None = None) -> dict[str, Path]:
    """Private keys in a folder by their owner, and the public ones in ``keys`` below it, named by role and owner."""
    public = folder / "keys"
    public.mkdir(parents=True)
    written = {}
    pem = serialization.Encoding.PEM
    for name, role in (people or PEOPLE).items():
        key = Ed25519PrivateKey.generate()
        written[name] = folder / f"{name}.pem"
        written[name].write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        (public / f"{role}.{name}.pem").write_bytes(
            key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
    return written


@dataclass
class Experiment:
    """A candidate of a lane's workers."""

    lane: Lane
    judges: tuple[JudgeDigests, JudgeDigests] | None = None
    """Incumbent and candidate, as the first fact names them; without: those of the policies, for the fake engine."""

    def __post_init__(self) -> None:
        folder = self.lane.folder
        self.private = write_keys(folder / "people")
        self.topic = f"{self.lane.prefix}.candidates"
        self.policies = {name: folder / f"{name}.yaml" for name in ("incumbent", "candidate")}

    def set_policies(self, incumbent: str, candidate: str) -> None:
        """Write both policies."""
        self.policies["incumbent"].write_text(incumbent)
        self.policies["candidate"].write_text(candidate)

    @property
    def settings(self) -> dict[str, str]:
        """What a worker that may have a candidate is set to."""
        return {
            "topics.candidates": self.topic,
            "policy.path": str(self.policies["incumbent"]),
            "candidate.experiment": EXPERIMENT,
            "candidate.policy": str(self.policies["candidate"]),
            "candidate.keys": str(self.lane.folder / "people" / "keys"),
        }

    def ledger(self, by: str) -> FactLedger:
        """The ledger, for somebody who speaks."""
        return FactLedger(
            Settings(
                kafka=KafkaSettings(bootstrap_servers=self.lane.bootstrap, delivery_timeout_s=10),
                topics=TopicSettings(candidates=self.topic, control=f"{self.lane.prefix}.control"),
                candidate=CandidateSettings(experiment=EXPERIMENT, keys=self.lane.folder / "people" / "keys"),
            ),
            self.private[by],
        )

    def say(self, state: CandidateState, *, by: str | None = None, **fields: Any) -> WrittenFact:
        """Sign a fact that follows on the newest one, and write it."""
        by = by or BY[state]
        fields.setdefault(
            "report", REPORT if state not in {S.REGISTERED, S.SHADOW, S.ROLLED_BACK, S.WATCHED} else None
        )
        if state in {S.SHADOW, S.CANARY}:
            fields["share"] = fields.get("share") or 0.5
        judges = self.judges
        wanted = FactToSay(
            state,
            f"said by a test at {datetime.now(UTC).isoformat()}",
            tuple(Role),
            judges=None if judges is None else lambda: judges,
            **fields,
        )
        ledger = self.ledger(by)
        return ledger.say(ledger.following(wanted))

    def bring_to(self, state: CandidateState, **fields: Any) -> None:
        """Say what is left of the way up to a state; the fields are the last one's."""
        said = {fact.state for fact in self.ledger("anna").read().facts}
        for step in [one for one in WAY if one not in said]:
            self.say(step, **(fields if step is state else {}))
            if step is state:
                return

    def command(self, *arguments: str, by: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``sluicegate candidate`` as somebody at a terminal does."""
        variables = command.variables_of(
            self.settings
            | {
                "kafka.bootstrap_servers": self.lane.bootstrap,
                "topics.control": f"{self.lane.prefix}.control",
                "engine.backend": "fake",
                "engine.fake_profile": str(self.lane.folder / "fake.json"),
            }
            | self.engines
        )
        key = [] if by is None else ["--key", str(self.private[by])]
        return command.run("candidate", *arguments, *key, **variables)

    @property
    def engines(self) -> dict[str, str]:
        """Settings of the candidate's adapter, where it has one."""
        profile = self.lane.folder / "next.json"
        return {"engine.adapters.next.fake_profile": str(profile)} if profile.exists() else {}
