"""What is taken, held, acknowledged and given back."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline"
_WINDOW = f"{_UNIT}/flow/test_window.py"
_STRAIN = f"{_UNIT}/flow/test_flow_under_strain.py"
_CONTROL = "tests/unit/pipeline/control/test_topic.py"

MUTANTS = (
    Mutant(
        "wild_latency",
        "one record from the year 1970 would spoil the mean latency until the worker is started again",
        "pipeline/observe/metrics.py",
        "                if -AHEAD_S <= age_s <= OLDEST_S:",
        "                if age_s == age_s:",
        (f"{_UNIT}/observe/test_metrics.py::test_a_wild_timestamp_gives_no_latency",),
    ),
    Mutant(
        "wild_lag",
        "one record from the year 1970 would show a lag of decades",
        "pipeline/observe/lag.py",
        "min((utc_ms - stamp) / 1000, OLDEST_S)",
        "(utc_ms - stamp) / 1000",
        (f"{_UNIT}/observe/test_lag.py::test_a_timestamp_from_long_ago_counts_as_seven_days_and_no_more",),
    ),
    Mutant(
        "no_timestamp",
        "a record without a timestamp would count as one from the year 1970",
        "pipeline/kafka/faust_app.py",
        "if stamp is None or stamp < 0 else",
        "if stamp is None else",
        (f"{_UNIT}/kafka/test_source_faust.py::test_a_record_without_a_timestamp_has_none",),
    ),
    Mutant(
        "clock_of_one_record",
        "one record with a wild timestamp would send people to machines whose clocks are right",
        "pipeline/kafka/check.py",
        "    if len(ahead) >= _ENOUGH_RECORDS:",
        "    if ahead:",
        (f"{_UNIT}/kafka/test_check_cluster.py::test_clocks_are_not_judged_by_one_record",),
    ),
    Mutant(
        "window_order",
        "a commit would move past a post that is still held: lost with the next crash",
        "pipeline/flow/window.py",
        "            while row and row[0].finished:\n                head = row.popleft()\n",
        "            for head in [slot for slot in row if slot.finished]:\n                row.remove(head)\n",
        (
            "tests/unit/pipeline/flow/test_window.py::test_acknowledges_in_offset_order_whatever_finishes_first",
        ),
    ),
    Mutant(
        "stale_acknowledgement",
        "an acknowledgement from before a rebalance would count for whoever owns the partition now",
        "pipeline/flow/window.py",
        "            if head.delivery.is_current:",
        "            if True:",
        (f"{_WINDOW}::test_what_became_stale_while_held_is_released_not_acknowledged",),
    ),
    Mutant(
        "stale_take",
        "a record of a partition that is gone would be judged here as well",
        "pipeline/flow/window.py",
        "        if not self._open or not delivery.is_current:",
        "        if not self._open:",
        (f"{_WINDOW}::test_a_stale_delivery_is_not_taken",),
    ),
    Mutant(
        "generation",
        "after a rebalance every acknowledgement would pass for a current one",
        "pipeline/kafka/faust_app.py",
        "return bool(same_generation and ",
        "return bool(",
        (f"{_UNIT}/kafka/test_source_faust.py::test_a_delivery_of_an_earlier_generation_is_stale",),
    ),
    Mutant(
        "window_bytes",
        "a flood of long posts would fill the memory",
        "pipeline/flow/window.py",
        " and self._bytes + size_bytes <= self._limit_bytes",
        "",
        ("tests/unit/pipeline/flow/test_window.py::test_bytes_bound_the_window_too",),
    ),
    Mutant(
        "close_wakes",
        "a drain would wait for room that it itself keeps anybody from making",
        "pipeline/flow/window.py",
        '        """Begin to drain: nothing is taken any more; a waiting take gives up."""\n        self._open = False\n',
        '        """Begin to drain."""\n',
        (f"{_WINDOW}::test_closing_ends_a_waiting_take_without_acknowledging",),
    ),
    Mutant(
        "released_is_not_published",
        "what a drain gave back would be published here and judged again elsewhere",
        "pipeline/flow/flow.py",
        "        answers = [answer for answer in answers if not answer.slot.released]\n",
        "        answers = list(answers)\n",
        (
            "tests/unit/pipeline/flow/test_flow_under_strain.py::test_a_dead_letter_of_a_record_that_was_given_back_meanwhile_is_not_published",
        ),
    ),
    Mutant(
        "release_on_drain",
        "a delivery that a hold keeps waiting would go out after its post was given back",
        "pipeline/flow/flow.py",
        "            publishing.cancel()  # and with it the task that waits for it\n",
        "            pass\n",
        (
            "tests/unit/pipeline/flow/test_flow_under_strain.py::test_what_is_given_back_is_not_delivered_any_more_and_the_flow_goes_on",
        ),
    ),
    Mutant(
        "stall",
        "a partition that hangs would pass for a healthy one",
        "pipeline/flow/window.py",
        "self._clock() - moved_at <= after_s:",
        "after_s:",
        (f"{_WINDOW}::test_a_partition_without_progress_is_stalled_and_an_empty_one_is_not",),
    ),
    Mutant(
        "part_is_progress",
        "a worker would be killed again and again while it judges the parts of a long post",
        "pipeline/flow/work.py",
        "        post.slot.moved_at = now\n",
        "",
        (
            "tests/unit/pipeline/flow/test_flow_long_posts.py::test_each_part_that_is_found_counts_as_progress_of_its_post",
        ),
    ),
    Mutant(
        "livez_stall",
        "a worker that hangs would never be started anew",
        "pipeline/worker.py",
        "head = self._window.stalled(after_s) if self._instruments.holds.quiet_s > after_s else None",
        "head = None",
        (f"{_UNIT}/test_worker_livez.py::test_a_post_that_is_never_answered_is_a_stall",),
    ),
    Mutant(
        "livez_hold",
        "a worker that waits for an engine would be killed for it, again and again",
        "pipeline/worker.py",
        "head = self._window.stalled(after_s) if self._instruments.holds.quiet_s > after_s else None",
        "head = self._window.stalled(after_s)",
        (
            f"{_UNIT}/test_worker_livez.py::test_a_hold_of_ten_minutes_leaves_it_at_200_and_what_waited_has_its_time_afterwards",
        ),
    ),
    Mutant(
        "livez_group",
        "a member that the group has lost would idle for ever",
        "pipeline/worker.py",
        'body: dict[str, Any] = {"ok": fault is None and not stalled}',
        'body: dict[str, Any] = {"ok": not stalled}',
        (f"{_UNIT}/test_worker_livez.py::test_a_membership_that_died_is_told",),
    ),
    Mutant(
        "standstill",
        "a partition that is not even read would pass for an idle one",
        "pipeline/observe/lag.py",
        "if now - since > self._after_s",
        "if now < 0",
        (
            f"{_UNIT}/observe/test_lag_stalls.py::test_a_partition_that_stays_where_it_is_stalls_after_the_time_and_is_named_once",
        ),
    ),
    Mutant(
        "commit_past_held",
        "the group would commit past records that are still held",
        "pipeline/kafka/fetching.py",
        "if state in self._positions and self._fetched.get(state) == reached:",
        "if state in self._positions:",
        (f"{_UNIT}/kafka/test_fetching.py::test_nothing_is_committed_past_the_last_acknowledged_record",),
    ),
    Mutant(
        "take_over",
        "who had no partition would read while it is being sought, and commit past what Faust then drops",
        "pipeline/kafka/faust_app.py",
        "        self.stop_flow()\n        self.app.flow_control.suspend()\n        self.app.flow_control.clear()\n",
        "        return\n",
        (f"{_UNIT}/kafka/test_faust_app_takeover.py::test_who_had_nothing_and_takes_over_misses_nothing",),
    ),
    Mutant(
        "dropped_on_the_way",
        "a record that is dropped between the fetch and the flow would be committed past",
        "pipeline/kafka/fetching.py",
        "        if dropped:\n",
        "        if False:\n",
        (
            f"{_UNIT}/kafka/test_fetching_delivery_count.py::test_of_what_was_given_nothing_may_be_missing_when_it_is_taken",
        ),
    ),
    Mutant(
        "deaf_to_new_partitions",
        "resets written to a partition that the control topic gained would never be heard",
        "pipeline/kafka/reader.py",
        "if added := sorted(set(places) - held):",
        "if added := sorted(set(places) - held)[:0]:",
        (f"{_CONTROL}::test_partitions_that_were_added_are_read_from_their_beginning",),
    ),
    Mutant(
        "followed_too_soon",
        "a worker would say that it follows the control topic while it has not read all of it",
        "pipeline/control/topic.py",
        "if caught_up and not reader.at_end:",
        "if caught_up and not reader.at_end and False:",
        (f"{_CONTROL}::test_a_worker_that_reads_new_partitions_does_not_say_that_it_follows",),
    ),
    Mutant(
        "cache_without_bytes",
        "the cache would take more memory than it may",
        "pipeline/shortcuts/cache.py",
        "while len(self._stored) > self._entries or self.size_bytes > self._most_bytes:",
        "while len(self._stored) > self._entries:",
        ("tests/unit/pipeline/shortcuts/test_cache.py::test_the_cache_never_takes_more_bytes_than_it_may",),
    ),
)
