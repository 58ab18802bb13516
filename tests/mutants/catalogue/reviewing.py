"""What people decide: that it counts, that it goes out, and that nobody decides what they did not see."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline/review"
_CASES = f"{_UNIT}/test_cases.py"
_DECISIONS = f"{_UNIT}/test_decisions.py"
_PAGES = f"{_UNIT}/web/test_case_pages.py"
_PRECEDENCE = "tests/unit/schemas/test_precedence.py"

MUTANTS = (
    Mutant(
        "authority",
        "a later verdict would overrule a person",
        "schemas/precedence.py",
        "key=lambda one: (one.authority, one.at, one.name))",
        "key=lambda one: (one.at, one.name))",
        (f"{_PRECEDENCE}::test_no_later_verdict_overrules_a_person",),
    ),
    Mutant(
        "authority_of_content",
        "the approval of one text would be taken for that of another",
        "schemas/precedence.py",
        "    here = [one for one in claims if one.content == content]\n",
        "    here = list(claims)\n",
        (
            f"{_PRECEDENCE}::test_an_approved_text_that_is_swapped_at_an_equal_revision_returns_to_the_machine",
        ),
    ),
    Mutant(
        "projector_offsets",
        "two projectors would both take a record",
        "pipeline/review/projector.py",
        "    if not moved.rowcount:\n        raise OvertakenError\n",
        "",
        (f"{_UNIT}/test_projector.py::test_two_projectors_do_not_both_take_a_record",),
    ),
    Mutant(
        "case_of_an_edited_post",
        "people would decide about a text that is not there any more",
        "pipeline/review/cases.py",
        "            self._leave(connection, [row], why)\n",
        "",
        (f"{_CASES}::test_another_text_closes_the_open_case_and_asks_anew",),
    ),
    Mutant(
        "second_answer",
        "two reviewers would both decide a case",
        "pipeline/review/decisions.py",
        '    if case.state == "decided":\n        return "Somebody else has decided the case meanwhile."\n',
        "",
        (f"{_DECISIONS}::test_who_comes_second_is_told_what_changed",),
    ),
    Mutant(
        "outbox_before_brokers",
        "a decision would count as sent that no broker has",
        "pipeline/review/outbox.py",
        "    if isinstance(outcome, Placed):\n        placed.append(number)\n",
        "    placed.append(number)\n    if isinstance(outcome, Placed):\n        pass\n",
        (f"{_UNIT}/test_outbox.py::test_what_the_brokers_refuse_stays_and_the_rest_goes",),
    ),
    Mutant(
        "erased_author",
        "texts of an erased author would be kept again",
        "pipeline/review/vault.py",
        "            return None if row.secret is None else self._unwrapped(row.secret, ref)\n        if not make:\n",
        "            if row.secret is not None:\n                return self._unwrapped(row.secret, ref)\n"
        "            return AESGCM.generate_key(256)\n        if not make:\n",
        (f"{_UNIT}/test_vault.py::test_an_erased_author_leaves_no_text_and_none_comes_again",),
    ),
    Mutant(
        "blind_page",
        "a reviewer would see the verdict before the first answer",
        "pipeline/review/web/evidence.py",
        "        verdict=None if blind else verdict,\n",
        "        verdict=verdict,\n",
        (f"{_PAGES}::test_a_blind_page_has_nothing_of_the_verdict",),
    ),
    Mutant(
        "escaping",
        "a text would be taken for a part of the page",
        "pipeline/review/web/rendering.py",
        "        autoescape=True,\n",
        "        autoescape=False,\n",
        (f"{_PAGES}::test_hostile_texts_are_nothing_but_text",),
    ),
    Mutant(
        "forged_form",
        "another site could decide in a reviewer's name",
        "pipeline/review/web/sessions.py",
        "            if not is_of(session, csrf):\n                raise HTTPException(403)\n",
        "",
        (f"{_PAGES}::test_a_form_that_no_page_made_is_refused",),
    ),
)
