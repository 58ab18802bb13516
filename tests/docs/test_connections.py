"""docs/connections.md against the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from sluicegate.pipeline.kafka import check as cluster
from sluicegate.pipeline.kafka import client_config, unreachable
from sluicegate.pipeline.kafka.topics import plan_topics
from sluicegate.pipeline.settings.tree import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "connections.md").read_text(encoding="utf-8")


def test_the_least_rights_are_those_of_the_plan() -> None:
    told = dict(re.findall(r"^\| `(topics\.\w+)` \| ([\w, ]+) \|$", PAGE, re.MULTILINE))
    planned = plan_topics(load_settings(), partitions=1, replication=1)
    assert told == {topic.setting: ", ".join(topic.worker) for topic in planned}


def test_the_sentences_of_the_page_are_those_of_the_code() -> None:
    source = "".join(map(inspect.getsource, (unreachable, client_config, cluster)))
    # A sentence may be broken over two lines of source, and holds values where the page has dots.
    source = re.sub(r'"\s+f?"|\{[^}]*\}', "", source)
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)`", PAGE, re.MULTILINE)
    assert len(rows) == 13
    for row in rows:
        for part in row.split("…"):
            assert part.strip() in source
