from __future__ import annotations

from sluicegate.pipeline.observe.instruments import BusyMeter


class Now:
    value = 0.0

    def __call__(self) -> float:
        return self.value


def test_only_time_at_saturation_counts() -> None:
    now = Now()
    meter = BusyMeter(4, now)
    with meter.work(2):
        now.value = 1.0  # not saturated
        with meter.work(2):
            now.value = 3.0  # saturated for two seconds
            assert meter.busy_s() == 2.0
            assert meter.in_work == 4
        now.value = 7.0
    now.value = 9.0
    assert meter.busy_s() == 2.0
    assert meter.in_work == 0


def test_a_failed_call_ends_its_work() -> None:
    meter = BusyMeter(1, Now())
    try:
        with meter.work(1):
            raise ValueError
    except ValueError:
        pass
    assert meter.in_work == 0
