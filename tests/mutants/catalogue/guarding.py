"""The small guard before the large one: what it may be asked, when it rests, and who waits for it."""

from __future__ import annotations

from mutants.mutant import Mutant

_GUARD, _ITS_TESTS = "engines/screen/guard.py", "tests/unit/engines/screen/test_guard.py"
_SCREENING = "pipeline/flow/screening.py"
_CASCADE = "tests/unit/pipeline/flow/test_screening_guard.py"
_FIRST, _WAITS = "pipeline/flow/first_answers.py", "tests/unit/pipeline/flow/test_first_answers.py"
_MEASURING = "engines/adapt/screen/guarding.py"
_MEASURED = "tests/unit/engines/adapt/screen/test_guarding.py"

MUTANTS = (
    Mutant(
        "guard_hints",
        "a producer's language and region would move scores whose errors were measured without them",
        _GUARD,
        'update={"language": None, "region": None}',
        "update={}",
        (f"{_ITS_TESTS}::test_it_is_shown_what_was_measured_and_no_hint_of_the_producers",),
    ),
    Mutant(
        "guard_more_than_the_text",
        "a disguised text would be allowed by an error that was measured on texts without disguise",
        _GUARD,
        "len(one.parts) == 1",
        "one.parts",
        (
            f"{_ITS_TESTS}::test_a_text_with_a_folded_form_is_the_large_guards",
            f"{_ITS_TESTS}::test_a_text_with_a_passage_that_is_judged_apart_is_the_large_guards",
        ),
    ),
    Mutant(
        "guard_late",
        "each chunk of posts would wait the whole time for a small guard that is slow",
        _GUARD,
        "one.code is FailureCode.TIMED_OUT for one in failures",
        "False for one in failures",
        (f"{_ITS_TESTS}::test_prompts_that_are_late_make_it_rest_and_those_that_are_not_count",),
    ),
    Mutant(
        "guard_deadline",
        "a small guard that hangs would hold every post for good",
        _GUARD,
        "asyncio.timeout(within_s + min(_GRACE_S, within_s))",
        "asyncio.timeout(None)",
        (f"{_ITS_TESTS}::test_one_that_keeps_no_deadline_is_left_at_ours",),
    ),
    Mutant(
        "guard_patience",
        "posts of a tenant that waits a second would get its failure mode while the large guard is well",
        _GUARD,
        "min(self._timeout_s, patience_s / 4)",
        "self._timeout_s",
        (f"{_ITS_TESTS}::test_one_that_hangs_leaves_the_least_patient_post_half_of_its_wait",),
    ),
    Mutant(
        "guard_health",
        "posts would try out a small guard that says that it is ill",
        _GUARD,
        'why = None if health.ok else health.detail or "it is not well"',
        "why = None",
        (f"{_ITS_TESTS}::test_the_pause_grows_to_a_minute_until_posts_are_answered_again",),
    ),
    Mutant(
        "guard_pause",
        "a small guard that never answers would cost a chunk of posts its wait every five seconds",
        _GUARD,
        "min(2 * self._pause_s, _PAUSE_MOST_S)",
        "self._pause_s",
        (f"{_ITS_TESTS}::test_the_pause_grows_to_a_minute_until_posts_are_answered_again",),
    ),
    Mutant(
        "guard_unnamed",
        "a small guard would allow posts under a policy that was made for other engines",
        _SCREENING,
        "if policy.engines and screen.guard.digest not in policy.engines:",
        "if False:",
        (
            f"{_CASCADE}::test_under_a_policy_that_names_other_engines_it_answers_nothing",
            f"{_CASCADE}::test_a_policy_that_comes_while_it_judges_takes_its_answer_back",
        ),
    ),
    Mutant(
        "guard_of_its_own_posts",
        "samples that it judges itself would hide that it is wrong",
        _SCREENING,
        "if self._settings.guard is not None and self._settings.guard in policy.adapters:",
        "if False:",
        (f"{_CASCADE}::test_of_posts_that_it_judges_as_their_own_engine_it_says_nothing",),
    ),
    Mutant(
        "guard_in_the_worker",
        "a post that the small guard dies of would end the worker again and again",
        _SCREENING,
        "if info.backend not in _SERVED_APART:",
        "if False:",
        (f"{_CASCADE}::test_one_that_would_take_the_workers_own_room_is_refused",),
    ),
    Mutant(
        "guard_of_itself",
        "the large guard would be sampled against itself, and never be wrong",
        _SCREENING,
        "if other != name and info.digest == one.engine.info.digest:",
        "if False:",
        (f"{_CASCADE}::test_the_large_guard_cannot_be_its_own_small_one",),
    ),
    Mutant(
        "guard_on_anothers_server",
        "a post that the small guard dies of would be blamed on prompts of the adapter beside it",
        _SCREENING,
        "if other != name and backend.server is not None and backend.server == one.server:",
        "if False:",
        (f"{_CASCADE}::test_one_on_the_server_of_another_engine_is_refused",),
    ),
    Mutant(
        "guard_elsewhere",
        "scores of another server would be trusted by errors that were never measured there",
        _SCREENING,
        "if info.backend != manifest.backend:",
        "if False:",
        (f"{_CASCADE}::test_what_was_measured_behind_another_backend_is_refused",),
    ),
    Mutant(
        "guard_holds_nobody_up",
        "no worker would join its group while the small guard is away, though the large one can judge",
        _FIRST,
        "{*map(_place, self._optional - self._policy().adapters)}",
        "set()",
        (f"{_WAITS}::test_a_small_guard_that_is_away_keeps_no_worker_from_its_group",),
    ),
    Mutant(
        "guard_stands_in_for_nobody",
        "a worker whose only engine is away would join its group for the sake of its small guard",
        _FIRST,
        "{*map(_place, self._backends)} - self._spared",
        "{*map(_place, self._backends)}",
        (f"{_WAITS}::test_a_small_guard_that_answers_stands_in_for_no_engine",),
    ),
    Mutant(
        "guard_measured_with_hints",
        "errors measured with hints would be believed of prompts without them",
        _MEASURING,
        "judged.terms.calibrated or judged.terms.hints or",
        "judged.terms.calibrated or",
        (f"{_MEASURED}::test_what_says_nothing_of_new_posts_is_refused",),
    ),
    Mutant(
        "guard_measured_on_disguises",
        "texts that the small guard is never asked about would make its errors look other than they are",
        _MEASURING,
        " and not fold(row.text).differs",
        "",
        (f"{_MEASURED}::test_rows_that_a_worker_gives_to_the_large_guard_are_not_measured",),
    ),
)
