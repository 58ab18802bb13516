"""What comes in and can be no post, and what is cut of it."""

from __future__ import annotations

from mutants.mutant import Mutant

_UNIT = "tests/unit/pipeline"
_FLOW = f"{_UNIT}/flow/test_flow.py"
_STRAIN = f"{_UNIT}/flow/test_flow_under_strain.py"
_RECORDS = f"{_UNIT}/test_records.py"
_CODEC = "tests/unit/schemas/test_codec.py"

MUTANTS = (
    Mutant(
        "broken_json",
        "one record that is no JSON would end every worker in turn",
        "schemas/codec.py",
        "    except orjson.JSONDecodeError as error:",
        "    except ZeroDivisionError as error:",
        (f"{_FLOW}::test_undecodable_records_become_dead_letters_and_the_rest_goes_on",),
    ),
    Mutant(
        "invalid_post",
        "one record that is no post would end every worker in turn",
        "schemas/codec.py",
        "    except ValidationError as error:",
        "    except ZeroDivisionError as error:",
        (f"{_CODEC}::test_what_is_no_post_is_a_dead_letter_with_its_reason",),
    ),
    Mutant(
        "not_utf8",
        "a record that is no UTF-8 would raise while its dead letter is worded, and end every worker in turn",
        "schemas/codec.py",
        "    except UnicodeDecodeError as fault:",
        "    except ZeroDivisionError as fault:",
        (f"{_CODEC}::test_what_is_no_post_is_a_dead_letter_with_its_reason",),
    ),
    Mutant(
        "parsers_words",
        "a dead letter would hand on whatever the parser says, and that may quote the record",
        "schemas/codec.py",
        "    cause = next((said for told, said in _CAUSES.items() if told in error.msg), None)",
        "    cause = error.msg",
        (f"{_CODEC}::test_a_parser_that_says_it_in_other_words_is_not_quoted",),
    ),
    Mutant(
        "post_in_error",
        "a producer that logs why a post is none would log what somebody wrote",
        "schemas/_fields.py",
        ", hide_input_in_errors=True",
        "",
        ("tests/unit/schemas/test_post.py::test_the_error_of_a_post_repeats_nothing_of_it_in_a_log",),
    ),
    Mutant(
        "oversize",
        "a record beyond the limit would be parsed, tokenised and kept whole",
        "schemas/codec.py",
        "    if len(raw) > limit_bytes:",
        "    if len(raw) > 10**12:",
        (f"{_CODEC}::test_a_record_is_measured_before_it_is_parsed",),
    ),
    Mutant(
        "flood_of_faults",
        "one record could hold up the event loop with a hundred thousand faults",
        "schemas/_fields.py",
        "        if isinstance(value, list | tuple | dict) and len(value) > limit:",
        "        if isinstance(value, list | tuple | dict) and len(value) > 10**9:",
        (f"{_CODEC}::test_a_flood_of_bad_entries_is_one_fault",),
    ),
    Mutant(
        "identifiers",
        "an id could forge a log line or drive the terminal that shows it",
        "schemas/_fields.py",
        "Identifier = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PRINTABLE)]",
        "Identifier = Annotated[str, StringConstraints(min_length=1, max_length=256)]",
        ("tests/unit/schemas/test_post.py::test_an_identifier_hides_and_reorders_nothing",),
    ),
    Mutant(
        "tombstone",
        "a record without a value would end the worker",
        "pipeline/flow/flow.py",
        "        full = [slot for slot in slots if slot.delivery.value is not None]\n",
        "        full = list(slots)\n",
        (
            "tests/unit/pipeline/flow/test_flow.py::test_undecodable_records_become_dead_letters_and_the_rest_goes_on",
        ),
    ),
    Mutant(
        "dead_letter_key",
        "a record that is all key would have a dead letter that fits into no topic",
        "pipeline/flow/decision.py",
        "key=None if key is None else _base64(key[:_KEY_BYTES]),",
        "key=None if key is None else _base64(key),",
        (f"{_STRAIN}::test_a_record_that_is_all_key_has_a_dead_letter_that_fits_into_the_topic",),
    ),
    Mutant(
        "dead_letter_cut",
        "a dead letter too large for its topic would hold the stream for ever",
        "pipeline/records.py",
        "        if not event.payload and not event.headers:\n",
        "        if event.payload or not event.headers:\n",
        (f"{_RECORDS}::test_cutting_a_dead_letter_shrinks_it_to_its_proof_and_then_ends",),
    ),
    Mutant(
        "header_bounds",
        "a header of any length would be carried on and could make a verdict too large",
        "pipeline/records.py",
        " and len(value) <= _TRACE_BYTES",
        "",
        (f"{_FLOW}::test_trace_context_is_carried_and_other_headers_are_not",),
    ),
    Mutant(
        "altered_dead_letter",
        "a replay would send bytes that never were on the topic",
        "pipeline/dead_letters.py",
        '    if f"sha256:{hashlib.sha256(value).hexdigest()}" != letter.payload_hash:',
        "    if letter.tries < 0:",
        (f"{_UNIT}/test_dead_letters_replays.py::test_a_dead_letter_that_somebody_altered_is_refused",),
    ),
    Mutant(
        "tokeniser_fault",
        "one text that breaks the tokeniser would end the worker",
        "pipeline/flow/routes.py",
        "        except Exception as error:  # noqa: BLE001",
        "        except ZeroDivisionError as error:  # noqa: BLE001",
        (f"{_FLOW}::test_a_tokeniser_that_breaks_on_one_post_fails_that_post_alone",),
    ),
    Mutant(
        "header_names",
        "one header whose name is no UTF-8 would stop its partition for ever",
        "pipeline/kafka/assignment.py",
        "        except (SystemError, UnicodeDecodeError):",
        "        except ZeroDivisionError:",
        (f"{_UNIT}/kafka/test_consumer.py::test_headers_that_the_client_cannot_read_are_a_value",),
    ),
)
