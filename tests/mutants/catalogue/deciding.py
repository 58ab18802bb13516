"""Policies, failure modes and breakers."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline"
_BREAKER = f"{_UNIT}/flow/test_breaker.py"
_FLOW = f"{_UNIT}/flow/test_flow.py"
_ENGINE = f"{_UNIT}/flow/test_flow_engine.py"
_LONG = f"{_UNIT}/flow/test_flow_long_posts.py"
_POLICY_FILE = f"{_UNIT}/policy/test_file.py"
_SAFE = f"{_UNIT}/flow/test_flow_safe_categories.py"

MUTANTS = (
    Mutant(
        "diff_of_repeats",
        "a comparison of policies would count what a topic holds twice as two changes",
        "pipeline/policy/diff.py",
        "        if mark in self._counted:",
        "        if mark == self._counted:",
        ("tests/unit/pipeline/policy/test_diff.py::test_a_verdict_that_came_again_counts_once",),
    ),
    Mutant(
        "failure_allows",
        "a post that nobody scored would be called safe",
        "pipeline/policy/decider.py",
        "self.failure = _consequence(rules.failure_mode, FAILURE_MODE, rules)",
        "self.failure = _consequence(Action.ALLOW, FAILURE_MODE, rules)",
        (f"{_ENGINE}::test_an_engine_that_fails_on_posts_gives_their_failure_mode",),
    ),
    Mutant(
        "strangers_fail_open",
        "a tenant that the policy does not know could get a failure mode of allow",
        "pipeline/policy/reading.py",
        'if layer.values.get(path) == "allow" and layer.when.tenants is None',
        'if layer.values.get(path) == "never" and layer.when.tenants is None',
        (
            f"{_UNIT}/policy/test_policy_faults.py::test_a_fault_names_file_line_place_and_what_would_be_right",
        ),
    ),
    Mutant(
        "unread_segment",
        "a long post of which a part went unread would read as judged",
        "pipeline/flow/decision.py",
        "return _ORDER.index(policy.decide_failure(post).action), -1 if number in folded else 1, 0.0, 0.0",
        "return -1, 0, 0.0, 0.0",
        (f"{_LONG}::test_one_segment_that_fails_keeps_a_long_post_from_reading_as_judged",),
    ),
    Mutant(
        "folded_failure",
        "an engine that fails on a folded form would cost a post its judgement without need",
        "pipeline/flow/decision.py",
        "-1 if number in folded else 1",
        "1",
        (
            f"{_UNIT}/flow/test_flow_folded_forms.py::test_a_folded_form_that_fails_leaves_an_original_as_severe_its_verdict",
        ),
    ),
    Mutant(
        "folded_fault",
        "a fault in folding would cost the post its judgement",
        "pipeline/flow/routes.py",
        "                return [self._build_plain(posts[0], error)]\n",
        "                return [ItemFailure(FailureCode.INTERNAL)]\n",
        (f"{_UNIT}/flow/test_flow_folded_forms.py::test_a_fault_in_folding_costs_no_post_its_judgement",),
    ),
    Mutant(
        "folded_unread",
        "a disguised post would be judged by its disguise alone",
        "engines/text/segmenter.py",
        "if folded.differs and folded.text.strip():",
        "if not folded.differs and folded.text.strip():",
        (
            f"{_UNIT}/flow/test_flow_folded_forms.py::test_a_disguised_post_is_decided_by_its_folded_form_which_the_verdict_names",
        ),
    ),
    Mutant(
        "decision_fault",
        "a fault in deciding one post would end the worker",
        "pipeline/flow/answers.py",
        "        except Exception as error:  # noqa: BLE001",
        "        except ZeroDivisionError as error:  # noqa: BLE001",
        (f"{_FLOW}::test_a_fault_in_deciding_gives_that_post_its_failure_mode",),
    ),
    Mutant(
        "policy_reload",
        "a policy file that was broken once would never be looked at again, nor anybody told",
        "pipeline/policy/file.py",
        "            except PolicyError as error:\n                _log",
        "            except ZeroDivisionError as error:\n                _log",
        (f"{_POLICY_FILE}::test_a_broken_file_leaves_the_old_policy_in_force_and_says_so_once",),
    ),
    Mutant(
        "policy_half_written",
        "a policy file that is still being written would be taken half",
        "pipeline/policy/file.py",
        "if seen == self._settled or seen != before:",
        "if seen == self._settled:",
        (f"{_POLICY_FILE}::test_a_file_that_is_still_being_written_is_not_taken",),
    ),
    Mutant(
        "policy_fault_of_ours",
        "a policy that we cannot digest would end the watch on the file",
        "pipeline/policy/file.py",
        "            _ = policy.digest  #",
        "            #",
        (f"{_POLICY_FILE}::test_a_policy_whose_digest_cannot_be_made_leaves_the_one_in_force",),
    ),
    Mutant(
        "yaml_depth",
        "a policy file that holds itself would end the watch on it",
        "pipeline/policy/yaml_text.py",
        " or len(where) > _MOST_DEPTH",
        "",
        (
            f"{_UNIT}/policy/test_policy_faults.py::test_yaml_beyond_what_a_policy_needs_is_refused_with_its_line",
        ),
    ),
    Mutant(
        "category_names",
        "a category of the policy could carry what a terminal obeys into every verdict",
        "pipeline/policy/rules.py",
        "StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]",
        "StringConstraints(min_length=1, max_length=64)]",
        (f"{_UNIT}/policy/test_policy_faults.py::test_a_category_hides_and_reorders_nothing",),
    ),
    Mutant(
        "breaker_trips",
        "a rule gone wrong would block everything",
        "pipeline/flow/breaker.py",
        "if not blocked or not limits.exceeded(",
        "if not blocked or not limits.exceeded(posts=0, blocks=0) or limits.exceeded(",
        (f"{_BREAKER}::test_the_block_that_exceeds_the_count_is_the_first_one_withheld",),
    ),
    Mutant(
        "breaker_withholds",
        "a breaker that is open would let blocks through all the same",
        "pipeline/flow/answers.py",
        "return verdict if opened is None else",
        "return verdict if opened is None or opened else",
        (f"{_UNIT}/flow/test_flow_breaker.py::test_further_blocks_become_review_and_say_what_they_were",),
    ),
    Mutant(
        "breaker_shared",
        "what tripped in one worker would go on in the others",
        "pipeline/facts.py",
        "            elif self.add(fact):",
        "            elif fact is None:",
        (f"{_BREAKER}::test_what_another_worker_tells_withholds_here_too",),
    ),
    Mutant(
        "breaker_flood",
        "whoever may write to the control topic could fill every worker's memory",
        "pipeline/facts.py",
        "            if len(self) >= most:",
        "            if len(self) >= 10**9:",
        (f"{_BREAKER}::test_a_flood_of_facts_is_refused_and_local_trips_still_count",),
    ),
    Mutant(
        "breaker_old_trip",
        "a late trip would open again what somebody has reset",
        "pipeline/facts.py",
        "if newest is not None and newest.rank > trip.rank:",
        "if newest is not None and newest.generation < 0:",
        (f"{_UNIT}/test_facts.py::test_a_late_trip_of_an_earlier_turn_does_not_undo_a_reset",),
    ),
    Mutant(
        "breaker_forged_key",
        "a fact could stand under another's key and take its place when the topic is compacted",
        "pipeline/facts.py",
        "    if fact.key != key:",
        '    if fact.key == b"":',
        (f"{_UNIT}/test_facts.py::test_a_fact_under_another_key_is_refused",),
    ),
    Mutant(
        "scores_given_up",
        "what the engine said of one part would be lost with the part that is given up, and a block become an allow",
        "pipeline/flow/work.py",
        "            self._note_scores(over)\n",
        "            pass\n",
        (
            "tests/unit/pipeline/flow/test_work_deadlines.py::test_a_part_that_is_scored_decides_though_others_are_given_up_while_it_is_explained",
        ),
    ),
    Mutant(
        "two_policies",
        "a verdict would not say that the policy which decides it asks for more than anybody asked the engine",
        "pipeline/flow/work.py",
        "        if one is None or isinstance(one.finding, ItemFailure) or post.suffices(policy, one.finding):\n            continue\n",
        "        if one is None or isinstance(one.finding, ItemFailure) or post:\n            continue\n",
        (
            "tests/unit/pipeline/flow/test_flow_policy.py::test_what_a_policy_asks_for_that_changes_within_a_post_is_missing_where_nobody_asked_for_it",
        ),
    ),
    Mutant(
        "given_up_bare",
        "a verdict would not say that the explanation it asks for is missing",
        "pipeline/flow/work.py",
        "            _settle(post, policy, failure)\n",
        "            post.answered = True\n",
        (
            "tests/unit/pipeline/flow/test_flow_policy.py::test_a_policy_that_changes_within_a_post_that_is_given_up_says_what_is_missing",
        ),
    ),
    Mutant(
        "missing_and_lost",
        "scores would be lost where the explanation that a policy asks for is missing",
        "pipeline/flow/work.py",
        "finding=assess(one.finding.scores, missing)",
        "finding=missing",
        (
            "tests/unit/pipeline/flow/test_flow_policy.py::test_a_part_whose_explanation_is_missing_keeps_its_scores_and_decides_by_them",
        ),
    ),
    Mutant(
        "explained_as_safe",
        "low bars of categories would be dead: a guard that was made to say safe names no category",
        "pipeline/policy/decider.py",
        'return scores.harm if likeliest == "safe" and self.hangs_on_a_category(scores) else likeliest',
        "return likeliest",
        (f"{_SAFE}::test_a_bar_of_a_category_holds_where_safe_is_the_likeliest_severity",),
    ),
    Mutant(
        "safe_serves_all",
        "another tenant's explanation, which says nothing of categories, would stand for one that does",
        "pipeline/policy/rules.py",
        'return wanted == "safe" or found.explained_as != "safe"',
        "return True",
        (f"{_SAFE}::test_a_cached_explanation_serves_whom_it_tells_what_they_ask_for",),
    ),
    Mutant(
        "joined_safe",
        "posts that wait together would be explained for whoever asks least",
        "pipeline/flow/work.py",
        'if wanted is not None and wanted != "safe":',
        "if wanted is not None:",
        (f"{_SAFE}::test_posts_that_wait_for_one_judgement_are_explained_once_for_whoever_asks_most",),
    ),
    Mutant(
        "policy_turned_safe",
        "a policy that changes within a post would decide a part by an explanation that began with safe",
        "pipeline/flow/work.py",
        "return wanted is None or explains(finding, wanted)",
        "return wanted is None or finding.explained_as is not None",
        (
            "tests/unit/pipeline/flow/test_flow_safe_categories.py::test_an_explanation_that_began_with_safe_is_missing_for_a_policy_that_wants_categories_since",
        ),
    ),
    Mutant(
        "failed_explanation_allows",
        "a failed explanation would be an allow that no tenant chose",
        "pipeline/policy/decider.py",
        "unexplained = wanted is not None and found is not None and not explains(found, wanted)",
        "unexplained = False",
        (f"{_SAFE}::test_a_failed_explanation_is_no_allow_that_nobody_chose",),
    ),
    Mutant(
        "failed_explanation_general",
        "a failed explanation would pass by the bars of every category",
        "pipeline/policy/decider.py",
        "return [self._general, *self._categories]",
        "return [self._general]",
        (f"{_SAFE}::test_a_failed_explanation_is_no_allow_that_nobody_chose",),
    ),
    Mutant(
        "failure_mode_withheld",
        "a tenant's own wish to block would count as a rule gone wrong, and open its breaker",
        "pipeline/flow/answers.py",
        "if verdict.policy.rule == FAILURE_MODE:",
        "if verdict.failure is not None:",
        (f"{_SAFE}::test_a_block_by_failure_mode_is_neither_counted_nor_withheld_though_there_are_scores",),
    ),
    Mutant(
        "passage",
        "a harmful sentence among harmless ones would go unread where the model overlooks it",
        "engines/text/segmenter.py",
        "                found[number] = replace(parts, parts=(*parts.parts, apart))\n",
        "                pass\n",
        (
            "tests/unit/pipeline/flow/test_flow_long_posts.py::test_what_a_model_overlooks_in_a_long_text_is_judged_apart_and_told",
        ),
    ),
    Mutant(
        "passage_of_a_flood",
        "a word hundreds of times would hide a sentence that looks harmless to the screen",
        "engines/text/passages.py",
        "if (risk >= _LEAST_RISK or (flooded and number == 0))",
        "if risk >= _LEAST_RISK",
        (
            "tests/unit/engines/text/test_passages.py::test_of_a_flood_the_rest_is_read_however_harmless_it_looks",
        ),
    ),
    Mutant(
        "passage_bar",
        "a passage that the model hardly doubts would stop harmless posts",
        "pipeline/flow/answers.py",
        "folded=folded, least_unsafe=least",
        "folded=folded",
        (
            "tests/unit/pipeline/flow/test_flow_long_posts.py::test_a_passage_that_the_model_doubts_too_little_does_not_decide",
        ),
    ),
    Mutant(
        "passages_of_one_text",
        "whoever writes a decoy would hide what stands beside it",
        "engines/text/passages.py",
        "_MOST: Final = 3",
        "_MOST: Final = 1",
        ("tests/unit/engines/text/test_passages.py::test_the_second_passage_is_read_as_well_as_the_first",),
    ),
    Mutant(
        "passage_fault",
        "a fault in looking for passages would cost a post its judgement",
        "pipeline/flow/routes.py",
        "                return [self._build_plain(posts[0], error)]\n",
        "                return [ItemFailure(FailureCode.INTERNAL, type(error).__name__)]\n",
        (
            "tests/unit/pipeline/flow/test_flow_long_posts.py::test_a_fault_in_finding_passages_costs_no_post_its_judgement",
        ),
    ),
    Mutant(
        "passage_beside_a_cut_context",
        "a post with a long context would be judged without its passage",
        "engines/text/segmenter.py",
        "return post.turns if kept is None else kept",
        "return post.turns",
        (
            "tests/unit/engines/text/test_segmenter.py::test_a_passage_is_read_beside_its_context_as_far_as_that_fits",
        ),
    ),
    Mutant(
        "passages_of_the_bundle",
        "the shipped model would be asked without the passages that it needs",
        "engines/backends/open.py",
        "        passages=_passages(bundle.manifest),\n",
        "",
        (
            "tests/unit/engines/backends/test_open.py::test_a_bundle_that_asks_for_passages_gets_what_finds_them",
        ),
    ),
    Mutant(
        "passage_for_the_folded_form",
        "a disguised text would be doubted as a passage where its folded form, judged whole, counts",
        "engines/text/segmenter.py",
        "if (known := asked.get(part.prompt.token_ids)) is None or known > part.least_unsafe",
        "if part.prompt.token_ids not in asked",
        (
            "tests/unit/engines/text/test_segmenter.py::test_a_passage_with_a_bar_does_not_stand_for_the_folded_form_that_has_none",
        ),
    ),
)
