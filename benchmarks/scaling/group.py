"""Pods that load an engine, join a consumer group and share its partitions. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


def assigned(owners: list[int], members: list[int]) -> list[int]:
    """Partitions to members as Faust's assignor shares them: what a member holds stays, up to its even share.

    Args:
        owners: Member by partition, from before.
        members: Who is in the group now.
    """
    least = len(owners) // len(members)
    most = -(-len(owners) // len(members))
    held = dict.fromkeys(members, 0)
    found = [-1] * len(owners)
    for partition, owner in enumerate(owners):
        if held.get(owner, least) < least:
            found[partition] = owner
            held[owner] += 1
    for partition, owner in enumerate(found):
        if owner < 0:
            lightest = min((member for member in members if held[member] < most), key=lambda one: held[one])
            found[partition] = lightest
            held[lightest] += 1
    return found


@dataclass
class Group:
    """Workers of one release and the partitions that they hold.

    Args:
        partitions: Of the posts topic.
        pause_s: What one rebalance costs.
        eager: All partitions stand still in a rebalance, as with Faust; else those alone that move.
    """

    partitions: int
    pause_s: float
    eager: bool = True
    rebalances: int = 0
    owners: list[int] = field(default_factory=list)
    still_until: list[float] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)
    loading: list[tuple[float, int]] = field(default_factory=list)
    shares: list[list[int]] = field(default_factory=list)
    """Partitions by worker."""
    heaviest: int = 0
    """Partitions of the worker with most of them."""
    settled_at: float = 0.0
    """From then on nothing stands still."""
    _named: int = 0

    @classmethod
    def of(cls, workers: int, partitions: int, *, pause_s: float, eager: bool = True) -> Group:
        """One whose workers have long joined."""
        group = cls(partitions, pause_s, eager)
        group.joined = list(range(workers))
        group._named = workers
        group.still_until = [0.0] * partitions
        group._share([-1] * partitions)
        return group

    @property
    def pods(self) -> int:
        """All there are, loading or not."""
        return len(self.joined) + len(self.loading)

    def add(self, ready_at: float) -> None:
        """A pod more, whose engine is loaded at a moment."""
        self.loading.append((ready_at, self._named))
        self._named += 1

    def remove(self, count: int) -> bool:
        """Pods fewer: those that still load first, then the youngest.

        Returns:
            Whether a member left the group.
        """
        from_loading = min(count, len(self.loading))
        del self.loading[len(self.loading) - from_loading :]
        left = count - from_loading
        del self.joined[len(self.joined) - left :]
        return left > 0

    def admit(self, now: float) -> bool:
        """Let those join whose engine is loaded.

        Returns:
            Whether one did.
        """
        if not self.loading:
            return False
        ready = [number for at, number in self.loading if at <= now]
        self.loading = [one for one in self.loading if one[0] > now]
        self.joined += ready
        return bool(ready)

    def moving(self, now: float) -> list[list[int]]:
        """Partitions by worker, without those that stand still."""
        if self.settled_at <= now:
            return self.shares
        return [[one for one in held if self.still_until[one] <= now] for held in self.shares]

    def rebalance(self, now: float) -> None:
        """Share the partitions anew. One that is under way begins again."""
        before = self.owners
        self._share(before)
        self.rebalances += 1
        self.settled_at = now + self.pause_s
        for partition, (old, new) in enumerate(zip(before, self.owners, strict=True)):
            if self.eager or old != new:
                self.still_until[partition] = self.settled_at

    def _share(self, before: list[int]) -> None:
        self.owners = assigned(before, self.joined)
        held: dict[int, list[int]] = {}
        for partition, owner in enumerate(self.owners):
            held.setdefault(owner, []).append(partition)
        self.shares = list(held.values())
        self.heaviest = max(map(len, self.shares))
