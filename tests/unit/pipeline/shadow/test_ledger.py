"""Signed facts as records: what of a topic counts, and what is refused once and for all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import pytest

from sluicegate.pipeline.control.topic import is_signed, read_changes
from sluicegate.pipeline.errors import CandidateError, ClusterError
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.settings.candidate import CandidateSettings
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.keys import PeopleKeys
from sluicegate.pipeline.shadow.ledger import FactLedger, SignedHistory, fact_key, read_signer
from sluicegate.pipeline.shadow.signatures import FactSigner
from sluicegate.pipeline.shadow.states import CandidateFact, CandidateState, JudgeDigests, Role
from support.candidates import write_keys

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = (
    JudgeDigests(engines=(f"sha256:{number * 64}",), policy=f"sha256:{number * 64}") for number in "12"
)


class Room:
    """A history, and people with keys who say things."""

    def __init__(self, folder: Path) -> None:
        self.private = write_keys(folder)
        self.told: list[str] = []
        keys = PeopleKeys.read(folder / "keys")
        self.signed = SignedHistory("retrained", keys, self.told.append)

    def fact(self, **fields: Any) -> CandidateFact:
        head = self.signed.history.head
        known = {
            "experiment": "retrained",
            "follows": head.digest if head is not None else None,
            "state": CandidateState.REGISTERED,
            "incumbent": OLD,
            "candidate": NEW,
            "role": Role.EDITOR,
            "by": "anna",
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "why": "because",
        }
        return CandidateFact(**known | fields)

    def say(self, key: str = "anna", **fields: Any) -> bytes:
        return FactSigner(self.private[key].read_bytes()).sign(self.fact(**fields))


def test_what_counts_and_what_does_not(tmp_path: Path) -> None:
    room = Room(tmp_path)
    signed = room.signed
    first = room.say()
    assert signed.take(first)
    assert not signed.take(first)  # twice is once
    assert not signed.take(room.say(experiment="another"))  # somebody else's experiment
    assert signed.refused == 0
    gated = {"state": CandidateState.GATED, "report": f"sha256:{'d' * 64}"}
    for forged in (None, b"", b"{", room.say("otto", **gated), room.say(follows=None, **gated)):
        assert not signed.take(forged)
    assert signed.refused == 5
    assert len(room.told) == 3  # what is no signed fact is told once
    assert signed.take(room.say(**gated))
    assert signed.history.state is CandidateState.GATED


def test_on_the_control_topic_facts_have_keys_of_their_own_and_disturb_nobody(tmp_path: Path) -> None:
    room = Room(tmp_path)
    facts = [room.fact(), room.fact(why="for another reason")]
    assert len({fact_key(fact) for fact in facts}) == 2
    record = TopicRecord("control", 0, 0, fact_key(facts[0]), b"x" * 8_000)
    assert is_signed(record.key)
    assert not is_signed(b"candidates")
    assert not is_signed(None)
    assert read_changes([record]) == ([], 0)


class Leaderless:
    """A reader of a topic with a partition that nobody leads: its end is never reached, and a look says so."""

    at_end = False

    def __init__(self, *_args: Any, **_options: Any) -> None:
        self.reads = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def read(self, _timeout_s: float) -> list[TopicRecord]:
        self.reads += 1
        assert self.reads < 10, "it waits for ever"
        return []

    def look(self, *, within_s: float) -> None:
        assert within_s < 10
        raise ClusterError("partition 0 has no leader")


def test_a_history_that_nobody_leads_is_an_error_and_no_endless_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_keys(tmp_path)
    monkeypatch.setattr("sluicegate.pipeline.shadow.ledger.TopicReader", Leaderless)
    settings = Settings(candidate=CandidateSettings(experiment="retrained", keys=tmp_path / "keys"))
    with pytest.raises(ClusterError, match="no leader"):
        FactLedger(settings).read()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, "candidate.experiment is missing"),
        ({"experiment": "retrained"}, "candidate.keys is missing"),
    ],
)
def test_a_ledger_needs_an_experiment_and_keys(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(CandidateError, match=fault):
        FactLedger(Settings(candidate=CandidateSettings(**fields)))


def test_who_says_something_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match=r"candidate\.key is missing"):
        read_signer(None)
    with pytest.raises(CandidateError, match="cannot be read"):
        read_signer(tmp_path / "absent.pem")
