"""The engine: what it answers, and its absence."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline"
_ENGINE = f"{_UNIT}/flow/test_flow_engine.py"
_STRAIN = f"{_UNIT}/flow/test_flow_under_strain.py"
_COMPLETIONS = "tests/contract/test_completions.py"
_OVER_HTTP = "tests/contract/test_completions_contract.py::TestStubOfVllm"
_STANDING = f"{_UNIT}/flow/test_adapter_state.py"
_SERVER = f"{_UNIT}/flow/test_server_state.py"
_SERVERS = f"{_UNIT}/flow/test_servers.py"
_SCHEDULES = (
    "tests/unit/pipeline/flow/test_work.py"
    "::test_whatever_happens_in_which_order_every_post_is_answered_once_and_with_what_is_known_of_it"
)

MUTANTS = (
    Mutant(
        "label_mass",
        "a model that was led astray would be believed by the rest of its probability",
        "engines/protocol.py",
        "answer.label_mass >= least",
        "answer.label_mass >= 0",
        (f"{_STRAIN}::test_a_model_that_would_rather_write_something_else_than_a_label_judges_nothing",),
    ),
    Mutant(
        "mass_of_all",
        "every engine would look sure of its labels, so that a blocked post is allowed for a long tail of nothing",
        "engines/backends/dialects/base.py",
        "label_mass=min(1.0, sum(math.exp(min(0.0, value)) for value in found))",
        "label_mass=1.0",
        (
            "tests/unit/engines/backends/test_dialects.py::test_the_labels_mass_is_what_they_have_of_the_whole_vocabulary",
            f"{_OVER_HTTP}::test_labels_that_hold_little_of_the_probability_are_a_failure_and_never_a_score",
        ),
    ),
    Mutant(
        "mass_after_sampling",
        "llama.cpp would be asked for probabilities that always are of the labels alone",
        "engines/backends/dialects/llama_cpp.py",
        '            "n_probs": _CANDIDATES,\n            "response_fields": ["completion_probabilities", "timings"],',
        '            "n_probs": _CANDIDATES,\n            "post_sampling_probs": True,\n'
        '            "response_fields": ["completion_probabilities", "timings"],',
        (
            "tests/unit/engines/backends/test_dialects.py::test_llama_cpp_is_asked_for_the_models_own_candidates",
        ),
    ),
    Mutant(
        "nan_scores",
        "a logarithm that is no number would become a score",
        "engines/backends/dialects/base.py",
        "not isinstance(value, int | float) or not math.isfinite(value):",
        "not isinstance(value, int | float):",
        ("tests/unit/engines/backends/test_dialects.py::test_a_candidate_that_is_no_number_is_unparsable",),
    ),
    Mutant(
        "labels_missing",
        "an answer without any label would be scored by its bound: every text a third safe",
        "engines/backends/dialects/base.py",
        "    if not any(token_id in candidates.logprobs for token_id in token_ids):",
        "    if not token_ids:",
        ("tests/unit/engines/backends/test_dialects.py::test_no_label_among_the_candidates_is_no_score",),
    ),
    Mutant(
        "sum_of_scores",
        "scores that are no distribution would be compared with thresholds",
        "schemas/assessment.py",
        "        if not abs(self.safe + self.controversial + self.unsafe - 1) <= 1e-6:",
        "        if abs(self.safe) > 2:",
        ("tests/unit/schemas/test_assessment.py::test_what_is_no_distribution_is_refused",),
    ),
    Mutant(
        "text_in_time",
        "long posts would time out in a healthy engine, behind each other",
        "pipeline/flow/routes.py",
        "left = max(within, limits.tokens / 2) - tokens_in_work",
        "left = max(within, limits.tokens / 2)",
        (
            "tests/unit/pipeline/flow/test_flow_depth.py::test_a_slow_engine_gets_no_more_text_than_it_reads_in_time",
        ),
    ),
    Mutant(
        "wrong_count",
        "with an answer too few, posts would get the answers of their neighbours",
        "pipeline/flow/judge.py",
        "        if len(answers) != len(items):",
        "        if len(answers) > 10**9:",
        (f"{_ENGINE}::test_a_fault_of_an_engine_fails_its_posts_and_the_partition_goes_on",),
    ),
    Mutant(
        "engine_fault",
        "a fault in an engine's code would end the worker",
        "pipeline/flow/judge.py",
        "        except Exception as error:  # noqa: BLE001",
        "        except ZeroDivisionError as error:  # noqa: BLE001",
        (f"{_ENGINE}::test_a_fault_of_an_engine_fails_its_posts_and_the_partition_goes_on",),
    ),
    Mutant(
        "timed_out",
        "an engine that does not answer in time would end the worker",
        "engines/backends/completions.py",
        "                return await ask()\n        except TimeoutError:\n",
        "                return await ask()\n        except ZeroDivisionError:\n",
        (f"{_OVER_HTTP}::test_at_the_deadline_every_item_is_timed_out_and_the_engine_goes_on",),
    ),
    Mutant(
        "busy_server",
        "a server that asks to come back later would be no reason to",
        "engines/backends/http_client.py",
        "                if reply.status in _BUSY:",
        "                if reply.status == 1:",
        (f"{_COMPLETIONS}::test_a_server_that_stays_busy_is_unavailable",),
    ),
    Mutant(
        "refused_by_all",
        "a wrong API key would fail post after post instead of holding the stream",
        "engines/backends/http_client.py",
        "                if reply.status in _MISCONFIGURED:",
        "                if reply.status == 1:",
        (f"{_COMPLETIONS}::test_a_server_that_refuses_everybody_holds_the_stream",),
    ),
    Mutant(
        "fault_of_the_dying",
        "a text that ends vLLM would get an engine error each time, and end it without a limit",
        "engines/backends/completions.py",
        "        if status == 0 or status >= 500:",
        "        if status == 1:",
        (f"{_COMPLETIONS}::test_copies_of_a_text_that_ends_vllm_in_its_own_way_end_it_three_times_at_most",),
    ),
    Mutant(
        "refused_after_a_fault",
        "a server that died of a request would count as one that took none",
        "engines/backends/completions.py",
        "                if fault:",
        "                if len(fault) > 99:",
        (f"{_COMPLETIONS}::test_a_server_that_took_a_request_and_is_gone_may_have_died_of_it",),
    ),
    Mutant(
        "fault_clears",
        "an error of the engine would clear the text that ends it",
        "pipeline/flow/server_state.py",
        "set(permit.keys).difference(left, failed)",
        "set(permit.keys).difference(left)",
        (f"{_SERVER}::test_a_fault_of_the_engine_is_no_answer_and_clears_nobody",),
    ),
    Mutant(
        "huge_answer",
        "an answer of any length would be read into memory",
        "engines/backends/http_client.py",
        "        if len(body) > limit_bytes:",
        "        if len(body) > 10**12:",
        (f"{_COMPLETIONS}::test_a_good_answer_is_given_up_where_it_is_longer_than_it_may_be",),
    ),
    Mutant(
        "unknown_lines",
        "a model that repeats hostile text would be read as having found something",
        "engines/text/parsing.py",
        "    shape = _SHAPE.fullmatch(text)",
        "    shape = _SHAPE.search(text)",
        ("tests/unit/engines/text/test_parsing.py::test_anything_but_the_agreed_lines_is_unparsable",),
    ),
    Mutant(
        "engine_away",
        "an engine that is away would end the worker",
        "pipeline/flow/judge.py",
        "                    except EngineUnavailable:\n                        continue\n",
        "                    except ZeroDivisionError:\n                        continue\n",
        (f"{_ENGINE}::test_an_absent_engine_holds_the_stream_and_nothing_leaves",),
    ),
    Mutant(
        "full_is_no_crash",
        "a server that is full would condemn innocent texts",
        "pipeline/flow/server_state.py",
        "if not refused and permit.life == self._life:",
        "if permit.life == self._life:",
        (f"{_SERVER}::test_a_server_that_refuses_calls_says_nothing_of_what_was_sent",),
    ),
    Mutant(
        "isolate",
        "the neighbours of a text that kills the engine would be condemned with it",
        "pipeline/flow/server_state.py",
        "chosen = tuple(keys) if suspect is None else (suspect,)",
        "chosen = tuple(keys)",
        (
            f"{_SERVER}::test_after_the_second_death_the_suspects_are_asked_one_at_a_time_and_the_third_death_condemns_one",
            f"{_ENGINE}::test_a_post_that_kills_the_engine_is_found_and_its_neighbours_are_judged",
        ),
    ),
    Mutant(
        "flap_is_no_death",
        "a network that breaks connections would condemn innocent texts",
        "pipeline/flow/server_state.py",
        "and before.process == generation.process:",
        "and before is generation:",
        (f"{_SERVER}::test_the_same_process_after_a_broken_connection_is_no_death_and_condemns_nobody",),
    ),
    Mutant(
        "no_generation",
        "a worker would condemn its texts for the crash that another worker's text made",
        "pipeline/flow/server_state.py",
        "attributable=ended is not None and self._lost_sole",
        "attributable=True",
        (
            f"{_SERVER}::test_where_no_generation_is_told_nobody_is_condemned_and_the_suspect_is_set_aside",
            f"{_SERVER}::TestSharedServer::test_a_server_that_others_keep_at_work_is_asked_in_the_end_and_condemns_nobody",
        ),
    ),
    Mutant(
        "death_twice",
        "one death that two workers tell of would make suspects of everything in work",
        "pipeline/flow/suspects.py",
        "return self if death in self.deaths else self._replace",
        "return self._replace",
        (f"{_SERVERS}::test_a_death_that_two_workers_saw_counts_once_and_one_that_another_saw_counts_too",),
    ),
    Mutant(
        "balancer",
        "a text would be condemned since the server beside its own answered after a broken connection",
        "pipeline/flow/server_state.py",
        "self._many or generation.process in self._past",
        "False",
        (f"{_SERVER}::test_several_servers_behind_one_address_tell_of_no_death",),
    ),
    Mutant(
        "lingering",
        "a text would be condemned for another that was given up and was still in the server's work",
        "pipeline/flow/server_state.py",
        ".union(lingering, *beside)",
        ".union(*beside)",
        (f"{_SERVER}::test_what_is_given_up_lingers_in_the_server_and_takes_the_blame_with_the_others",),
    ),
    Mutant(
        "told_before_the_death",
        "a death would pass for a broken connection, and its texts would end the engine again and again",
        "pipeline/flow/server_state.py",
        "if healthy and is_news:",
        "if healthy:",
        (
            f"{_SERVER}::test_an_answer_about_the_process_that_was_asked_for_before_the_death_does_not_explain_it",
        ),
    ),
    Mutant(
        "idle_before_the_lease",
        "a text would be condemned for another worker's, which was sent before that worker read of the lease",
        "pipeline/flow/server_state.py",
        "return self._looked_by is not None and self._looked_by == self._agreement",
        "return self._agreement is not None",
        (
            f"{_SERVER}::TestSharedServer::test_what_the_server_had_in_its_work_before_the_lease_says_nothing_of_what_came_since",
        ),
    ),
    Mutant(
        "old_lease",
        "two workers would ask a shared server about their suspects at a time, after one of them lost the topic",
        "pipeline/flow/suspects.py",
        "ends = now + LEASE_S - age_s",
        "ends = now + LEASE_S",
        (
            f"{_SERVERS}::test_a_lease_that_is_read_again_after_the_topic_was_lost_is_no_younger_for_that",
            f"{_SERVERS}::test_a_lease_that_is_read_again_ends_when_it_would_have_ended",
        ),
    ),
    Mutant(
        "unheard_claim",
        "a worker whose claims reach nobody would send nothing any more while everything is green",
        "pipeline/flow/server_state.py",
        "return None if self.lease.lending and not self.lease.is_unheard else 0",
        "return None if self.lease.lending else 0",
        (
            f"{_SERVERS}::test_where_claims_reach_nobody_suspects_are_asked_after_thirty_seconds_and_nobody_is_condemned",
        ),
    ),
    Mutant(
        "fatal_producer",
        "a worker would tell nobody of its trips after one fatal error",
        "pipeline/control/topic.py",
        "self._producer_ended = self._producer_ended or outcome.fatal",
        "pass",
        (
            "tests/unit/pipeline/control/test_topic.py::test_a_producer_that_can_deliver_nothing_any_more_is_made_anew",
        ),
    ),
    Mutant(
        "first_claim",
        "two workers would ask a shared server about their suspects at a time",
        "pipeline/flow/servers.py",
        "if self.state.lease.lent and fact.holder != self._lent_to:",
        "if False:",
        (
            f"{_SERVERS}::test_the_first_claim_gives_the_server_to_one_worker_and_the_others_wait_until_it_gives_it_back",
        ),
    ),
    Mutant(
        "died_with_the_worker",
        "a text that ends the worker with its engine would do so for ever",
        "pipeline/flow/servers.py",
        "self.state.prompts.died_with(left.in_work, death, attributable=True)",
        "pass",
        (
            f"{_SERVERS}::test_what_an_engine_in_process_had_in_work_outlives_the_worker_and_the_third_crash_condemns",
        ),
    ),
    Mutant(
        "sent_again",
        "one call would send a text that kills the engine three times",
        "engines/backends/http_client.py",
        "refused = isinstance(error, aiohttp.ClientConnectorError)",
        "refused = True",
        (f"{_COMPLETIONS}::test_what_a_server_may_have_died_of_is_not_sent_again",),
    ),
    Mutant(
        "killer_forgotten",
        "every copy of a text that kills the engine would kill it again",
        "pipeline/flow/suspects.py",
        "return self._poison.get(key, 0.0) > self._clock()",
        "return False",
        (f"{_UNIT}/flow/test_suspects.py::test_poison_is_remembered_for_ten_minutes_and_no_longer",),
    ),
    Mutant(
        "circuit_open",
        "an engine that is away would be asked by every post",
        "pipeline/flow/adapter_state.py",
        "        if self._state is Availability.AWAY or self._trying:",
        "        if self._trying:",
        (f"{_STANDING}::test_an_engine_that_is_away_opens_it_at_once_and_nothing_passes",),
    ),
    Mutant(
        "circuit_mute",
        "an engine that is there but answers nothing would never be given a rest",
        "pipeline/flow/adapter_state.py",
        "            elif self._mute >= self._mute_calls:",
        "            elif self._mute >= 10**9:",
        (
            f"{_STANDING}::test_calls_in_a_row_without_any_answer_open_it_and_one_answer_starts_the_count_anew",
        ),
    ),
    Mutant(
        "circuit_old_news",
        "an answer from before the engine went away would make it up again",
        "pipeline/flow/adapter_state.py",
        "        if leave.turn != self._turn:",
        "        if leave.turn > self._turn:",
        (f"{_STANDING}::test_what_was_sent_before_it_turned_tells_nothing_of_now",),
    ),
    Mutant(
        "adapter_in_the_key",
        "another adapter's finding would answer from the cache",
        "pipeline/shortcuts/cache.py",
        "{engine.adapter or ''}",
        "",
        (f"{_UNIT}/shortcuts/test_cache.py::test_the_key_is_the_prompt_the_engine_and_its_adapter",),
    ),
    Mutant(
        "failed_explanation_kept",
        "an explanation that failed once would fail for every copy",
        "pipeline/flow/work.py",
        "kept = finding if finding.explanation_failure is None else assess(finding.scores, None)",
        "kept = finding",
        (
            "tests/unit/pipeline/flow/test_flow_engine.py::test_a_copy_is_explained_anew_where_the_first_explanation_failed",
        ),
    ),
    Mutant(
        "patience",
        "a tenant that waits for seconds only would wait for as long as the engine is away",
        "pipeline/flow/work.py",
        "waited_s >= longest_s",
        "waited_s >= 10**9",
        (
            "tests/unit/pipeline/flow/test_flow_engine.py::test_a_tenant_that_waits_no_longer_gets_its_failure_mode_and_the_others_wait_on",
        ),
    ),
    Mutant(
        "joined_twice",
        "a post that was answered, or given back, would be answered once more by a prompt that it waited for",
        "pipeline/flow/work.py",
        "            if post.over:\n                continue\n            asked_for",
        "            asked_for",
        (_SCHEDULES,),
    ),
    Mutant(
        "abandoned_prompt",
        "posts that come later would wait for a prompt that nobody asks any more",
        "pipeline/flow/work.py",
        "            del self._prompts[self._leave_line(prompt).key]",
        "            self._leave_line(prompt)",
        (_SCHEDULES,),
    ),
    Mutant(
        "mixed_policies",
        "a post would be decided by a policy of whose wishes nobody looked whether they are met",
        "pipeline/flow/work.py",
        "policy if self.left == len(self.keys) or self.policy is policy else None",
        "policy",
        (_SCHEDULES,),
    ),
    Mutant(
        "lead_given_back",
        "near duplicates would wait for a post that was given back",
        "pipeline/flow/work.py",
        "lead is not None and not lead.post.over:",
        "lead is not None:",
        (_SCHEDULES,),
    ),
)
