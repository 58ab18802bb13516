"""Sample posts for the demo: real and written ones, with three malformed records among them.

Sources and licences are in ``ATTRIBUTION.md`` beside the data. ``metadata.label`` is
what the source's own labels come to, not what a model should be measured by.
"""

from __future__ import annotations

from importlib import resources


def sample_records() -> list[bytes]:
    """The records in their order, each as the raw bytes of a Kafka value: 300 posts, three that are none."""
    return (resources.files(__name__) / "posts.jsonl").read_bytes().splitlines()
