"""The network between workers and broker: cut, slow, half-open. The load and the accounting go past it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faults.scenario import scenario
from support.proxy import Proxy
from support.workers import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.stage import Stage

SESSION_S = float(QUICK["kafka.session_timeout_s"])
_RATE_PER_S = 100.0


@scenario(number=5, name="network-cut", short=True)
def network_cut(stage: Stage) -> None:
    """Connections break and are refused for longer than the session timeout."""
    _disturb(stage, Proxy.cut, count=4, seconds=2.5 * SESSION_S)


@scenario(number=5, name="network-half-open")
def network_half_open(stage: Stage) -> None:
    """Connections stay, new ones are accepted, and nobody says anything for longer than the session timeout."""
    _disturb(stage, Proxy.silence, count=3, seconds=3 * SESSION_S)


@scenario(number=5, name="network-slow")
def network_slow(stage: Stage) -> None:
    """A link of 20 kB/s that delays every piece by a tenth of a second."""
    _disturb(stage, lambda proxy: proxy.slow(bytes_per_s=20_000, delay_s=0.1), count=2, seconds=15.0)


def _disturb(stage: Stage, disturb: Callable[[Proxy], None], *, count: int, seconds: float) -> None:
    ((port, advertised),) = stage.kafka.side_doors
    stage.lane.set_fake(call_overhead_s=0.05)
    with Proxy(advertised, port) as proxy:
        kubelet = stage.kubelet(2, {"kafka.bootstrap_servers": f"127.0.0.1:{advertised}"})
        kubelet.wait_ready()
        load = stage.load(_RATE_PER_S)
        times = stage.scaled(count)
        for _ in range(times):
            time.sleep(stage.rng.uniform(2.0, 5.0))
            stage.note("disturbed")
            disturb(proxy)
            time.sleep(seconds)
            proxy.restore()
            stage.note("restored")
        time.sleep(stage.rng.uniform(1.0, 3.0))
        load.stop()
        exits = sum(kubelet.exits.values())
        stage.note("over", disturbances=times, connections=proxy.connections, worker_exits=exits)
        stage.wait_settled(120.0)
        kubelet.stop()  # while there still is a way to the broker
