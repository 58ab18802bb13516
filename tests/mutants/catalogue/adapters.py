"""Adapters: one tenant's posts and another's engine."""

from __future__ import annotations

from mutants.mutant import Mutant

_ADAPTERS = "tests/unit/pipeline/flow/test_flow_adapters.py"

MUTANTS = (
    Mutant(
        "adapter_in_cache_key",
        "a tenant would get what another one's adapter found",
        "pipeline/shortcuts/cache.py",
        "{adapter}",
        "",
        (f"{_ADAPTERS}::test_a_finding_is_reused_within_its_adapter_and_never_across",),
    ),
    Mutant(
        "unknown_adapter",
        "a policy that names an adapter which is not there would be taken up, and end the worker",
        "pipeline/policy/file.py",
        "require_adapters(policy, self._adapters, str(self._path))",
        "require_adapters",
        (
            "tests/unit/pipeline/policy/test_policy_adapters.py::test_a_worker_keeps_its_policy_where_the_new_one_names_a_strange_adapter",
        ),
    ),
    Mutant(
        "room_beside_an_absent_adapter",
        "micro-batches that wait for an absent adapter would leave the others no room",
        "pipeline/flow/routes.py",
        "at_work, limits = {route for route in self if route.judge.adapter_state.up}, self._limits()",
        "at_work, limits = set(self), self._limits()",
        (
            f"{_ADAPTERS}::test_while_an_adapter_is_away_the_posts_of_the_others_are_answered_and_its_own_wait",
        ),
    ),
    Mutant(
        "absent_adapter_given_up",
        "an adapter that stays away would hold up every tenant of its partitions for ever",
        "pipeline/flow/routes.py",
        "now - max(since, other.judge.adapter_state.up_since) >= self._wait_s",
        "now - since >= 10**9",
        (f"{_ADAPTERS}::test_an_engine_that_stays_away_beside_others_gives_its_posts_their_failure_mode",),
    ),
    Mutant(
        "back_second",
        "after an outage of everything, the posts of the engine that is back second would get their failure mode at once",
        "pipeline/flow/routes.py",
        "now - max(since, other.judge.adapter_state.up_since) >= self._wait_s",
        "now - since >= self._wait_s",
        (f"{_ADAPTERS}::test_an_outage_of_all_engines_does_not_count_against_the_one_that_is_back_second",),
    ),
    Mutant(
        "all_away",
        "an outage of everything would become failure modes instead of a hold",
        "pipeline/flow/routes.py",
        "if route.judge.adapter_state.up and route.adapter in named]",
        "if route.adapter in named]",
        (f"{_ADAPTERS}::test_where_all_engines_are_away_nobody_is_given_up",),
    ),
    Mutant(
        "idle_beside_a_dead_server",
        "an adapter that nobody uses would turn an outage of its server into failure modes",
        "pipeline/flow/routes.py",
        "other.server != away.server or other.judge.adapter_state.answered_at > since",
        "other is not away",
        (f"{_ADAPTERS}::test_an_idle_engine_that_nobody_would_miss_gives_up_no_others_posts",),
    ),
    Mutant(
        "adapter_on_trial",
        "an adapter that is back would be given up before it could answer its first micro-batch",
        "pipeline/flow/adapter_state.py",
        "return self._left_at if self.away else None",
        "return self._left_at",
        (f"{_ADAPTERS}::test_posts_on_trial_wait_for_what_the_engine_says_however_long_it_was_away",),
    ),
    Mutant(
        "one_state_a_server",
        "a text that kills a shared server would have another adapter's text condemned in its place",
        "pipeline/flow/servers.py",
        "place = backend.server or (_IN_PROCESS if backend.in_process else object())",
        "place = object()",
        (
            f"{_ADAPTERS}::test_each_server_has_its_own_state_and_the_adapters_of_one_share_it",
            f"{_ADAPTERS}::test_a_text_that_kills_a_shared_server_condemns_no_text_of_another_adapter",
        ),
    ),
    Mutant(
        "one_number_one_adapter",
        "a server would answer with one adapter for another that has the same number",
        "engines/backends/open.py",
        "if same_bundle and one.lora_path == its.lora_path:",
        "if True:",
        ("tests/unit/engines/backends/test_open.py::test_two_adapters_of_one_number_are_refused",),
    ),
)
