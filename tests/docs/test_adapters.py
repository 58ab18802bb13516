"""docs/adapters.md against the code: targets, and what ships."""

from __future__ import annotations

import re

from docs.pages import ROOT, text
from sluicegate.engines.adapt.export import ship
from sluicegate.engines.bundle.calibration import CALIBRATION
from sluicegate.engines.bundle.manifest import MANIFEST
from sluicegate.engines.cpu_model import ADAPTER_FACTS, ADAPTER_WEIGHTS, SMALL
from sluicegate.pipeline.command.adapt.export import Target

PAGE = text("adapters")


def test_the_page_names_every_target_and_what_ships() -> None:
    exported = PAGE.partition("## Give a tenant")[0]
    assert re.findall(r"^\| `([a-z][a-z_-]+)` \|", exported, re.MULTILINE) == [one.value for one in Target]
    for name in (ADAPTER_WEIGHTS, ADAPTER_FACTS, MANIFEST, CALIBRATION):
        assert f"`{name}`" in PAGE
    assert f"`engines/assets/adapters/{SMALL.adapter_folder().name}/`" in PAGE
    assert f"at most {ship.MOST_BYTES // 1_000_000} MB" in PAGE


def test_what_the_page_runs_is_there() -> None:
    assert f"python -m {ship.__name__} " in PAGE
    (script,) = re.findall(r"^python (benchmarks/\S+)", PAGE, re.MULTILINE)
    assert (ROOT / script).exists()
