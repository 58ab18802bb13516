"""All targets."""

from __future__ import annotations

from fuzz import answers, documents, records

TARGETS = {target.name: target for target in (*records.TARGETS, *answers.TARGETS, *documents.TARGETS)}
