"""Reuse of near duplicates: who stands for whom, and who waits."""

from __future__ import annotations

from mutants.mutant import Mutant

_REUSE = "pipeline/flow/near_duplicates.py"
_TESTS = "tests/unit/pipeline/flow/test_near_duplicates.py"

MUTANTS = (
    Mutant(
        "copies_forgotten",
        "copies that wait for a text in work would never be answered",
        "pipeline/flow/work.py",
        "        for follower in lead.followers:\n",
        "        for follower in lead.followers[:0]:\n",
        (
            "tests/unit/pipeline/flow/test_near_duplicates.py::test_a_flood_of_copies_in_flight_costs_one_judgement",
        ),
    ),
    Mutant(
        "copies_of_a_failure",
        "copies that waited for a text that failed would never be answered",
        "pipeline/flow/work.py",
        "            else:\n                self._ask(follower, policy, now, settled)\n",
        "            else:\n                pass\n",
        (
            "tests/unit/pipeline/flow/test_near_duplicates.py::test_where_the_first_fails_the_others_are_asked_for",
        ),
    ),
    Mutant(
        "unsure_finding",
        "a finding beside a threshold would stand for texts that deserve another action",
        _REUSE,
        "KnownText(finding if sure else None,",
        "KnownText(finding,",
        (f"{_TESTS}::test_an_unsure_finding_stands_for_nobody_and_makes_nobody_wait_again",),
    ),
    Mutant(
        "policy_of_a_finding",
        "a finding that was sure under one policy would be reused under another, where it is not",
        _REUSE,
        "orjson.dumps([policy_digest, info.digest,",
        "orjson.dumps([info.digest,",
        (f"{_TESTS}::test_another_policy_begins_anew",),
    ),
    Mutant(
        "unread_form",
        "a text written to be misread would stand for the text that a reader sees",
        _REUSE,
        "stands=folded or reduced == post.text,",
        "stands=True,",
        (f"{_TESTS}::test_a_text_that_was_written_to_be_misread_stands_for_no_other",),
    ),
)
