"""Hand over: what a cycle wrote becomes a candidate that judges beside the live engine, and acts on nothing."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sluicegate.engines.files import replacing
from sluicegate.pipeline.command import candidate
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import load_settings, read_tree

FOLDER = "candidate"


class WrittenCandidate(NamedTuple):
    """A candidate's files, ready to be signed for."""

    experiment: str
    settings: Path
    """Those of the live workers, with the candidate in them."""
    report: Path
    """Of the gate."""


def write_candidate(
    run: Path, bundle: Path, digest: str, tenant: str | None, live: Path | None
) -> WrittenCandidate:
    """Write a policy that has the new adapter judge, and settings that know it. The same run gives the same files.

    Args:
        run: The run's folder. Its name is the experiment's and the adapter's: no other run has it.
        bundle: What the gate let in.
        digest: Of it: another bundle in its place is refused.
        tenant: Whose own adapter it is; the others keep theirs. None: everybody's.
        live: Settings of the live workers.

    Raises:
        PolicyError: The live policy cannot be used.
        SettingsError: The live settings cannot be read.
    """
    experiment = run.name.replace(".", "-")
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    policy = deepcopy(Policy.load(load_settings(live).policy.path).written.data)
    speaks = policy if tenant is None else policy.setdefault("tenants", {}).setdefault(tenant, {})
    speaks.setdefault("rules", {})["adapter"] = experiment
    _write(folder / "policy.yaml", policy)
    tree = read_tree(live)
    named = {"experiment": experiment, "policy": str((folder / "policy.yaml").absolute())}
    tree["candidate"] = {**(tree.get("candidate") or {}), **named}
    engine = tree["engine"] = {**(tree.get("engine") or {})}
    engine["adapters"] = {
        **(engine.get("adapters") or {}),
        experiment: {"bundle": str(bundle.absolute()), "digest": digest},
    }
    _write(folder / "settings.yaml", tree)
    return WrittenCandidate(experiment, folder / "settings.yaml", run / "gate.json")


def commands(written: WrittenCandidate) -> list[str]:
    """What an editor says at a terminal, to have the candidate judge beside the live engine."""
    rest = f"--settings {written.settings} --key YOURS.pem --reason 'the cycle {written.experiment}'"
    return [
        f"sluicegate candidate register {rest}",
        f"sluicegate candidate gate --report {written.report} {rest}",
        f"sluicegate candidate start {rest}",
    ]


def hand_over(written: WrittenCandidate, key: Path) -> None:
    """Say so with an editor's key: registered, gated, in the shadow. What was said before is not said again.

    Args:
        written: The candidate.
        key: Private key of an editor. It can let nothing act: that takes an approver, who is somebody else.

    Raises:
        CandidateError: The settings lack `candidate.keys`, or the key is no editor's.
        ClusterError: The brokers do not take it.
    """
    from sluicegate.pipeline.shadow.ledger import FactLedger  # noqa: PLC0415 - an extra

    said = {fact.state for fact in FactLedger(load_settings(written.settings), key).read().facts}
    given: dict[str, Any] = {
        "reason": f"the cycle {written.experiment}",
        "key": key,
        "settings": written.settings,
    }
    if "registered" not in said:
        candidate.register(**given)
    if "gated" not in said:
        candidate.gate(report=written.report, **given)
    if "shadow" not in said:
        candidate.start(share=None, **given)


def _write(path: Path, document: dict[str, Any]) -> None:
    """A file for its owner alone: settings may hold a password."""
    with replacing(path) as stream:
        os.fchmod(stream.fileno(), 0o600)
        stream.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode())
