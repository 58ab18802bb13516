"""All targets."""

from __future__ import annotations

from fuzz import answers, documents, records, schedules

TARGETS = {
    target.name: target
    for target in (*records.TARGETS, *answers.TARGETS, *documents.TARGETS, *schedules.TARGETS)
}
