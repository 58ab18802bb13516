"""The policy file broken while workers run."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from faults.scenario import scenario
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Verdict
from support.workers import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.kubelet import Kubelet
    from faults.stage import Stage

_RATE_PER_S = 100.0
_SEEN_S = 30.0
_MENDED_POSTS = 50
_PIECES, _PIECE_S = 15, 0.2  # longer in writing than three looks at the file take


def document(version: int) -> str:
    """A policy whose every decision names its version, and that is cut short by no end of a line."""
    names = ", ".join(f"{action}: {action}_{version}" for action in ("allow", "review", "block"))
    rules = f"block_at: {{unsafe: 0.{9 - version % 4}}}, dispositions: {{{names}}}"
    return f'name: broken-at-times\nversion: "{version}"\nrules: {{{rules}}}\n'


def _delete(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.yaml")


def _aliases(path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]
    path.write_text("\n".join(["l0: &l0 [x, x]", *levels]))


BREAKS: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "empty": lambda path: path.write_text(""),
    "half": lambda path: path.write_text(document(1)[: len(document(1)) // 2]),
    "deleted": _delete,
    "huge": lambda path: path.write_text(document(1) + "# " + "x" * 4_000_000),
    "a folder in its place": _folder,
    "a link to nowhere": _dangling_link,
    "another meaning": lambda path: path.write_text("- a list\n- of words\n"),
    "brackets without end": lambda path: path.write_text("rules: " + "[" * 50_000),
    "aliases of aliases": _aliases,
}


@scenario(number=8, name="policy-file-broken", short=True)
def policy_file_broken(stage: Stage) -> None:
    """The file is broken in ten ways and mended after each; the policy in force goes on, and says so."""
    path = stage.lane.folder / "policy.yaml"
    path.write_text(document(1))
    versions = 1
    kubelet = stage.kubelet(2, {"policy.path": str(path)})
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S)
    for name in stage.rng.sample(list(BREAKS), stage.scaled(len(BREAKS))):
        stage.history.note("break", how=name)
        BREAKS[name](path)
        _wait_alarm(kubelet, name, 1)
        stage.lane.wait_answers(stage.lane.answers() + _MENDED_POSTS, within_s=60)
        versions += 1
        _mend(path, document(versions))
        _wait_alarm(kubelet, f"{name}, mended", 0)
    versions += 1
    _write_slowly(path, document(versions) + "# nothing\n" * 100)
    _wait_version(kubelet, versions)
    stage.lane.wait_answers(stage.lane.answers() + _MENDED_POSTS, within_s=60)
    load.stop()
    stage.wait_settled()
    told = {worker.output.count('"policy_reload_failed"') for worker in kubelet.workers}
    stage.require(told == {versions - 2}, f"{told} faults told of {versions - 2} that were made")
    stage.require(not kubelet.restarts, f"workers ended: {dict(kubelet.exits)}")
    _check_decisions(stage, versions)


def _mend(path: Path, text: str) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def _write_slowly(path: Path, text: str) -> None:
    """Write a file in pieces, of which the first makes it invalid until the last."""
    size = len(text) // _PIECES + 1
    with path.open("w") as file:
        for start in range(0, len(text), size):
            file.write(text[start : start + size])
            file.flush()
            time.sleep(_PIECE_S)


def _wait_alarm(kubelet: Kubelet, what: str, value: int) -> None:
    def told() -> bool:
        workers = kubelet.workers
        return bool(workers) and all(
            worker.metric("sluicegate_policy_reload_failed") == value for worker in workers
        )

    until(f"alarm {value} ({what})", told, within_s=_SEEN_S)


def _wait_version(kubelet: Kubelet, version: int) -> None:
    """Wait until a version is in force everywhere."""
    stamp = f'version="{version}"'
    until(
        f"policy version {version}",
        lambda: all(stamp in worker.get("/metrics")[1] for worker in kubelet.workers),
        within_s=_SEEN_S,
    )


def _check_decisions(stage: Stage, versions: int) -> None:
    """Demand that each verdict is decided by one of the whole files, from end to end."""
    texts = [*map(document, range(1, versions)), document(versions) + "# nothing\n" * 100]
    policies = {found.digest: found for found in (Policy.from_bytes(text.encode(), "") for text in texts)}
    count: Counter[str] = Counter()
    for record in stage.lane.read():
        verdict = Verdict.model_validate(record.body, strict=False)
        policy = policies.get(verdict.policy.digest)
        if policy is None or verdict.scores is None:
            stage.require(condition=False, message="a verdict by no policy that was ever whole")
            continue
        decision = policy.decide(verdict, verdict.scores, verdict)
        same = (verdict.action, verdict.disposition) == (decision.action, decision.disposition)
        stage.require(same, "a verdict bears one policy's stamp and another's decision")
        count[policy.version] += 1
    stage.note("decided", policies=len(count))
    stage.require(len(count) == versions, f"verdicts of {len(count)} versions of {versions}")
