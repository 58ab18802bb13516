"""The engine: what it answers, and its absence."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline"
_ENGINE = f"{_UNIT}/flow/test_flow_engine.py"
_STRAIN = f"{_UNIT}/flow/test_flow_under_strain.py"
_COMPLETIONS = "tests/contract/test_completions.py"
_OVER_HTTP = "tests/contract/test_completions_contract.py::TestStubOfVllm"
_CIRCUIT = f"{_UNIT}/flow/test_circuit.py"

MUTANTS = (
    Mutant(
        "label_mass",
        "a model that was led astray would be believed by the rest of its probability",
        "engines/label_mass.py",
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
        "                except EngineUnavailable as error:\n                    strikes += not error.refused\n",
        "                except ZeroDivisionError as error:\n                    strikes += not error.refused\n",
        (f"{_ENGINE}::test_an_absent_engine_holds_the_stream_and_nothing_leaves",),
    ),
    Mutant(
        "full_is_no_crash",
        "a server that is full would condemn innocent texts",
        "pipeline/flow/judge.py",
        "            if error.refused:",
        "            if error.refused and False:",
        (
            f"{_UNIT}/flow/test_flow_circuit.py::test_a_server_that_is_full_for_long_condemns_no_post_though_its_health_is_good",
        ),
    ),
    Mutant(
        "isolate",
        "the neighbours of a text that kills the engine would be condemned with it",
        "pipeline/flow/judge.py",
        "            if len(items) > 1:\n",
        "            if len(items) > 10**9:\n",
        (f"{_ENGINE}::test_a_post_that_kills_the_engine_is_found_and_its_neighbours_are_judged",),
    ),
    Mutant(
        "killer_forgotten",
        "every copy of a text that kills the engine would kill it again",
        "pipeline/flow/quarantine.py",
        'return self._until.get(key, float("-inf")) > self._clock()',
        "return False",
        (f"{_UNIT}/flow/test_quarantine.py::test_a_killer_is_remembered_for_ten_minutes_and_no_longer",),
    ),
    Mutant(
        "circuit_open",
        "an engine that is away would be asked by every post",
        "pipeline/flow/circuit.py",
        "        if self._state is CircuitState.OPEN or self._trying:",
        "        if self._trying:",
        (f"{_CIRCUIT}::test_an_engine_that_is_away_opens_it_at_once_and_nothing_passes",),
    ),
    Mutant(
        "circuit_mute",
        "an engine that is there but answers nothing would never be given a rest",
        "pipeline/flow/circuit.py",
        "            elif self._mute >= self._mute_calls:",
        "            elif self._mute >= 10**9:",
        (f"{_CIRCUIT}::test_calls_in_a_row_without_any_answer_open_it_and_one_answer_starts_the_count_anew",),
    ),
    Mutant(
        "circuit_old_news",
        "an answer from before the engine went away would close the circuit",
        "pipeline/flow/circuit.py",
        "        if leave.turn != self._turn:",
        "        if leave.turn > self._turn:",
        (f"{_CIRCUIT}::test_what_was_sent_before_it_turned_tells_nothing_of_now",),
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
        "pipeline/flow/flow.py",
        "kept = finding if finding.explanation_failure is None else assess(finding.scores, None)",
        "kept = finding",
        (f"{_ENGINE}::test_a_copy_is_explained_anew_where_the_first_explanation_failed",),
    ),
    Mutant(
        "patience",
        "a tenant that waits for seconds only would wait for as long as the engine is away",
        "pipeline/flow/patience.py",
        "waited_s >= patience_s",
        "waited_s >= 10**9",
        (f"{_ENGINE}::test_a_tenant_that_waits_no_longer_gets_its_failure_mode_and_the_others_wait_on",),
    ),
)
