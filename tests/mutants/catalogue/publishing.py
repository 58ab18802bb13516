"""What leaves, and what is told of it."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline"
_FLOW = f"{_UNIT}/flow/test_flow.py"
_PUBLISHING = f"{_UNIT}/kafka/test_publisher.py"
_REPLACED = f"{_UNIT}/kafka/test_producer_credentials.py"

MUTANTS = (
    Mutant(
        "publish_before_acknowledge",
        "a post would be acknowledged before the brokers have its verdict",
        "pipeline/flow/flow.py",
        "            await publishing\n",
        "            await asyncio.sleep(0)\n",
        ("tests/unit/pipeline/flow/test_flow.py::test_nothing_is_acknowledged_before_it_is_published",),
    ),
    Mutant(
        "acks",
        "a verdict would count as safe with one broker, and be lost with it",
        "pipeline/kafka/producer.py",
        '            "enable.idempotence": True,\n            "acks": "all",\n',
        '            "acks": "1",\n',
        (f"{_PUBLISHING}::test_the_producer_is_idempotent_and_waits_for_all_replicas",),
    ),
    Mutant(
        "producer_fatal",
        "a producer that is dead for good would be asked for ever",
        "pipeline/kafka/producer.py",
        '    fatal = error.fatal() or error.name() == "_FATAL"',
        "    fatal = False",
        (f"{_PUBLISHING}::test_a_producer_that_is_dead_for_good_ends_the_worker",),
    ),
    Mutant(
        "producer_retriable",
        "a verdict that could not be delivered once would be lost",
        "pipeline/kafka/publisher.py",
        "                        together.append(record)\n",
        "",
        (f"{_PUBLISHING}::test_a_failed_delivery_is_a_hold_and_the_record_is_sent_again",),
    ),
    Mutant(
        "publish_hold",
        "a topic that refuses would hold the stream in silence",
        "pipeline/kafka/publisher.py",
        '                    declare_hold(f"topic {refused[0]}: {refused[1]}")\n',
        "",
        (f"{_PUBLISHING}::test_a_failed_delivery_is_a_hold_and_the_record_is_sent_again",),
    ),
    Mutant(
        "too_large",
        "a record that its topic refuses as too large would hold the stream for ever",
        "pipeline/kafka/publisher.py",
        "smaller = record.smaller() if error.too_large else None",
        "smaller = None",
        (f"{_PUBLISHING}::test_a_record_too_large_even_alone_is_cut_and_sent_again",),
    ),
    Mutant(
        "queue_full",
        "a burst beyond librdkafka's queue would end the worker",
        "pipeline/kafka/producer.py",
        "        except BufferError:",
        "        except ZeroDivisionError:",
        (f"{_PUBLISHING}::test_a_full_queue_is_waited_out",),
    ),
    Mutant(
        "sent_after_close",
        "a record that is sent while its producer closes would be lost without a word",
        "pipeline/kafka/producer.py",
        "            self._closed = True",
        "            self._closed = False",
        (f"{_PUBLISHING}::test_what_is_sent_to_a_producer_that_is_closed_or_closing_is_refused_at_once",),
    ),
    Mutant(
        "taken_back_lost",
        "what a producer could not deliver would be lost with its client when a certificate changes",
        "pipeline/kafka/producer.py",
        "                self._taken_back.append(record)\n                return",
        "                return",
        (f"{_REPLACED}::test_what_the_client_before_cannot_deliver_is_sent_by_the_next_in_its_order",),
    ),
    Mutant(
        "sent_past_the_client_before",
        "records sent while a certificate changes would pass those before them",
        "pipeline/kafka/producer.py",
        "                if self._replacing:\n                    return False\n",
        "",
        (
            f"{_REPLACED}::test_nothing_is_sent_past_what_the_client_before_still_has_and_a_flush_waits_for_both",
        ),
    ),
    Mutant(
        "hold_cleared",
        "a hold that is over would excuse every later stall",
        "pipeline/observe/holds.py",
        "            elif reasons.pop(waiter, None) is not None:",
        '            elif reasons.get(waiter) == "":',
        (
            f"{_UNIT}/observe/test_holds.py::test_a_hold_is_in_force_from_its_declaration_to_the_end_of_the_block",
        ),
    ),
    Mutant(
        "hold_of_others",
        "one delivered verdict would clear the hold of another that still waits",
        "pipeline/observe/holds.py",
        "            elif reasons.pop(waiter, None) is not None:",
        "            elif reasons.pop(waiter, None) is not None and not reasons.clear():",
        (f"{_UNIT}/observe/test_holds.py::test_one_waiters_success_does_not_clear_anothers_hold",),
    ),
    Mutant(
        "redaction",
        "an exception that quotes a post would put it into the log",
        "pipeline/observe/logs.py",
        '        event["exception"] = frames(error)',
        '        event["exception"] = repr(error)',
        (f"{_UNIT}/observe/test_logs.py::test_every_line_is_json_and_a_traceback_has_no_message",),
    ),
    Mutant(
        "log_bounds",
        "one value could fill the log's disk",
        "pipeline/observe/logs.py",
        "len(value) > _VALUE_CHARACTERS:",
        "len(value) > 10**9:",
        (f"{_UNIT}/observe/test_logs.py::test_a_value_is_bounded_and_cannot_start_a_line_of_its_own",),
    ),
    Mutant(
        "libraries_debug",
        "Faust at debug would write whole messages into the log",
        "pipeline/observe/logs.py",
        "setLevel(max(logging.INFO, root.level))",
        "setLevel(root.level)",
        (f"{_UNIT}/observe/test_logs.py::test_libraries_stay_at_info",),
    ),
)
