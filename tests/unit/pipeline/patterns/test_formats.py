"""Other formats: the fields that STIX 2.1 and MISP require, and nothing that our own feed does not have."""

from __future__ import annotations

import json
import re

from sluicegate.pipeline.patterns.formats import misp, stix
from sluicegate.pipeline.patterns.pattern import Revocation
from unit.pipeline.patterns.circles import TODAY, feed, flood

FEED = feed(flood()).model_copy(update={"revoked": (Revocation(id="f" * 16, on=TODAY, why="a greeting"),)})
_ID = r"{}--[0-9a-f]{{8}}-[0-9a-f]{{4}}-[1-5][0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}"
REQUIRED = {
    "identity": {"name"},
    "marking-definition": {"definition_type", "definition"},
    "indicator": {"pattern", "pattern_type", "valid_from"},
}


def test_every_object_of_stix_has_what_its_schema_requires() -> None:
    bundle = stix(FEED)
    assert re.fullmatch(_ID.format("bundle"), bundle["id"])
    for one in bundle["objects"]:
        assert one.keys() >= {"type", "spec_version", "id", "created"} | REQUIRED[one["type"]]
        assert (one["type"] == "marking-definition") != ("modified" in one)
        assert one["spec_version"] == "2.1"
        assert re.fullmatch(_ID.format(one["type"]), one["id"])
        for name in {"created", "modified", "valid_from", "valid_until"} & one.keys():
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one[name])
    ids = [one["id"] for one in bundle["objects"]]
    assert len(set(ids)) == len(ids)


def test_stix_has_the_pattern_its_end_its_terms_and_what_was_revoked() -> None:
    good, revoked = (one for one in stix(FEED)["objects"] if one["type"] == "indicator")
    assert json.loads(good["pattern"])["values"] == list(FEED.patterns[0].values)
    assert good["valid_until"] > good["valid_from"]
    assert good["object_marking_refs"]
    assert revoked["revoked"] is True


def test_misp_has_what_it_requires_and_detects_nothing_by_itself() -> None:
    event = misp(FEED)["Event"]
    assert event.keys() >= {
        "uuid",
        "info",
        "date",
        "threat_level_id",
        "analysis",
        "distribution",
        "Attribute",
    }
    (attribute,) = event["Attribute"]
    assert attribute.keys() >= {"uuid", "type", "category", "value", "to_ids"}
    assert attribute["to_ids"] is False
    assert json.loads(attribute["value"])["id"] == FEED.patterns[0].id
