"""The policy file of a running worker: changes, faults, links that are turned, files that are half written."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.file import PolicyFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

ONE, TWO = "name: p\nversion: '1'\n", "name: p\nversion: '2'\n"
HUGE = 99_999_999_999_999_999_999
BROKEN = "name: p\nrules: {\n"


class Watcher:
    """A watched file, and what was told of it."""

    def __init__(self, path: Path | None) -> None:
        self.file = PolicyFile(path, look_again_s=0.005)
        self.changed: list[Policy] = []
        self.failed: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with (
            asyncio.timeout(20),
            self.file.watched(
                engines={}, changed=self.changed.append, failed=lambda error: self.failed.append(str(error))
            ),
        ):
            yield

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            await asyncio.sleep(0.002)


async def test_a_change_is_taken_up_and_told_once_it_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)
    before = watcher.file.current
    async with watcher.running():
        path.write_text(TWO)
        await watcher.until(lambda: bool(watcher.changed))
        assert watcher.file.current is watcher.changed[0]
        await asyncio.sleep(0.05)
    assert [policy.version for policy in watcher.changed] == ["2"]
    assert before.version == "1"  # whoever holds it decides by it to the end
    assert watcher.failed == []


async def test_a_broken_file_leaves_the_old_policy_in_force_and_says_so_once(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)
    with capture_logs() as logs:
        async with watcher.running():
            path.write_text(BROKEN)
            await watcher.until(lambda: bool(watcher.failed))
            await asyncio.sleep(0.05)
            assert watcher.file.current.version == "1"
            assert len(watcher.failed) == 1
            assert watcher.failed[0].startswith(f"{path}:")
            path.write_text(TWO)
            await watcher.until(lambda: bool(watcher.changed))
    assert watcher.file.current.version == "2"
    (line,) = [line for line in logs if line["event"] == "policy_reload_failed"]
    assert line["fault"] == watcher.failed[0]
    assert line["in_force"] == Policy.from_bytes(ONE.encode(), "p").digest


async def test_the_old_content_put_back_ends_the_alarm(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)
    async with watcher.running():
        path.write_text(BROKEN)
        await watcher.until(lambda: bool(watcher.failed))
        path.write_text(ONE)
        await watcher.until(lambda: bool(watcher.changed))
    assert watcher.file.current.version == "1"


async def test_a_link_that_is_turned_to_another_folder_is_a_change(tmp_path: Path) -> None:
    """As Kubernetes updates a ConfigMap: the file's own link stays, the folder's is replaced."""
    for name, text in (("first", ONE), ("second", TWO)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(text)
        os.utime(tmp_path / name / "policy.yaml", (0, 0))  # the time tells nothing
    (tmp_path / "..data").symlink_to("first")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    watcher = Watcher(tmp_path / "policy.yaml")
    async with watcher.running():
        (tmp_path / "..data_tmp").symlink_to("second")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await watcher.until(lambda: bool(watcher.changed))
    assert watcher.file.current.version == "2"


async def test_a_file_that_goes_is_a_fault_and_its_return_is_none(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)
    async with watcher.running():
        path.unlink()
        await watcher.until(lambda: bool(watcher.failed))
        assert watcher.file.current.version == "1"
        path.write_text(TWO)
        await watcher.until(lambda: bool(watcher.changed))
    assert watcher.file.current.version == "2"


async def test_a_file_that_is_still_being_written_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every beginning of a policy that ends at a line may be a policy, too."""
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)
    looks = 0

    def growing(_self: PolicyFile) -> bytes:
        nonlocal looks
        looks += 1
        rules = "".join(f"  t{number}: {{rules: {{max_tokens: 1}}}}\n" for number in range(min(looks, 20)))
        return (TWO + "tenants:\n" + rules).encode()

    monkeypatch.setattr(PolicyFile, "_read", growing)
    async with watcher.running():
        await watcher.until(lambda: bool(watcher.changed))
    assert len(watcher.changed) == 1
    assert len(watcher.changed[0].scope.tenants) == 20


async def test_a_fault_of_our_own_leaves_the_policy_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)

    def broken(_content: bytes, _source: str) -> Policy:
        raise ZeroDivisionError

    monkeypatch.setattr(Policy, "from_bytes", broken)
    async with watcher.running():
        path.write_text(TWO)
        await watcher.until(lambda: bool(watcher.failed))
    assert "ZeroDivisionError" in watcher.failed[0]
    assert watcher.file.current.version == "1"


async def test_the_built_in_policy_is_never_looked_for() -> None:
    watcher = Watcher(None)
    async with watcher.running():
        await asyncio.sleep(0.02)
    assert watcher.file.current == Policy.load(None)


def test_without_a_policy_to_begin_with_there_is_no_start(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    with pytest.raises(PolicyError, match="cannot be read"):
        PolicyFile(path)
    path.write_text(BROKEN)
    with pytest.raises(PolicyError, match="no YAML"):
        PolicyFile(path)


def test_a_reload_is_counted_stamped_and_ends_the_alarm() -> None:
    metrics = Metrics()
    value = metrics.registry.get_sample_value
    metrics.policy_reload_failed.set(1)
    policy = Policy.load(None)
    metrics.policy_changed(policy)
    assert value("sluicegate_policy_reloads_total") == 1
    assert value("sluicegate_policy_reload_failed") == 0
    labels = {"name": policy.name, "version": policy.version, "digest": policy.digest}
    assert value("sluicegate_policy_info", labels) == 1


def test_a_limit_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(PolicyError, match="max_tokens"):
        Policy.from_bytes(f"{ONE}rules: {{max_tokens: {HUGE}}}\n".encode(), "p.yaml")


def test_a_parameter_beyond_what_json_numbers_hold_exactly_has_a_digest() -> None:
    text = f"{ONE}rules: {{dispositions: {{block: {{name: x, hours: {HUGE}}}}}}}\n"
    policy = Policy.from_bytes(text.encode(), "p.yaml")
    assert policy.digest.startswith("sha256:")


async def test_a_policy_whose_digest_cannot_be_made_leaves_the_one_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(ONE)
    watcher = Watcher(path)
    digest = watcher.file.current.digest

    def broken(policy: Policy) -> str:
        if policy.version == "2":
            raise TypeError("no digest")
        return digest

    async with watcher.running():
        with monkeypatch.context() as patch:
            patch.setattr(Policy, "digest", property(broken))
            path.write_text(TWO)
            await watcher.until(lambda: bool(watcher.failed))
        assert watcher.file.current.digest == digest
