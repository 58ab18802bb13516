from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.backends.dialects import DIALECTS, Completion, Lora, make_dialect
from sluicegate.engines.backends.dialects.base import Candidates, first_category, severity_scores
from sluicegate.engines.backends.dialects.grammar import explanation_grammar
from sluicegate.engines.errors import EngineSetupError
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored, believed
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.schemas import CATEGORIES, NO_CATEGORY, FailureCode
from support.small_bundle import small_tokenizer, small_vocabulary

if TYPE_CHECKING:
    from sluicegate.engines.backends.dialects import Dialect
    from sluicegate.schemas import Kind

TOKENIZER = small_tokenizer()
VOCABULARY = small_vocabulary()
SAFE, CONTROVERSIAL, UNSAFE = VOCABULARY.first_label_ids.values()
PROMPT = Prompt((1, 2, 3), "post", 1, (1, 2))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def dialect(name: str) -> Dialect:
    return make_dialect(name, VOCABULARY, model="m")


def body_of(name: str, logprobs: dict[int, Any]) -> dict[str, Any]:
    """A server's answer to a score, in its dialect."""
    if name == "llama_cpp":
        top = [{"id": token, "logprob": value} for token, value in logprobs.items()]
        return {"completion_probabilities": [{"top_logprobs": top}], "timings": {"cache_n": 7}}
    if name == "sglang":
        named = [[value, token, None] for token, value in logprobs.items()]
        meta = {"completion_tokens": 1, "cached_tokens": 7, "output_token_ids_logprobs": [named]}
        return {"text": " x", "meta_info": meta}
    usage = {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 7}}
    if name == "trtllm_chat":
        shown = [{"token": TOKENIZER.decode([token]), "logprob": value} for token, value in logprobs.items()]
        logprobs_of = {"content": [{"token": "x", "top_logprobs": shown}]}
        choice = {"index": 0, "message": {"role": "assistant", "content": " x"}, "logprobs": logprobs_of}
        return {"choices": [choice], "usage": usage}
    keys = {token: f"token_id:{token}" if name == "vllm" else TOKENIZER.decode([token]) for token in logprobs}
    return {
        "choices": [
            {
                "index": 0,
                "text": " x",
                "logprobs": {
                    "tokens": ["x"],
                    "top_logprobs": [{keys[token]: value for token, value in logprobs.items()}],
                },
            }
        ],
        "usage": usage,
    }


@pytest.mark.parametrize(
    "key", ["7", "token_id:", "token_id:x", "token_id:\u0663", "token_id:" + "9" * 5_000]
)
def test_a_key_that_names_no_token_is_none_of_ours(key: str) -> None:
    body = body_of("vllm", {ids[0]: -1.0 for ids in VOCABULARY.label_ids.values()})
    body["choices"][0]["logprobs"]["top_logprobs"][0][key] = -0.5
    assert isinstance(read_one("vllm", body), Scored)


def read_one(name: str, body: object) -> Scored | ItemFailure:
    (answer,) = dialect(name).read_scores(body, 1)
    return answer


@pytest.mark.parametrize("name", DIALECTS)
def test_scores_are_the_softmax_over_the_three_labels(name: str) -> None:
    found = read_one(
        name, body_of(name, {SAFE: math.log(0.1), CONTROVERSIAL: math.log(0.1), UNSAFE: math.log(0.2)})
    )
    assert isinstance(found, Scored)
    assert found.scores.safe == pytest.approx(0.25)
    assert found.scores.controversial == pytest.approx(0.25)
    assert found.scores.unsafe == pytest.approx(0.5)
    assert not found.bounded
    assert found.cached_tokens == 7


@pytest.mark.parametrize("name", DIALECTS)
def test_a_missing_label_is_bounded_by_the_smallest_candidate_and_never_zero(name: str) -> None:
    other = TOKENIZER.encode_static("x")[0]
    found = read_one(name, body_of(name, {SAFE: math.log(0.8), UNSAFE: math.log(0.1), other: math.log(0.1)}))
    assert isinstance(found, Scored)
    assert found.bounded
    assert found.scores.controversial == pytest.approx(0.1)


def test_an_adapter_is_named_in_every_request_in_the_way_of_its_server() -> None:
    lora = Lora.of("teens", "/adapters/teens", f"sha256:{'f' * 64}")
    trtllm = make_dialect("trtllm", VOCABULARY, model="base", lora=lora)
    vllm = make_dialect("vllm", VOCABULARY, model="teens")
    chat = make_dialect("trtllm_chat", VOCABULARY, model="base", lora=lora)
    for request in (
        each
        for server in (trtllm, chat)
        for each in (server.score_request([[1]]), server.explain_request([1], "post"))
    ):
        assert request["model"] == "base"
        assert request["lora_request"] == {
            "lora_name": "teens",
            "lora_int_id": 2**31 - 1,
            "lora_path": "/adapters/teens",
        }
    for request in (vllm.score_request([[1]]), vllm.explain_request([1], "post")):
        assert request["model"] == "teens"
    assert "lora_request" not in dialect("trtllm").score_request([[1]])


@pytest.mark.parametrize("name", DIALECTS)
def test_no_label_among_the_candidates_is_no_score(name: str) -> None:
    other = TOKENIZER.encode_static("x")[0]
    found = read_one(name, body_of(name, {other: -0.1}))
    assert isinstance(found, ItemFailure)
    assert found.code is FailureCode.LABELS_MISSING


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("value", [math.nan, math.inf, None, "0.5", True])
def test_a_candidate_that_is_no_number_is_unparsable(name: str, value: Any) -> None:
    body = body_of(name, {SAFE: -1.0, UNSAFE: -2.0})
    if name == "llama_cpp":
        body["completion_probabilities"][0]["top_logprobs"][0]["logprob"] = value
    elif name == "sglang":
        body["meta_info"]["output_token_ids_logprobs"][0][0][0] = value
    elif name == "trtllm_chat":
        body["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]["logprob"] = value
    else:
        top = body["choices"][0]["logprobs"]["top_logprobs"][0]
        top[next(iter(top))] = value
    found = read_one(name, body)
    assert isinstance(found, ItemFailure)
    assert found.code is FailureCode.UNPARSABLE


@pytest.mark.parametrize("name", DIALECTS)
def test_the_labels_mass_is_what_they_have_of_the_whole_vocabulary(name: str) -> None:
    found = read_one(name, body_of(name, {SAFE: math.log(0.5), CONTROVERSIAL: -9.0, UNSAFE: math.log(0.2)}))
    assert isinstance(found, Scored)
    assert found.label_mass == pytest.approx(0.7, abs=0.001)


@pytest.mark.parametrize("name", DIALECTS)
def test_no_bias_is_sent_since_a_server_may_count_it_into_the_candidates(name: str) -> None:
    assert "logit_bias" not in dialect(name).score_request([[1]])


def test_a_label_that_is_missing_adds_nothing_to_the_mass() -> None:
    other = TOKENIZER.encode_static("x")[0]
    found = read_one("openai", body_of("openai", {SAFE: math.log(0.3), other: math.log(0.3)}))
    assert isinstance(found, Scored)
    assert found.label_mass == pytest.approx(0.3)
    assert isinstance(believed(found), ItemFailure)


@given(st.lists(st.floats(-1e6, 10), min_size=3, max_size=3), st.integers(0, 7))
def test_any_finite_candidates_give_scores_that_sum_to_one(values: list[float], shown: int) -> None:
    pairs = [
        pair
        for index, pair in enumerate(zip((SAFE, CONTROVERSIAL, UNSAFE), values, strict=True))
        if shown & 1 << index
    ]
    candidates = Candidates.of([*pairs, (None, -20.0)])
    assert candidates
    found = severity_scores(candidates, VOCABULARY)
    if shown == 0:
        assert isinstance(found, ItemFailure)
        return
    assert isinstance(found, Scored)  # its model checks the sum
    assert found.bounded == (shown != 7)
    assert 0 <= found.label_mass <= 1


@given(body=json_values, count=st.integers(1, 3), name=st.sampled_from(DIALECTS))
def test_no_answer_however_odd_raises(body: Any, count: int, name: str) -> None:
    count = count if dialect(name).list_prompts > 1 else 1
    for odd in (
        body,
        {"choices": body},
        {"choices": [body] * count},
        {"choices": [{"text": body, "logprobs": {"top_logprobs": [body]}}]},
        {"choices": [{"message": body, "logprobs": {"content": body}}]},
        {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"top_logprobs": [body]}]}}]},
        {"content": body, "completion_probabilities": body},
        {"content": "x", "completion_probabilities": [{"top_logprobs": body}]},
        {"completion_probabilities": [{"top_logprobs": [body]}], "timings": body},
        {"text": "x", "meta_info": body},
        [{"meta_info": {"output_token_ids_logprobs": body}}] * count,
        {"text": "x", "meta_info": {"output_token_ids_logprobs": [[body, [body, body, None]]]}},
    ):
        answers = dialect(name).read_scores(odd, count)
        assert len(answers) == count
        assert isinstance(dialect(name).read_explanation(odd), Completion | ItemFailure)
        assert dialect(name).is_too_long(400, odd) in (True, False)
        assert all(dialect(name).fault_of_all(status, odd, 1) is None for status in (200, 400))


@pytest.mark.parametrize("name", ["openai", "vllm", "trtllm"])
def test_the_answers_of_a_list_are_ordered_by_their_index(name: str) -> None:
    one = body_of(name, {SAFE: -0.1, CONTROVERSIAL: -3.0, UNSAFE: -3.0})["choices"][0]
    two = body_of(name, {SAFE: -3.0, CONTROVERSIAL: -3.0, UNSAFE: -0.1})["choices"][0]
    first, second = dialect(name).read_scores({"choices": [{**two, "index": 1}, {**one, "index": 0}]}, 2)
    assert isinstance(first, Scored)
    assert isinstance(second, Scored)
    assert first.scores.severity == "safe"
    assert second.scores.severity == "unsafe"


def test_answers_with_the_same_index_are_unparsable() -> None:
    choice = body_of("openai", {SAFE: -0.1})["choices"][0]
    for answer in dialect("openai").read_scores({"choices": [choice, choice]}, 2):
        assert isinstance(answer, ItemFailure)
        assert answer.code is FailureCode.UNPARSABLE


def test_an_explanation_is_forced_up_to_the_categorys_first_token() -> None:
    ids = VOCABULARY.explain_ids(PROMPT, "controversial")
    assert TOKENIZER.decode(ids[3:]) == " Controversial\nCategories:"
    assert TOKENIZER.decode([VOCABULARY.category_ids["PII"]]) == TOKENIZER.decode(
        TOKENIZER.encode_static(" PII")[:1]
    )


@pytest.mark.parametrize("name", DIALECTS)
def test_category_scores_are_normalised_over_all_categories(name: str) -> None:
    violent, none = VOCABULARY.category_ids["Violent"], VOCABULARY.category_ids["None"]
    body = body_of(name, {violent: math.log(0.5), none: math.log(0.1)})
    if name == "llama_cpp":
        top = [{"id": violent, "logprob": math.log(0.5)}, {"id": none, "logprob": math.log(0.1)}]
        body = {"content": " Violent", "completion_probabilities": [{"top_logprobs": top}]}
    completion = dialect(name).read_explanation(body)
    assert isinstance(completion, Completion)
    assert set(completion.category_scores) == {*CATEGORIES, NO_CATEGORY}
    assert completion.category_scores["Violent"] == pytest.approx(0.5 / (0.5 + 9 * 0.1))
    assert min(completion.category_scores.values()) > 0


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_explanation_of_nothing_is_empty(name: str, text: str) -> None:
    body = {
        "content": text,
        "text": text,
        "meta_info": {},
        "choices": [{"index": 0, "text": text, "message": {"content": text}}],
    }
    found = dialect(name).read_explanation(body)
    assert isinstance(found, ItemFailure)
    assert found.code is FailureCode.EMPTY_COMPLETION


def test_llama_cpp_is_asked_for_the_models_own_candidates() -> None:
    request = dialect("llama_cpp").score_request([[1, 2, 3]])
    assert (
        "post_sampling_probs" not in request
    )  # they would be of the labels alone: all of the mass on any text
    assert request["prompt"] == [1, 2, 3]
    assert request["n_predict"] == 1
    assert request["n_probs"] == 20


@pytest.mark.parametrize("kind", ["post", "prompt", "response"])
def test_the_grammar_names_what_the_parser_takes(kind: Kind) -> None:
    grammar = explanation_grammar((*CATEGORIES, NO_CATEGORY), kind)
    refusal = "\nRefusal: No" if kind == "response" else ""
    for name in CATEGORIES:
        taken = isinstance(parse_explanation(f"\nCategories: {name}{refusal}", kind, CATEGORIES), Explanation)
        assert (f'"{name}"' in grammar.splitlines()[1]) == taken
    assert ("Refusal" in grammar) == (kind == "response")


def test_vllm_is_asked_for_the_labels_and_categories_by_their_tokens() -> None:
    score = dialect("vllm").score_request([[1]])
    explanation = dialect("vllm").explain_request([1], "response")
    assert score["logprob_token_ids"] == [SAFE, CONTROVERSIAL, UNSAFE]
    assert score["logprobs"] == 20  # of a release that names no tokens
    assert "structured_outputs" not in score  # its probabilities would be those of the grammar
    assert explanation["logprob_token_ids"] == list(VOCABULARY.category_ids.values())
    assert explanation["structured_outputs"] == {
        "grammar": explanation_grammar((*CATEGORIES, NO_CATEGORY), "response")
    }


def test_sglang_is_asked_for_the_labels_and_categories_by_their_tokens() -> None:
    one = dialect("sglang").score_request([[1, 2]])
    assert one == {
        "input_ids": [1, 2],
        "sampling_params": {"temperature": 0, "max_new_tokens": 1},
        "return_logprob": True,
        "token_ids_logprob": [SAFE, CONTROVERSIAL, UNSAFE],
    }
    assert dialect("sglang").score_request([[1], [2]])["input_ids"] == [[1], [2]]
    explanation = dialect("sglang").explain_request([1], "response")
    assert explanation["token_ids_logprob"] == list(VOCABULARY.category_ids.values())
    assert explanation["sampling_params"]["ebnf"] == explanation_grammar(
        (*CATEGORIES, NO_CATEGORY), "response"
    )


def test_sglang_answers_each_prompt_of_a_list_for_itself() -> None:
    safe = body_of("sglang", {SAFE: -0.1, CONTROVERSIAL: -3.0, UNSAFE: -3.0})
    empty = {"text": "", "meta_info": {"completion_tokens": 0}}
    first, second = dialect("sglang").read_scores([safe, empty], 2)
    assert isinstance(first, Scored)
    assert first.cached_tokens == 7
    assert isinstance(second, ItemFailure)
    assert second.code is FailureCode.EMPTY_COMPLETION
    for answer in dialect("sglang").read_scores([safe], 2):
        assert isinstance(answer, ItemFailure)
        assert answer.code is FailureCode.UNPARSABLE


def test_an_adapter_of_sglang_is_named_in_every_request_and_its_absence_is_a_wrong_setting() -> None:
    adapted = make_dialect("sglang", VOCABULARY, model="m", lora=Lora("teens", 1, "teens-v2"))
    for request in (adapted.score_request([[1]]), adapted.explain_request([1], "post")):
        assert request["lora_path"] == "teens-v2"
    for message in (
        "Got LoRA adapter that has never been loaded: teens-v2",
        "LoRA adapter 'teens-v2' was requested, but LoRA is not enabled.",
    ):
        assert "--lora-paths" in (adapted.fault_of_all(400, {"error": {"message": message}}, 1) or "")
    assert adapted.fault_of_all(400, {"error": {"message": "temperature must be non-negative"}}, 1) is None


def test_a_prompt_that_sglang_shortens_is_judged_by_nothing() -> None:
    shortened = [{"meta_info": {"prompt_tokens": 2000}}, {"meta_info": {"prompt_tokens": 2047}}]
    assert "--allow-auto-truncate" in (dialect("sglang").fault_of_all(200, shortened, 5000) or "")
    assert dialect("sglang").fault_of_all(200, shortened, 4047) is None
    assert (
        dialect("sglang").fault_of_all(200, [*shortened, {"meta_info": {}}], 5000) is None
    )  # it does not say


@pytest.mark.parametrize(
    ("name", "body", "read"),
    [
        ("vllm", {"usage": {"prompt_tokens": 7}}, 7),
        ("openai", {"choices": []}, None),
        ("trtllm_chat", {"usage": {"prompt_tokens": 7}}, 7),
        ("sglang", {"meta_info": {"prompt_tokens": 7}}, 7),
        ("sglang", [], None),
        ("llama_cpp", {"timings": {"prompt_n": 2, "cache_n": 5}}, 7),
        ("llama_cpp", {"timings": {"cache_n": 5}}, None),
    ],
)
def test_a_server_says_how_many_tokens_it_read(name: str, body: Any, read: int | None) -> None:
    assert dialect(name).tokens_read(body) == read


@pytest.mark.parametrize(
    "message",
    [
        "The input (2050 tokens) is longer than the model's context length (2048 tokens).",
        "Requested token count exceeds the model's maximum context length of 2048 tokens.",
    ],
)
def test_sglangs_words_for_a_prompt_that_is_too_long_are_known(message: str) -> None:
    assert dialect("sglang").is_too_long(400, {"error": {"message": message}})
    assert not dialect("sglang").is_too_long(500, {"error": {"message": message}})


def test_the_chat_endpoint_is_given_the_tokens_and_a_message_that_says_nothing() -> None:
    request = dialect("trtllm_chat").score_request([[1, 2, 3]])
    assert request["prompt_token_ids"] == [1, 2, 3]
    assert request["messages"] == [{"role": "user", "content": "."}]
    assert (request["max_tokens"], request["temperature"]) == (1, 0)
    assert (request["logprobs"], request["top_logprobs"]) == (True, 20)
    assert not {"prompt", "logit_bias"} & set(request)


def test_a_chat_server_that_passes_over_the_tokens_judges_no_post() -> None:
    chat = dialect("trtllm_chat")
    assert "read 9 tokens where 300 were sent" in (
        chat.fault_of_all(200, {"usage": {"prompt_tokens": 9}}, 300) or ""
    )
    assert chat.fault_of_all(200, {"usage": {"prompt_tokens": 300}}, 300) is None
    assert chat.fault_of_all(400, {"usage": {"prompt_tokens": 9}}, 300) is None


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "9"}])
def test_a_chat_server_that_does_not_say_what_it_read_gives_no_scores(usage: Any) -> None:
    body = body_of("trtllm_chat", {SAFE: -0.1, CONTROVERSIAL: -3.0, UNSAFE: -5.0})
    found = read_one("trtllm_chat", {**body, "usage": usage})
    assert isinstance(found, ItemFailure)
    assert (found.code, found.detail) == (FailureCode.UNPARSABLE, "usage.prompt_tokens")


@pytest.mark.parametrize("name", ["trtllm", "trtllm_chat"])
def test_a_grammar_is_sent_where_the_server_can_hold_to_one(name: str) -> None:
    guided = make_dialect(name, VOCABULARY, model="m", guided=True)
    grammar = explanation_grammar((*CATEGORIES, NO_CATEGORY), "post")
    assert guided.explain_request([1], "post")["response_format"] == {"type": "ebnf", "ebnf": grammar}
    assert "response_format" not in guided.score_request([[1]])
    assert "response_format" not in dialect(name).explain_request([1], "post")


def test_a_release_that_refuses_candidates_is_a_wrong_setting_and_no_fault_of_a_post() -> None:
    refusal = {"object": "error", "message": "1 validation error: Value error, logprobs is not supported"}
    assert "trtllm_chat" in (dialect("trtllm").fault_of_all(400, refusal, 1) or "")
    assert dialect("trtllm").fault_of_all(500, refusal, 1) is None
    assert dialect("openai").fault_of_all(400, refusal, 1) is None


@pytest.mark.parametrize("words", ["max_seq_len", "max_num_tokens", "max_input_len"])
@pytest.mark.parametrize("name", ["trtllm", "trtllm_chat"])
def test_the_words_of_tensorrt_llm_for_a_prompt_that_is_too_long_are_known(name: str, words: str) -> None:
    refusal = {"object": "error", "message": f"The sum of prompt length (3000) exceeds {words} (2048)"}
    assert dialect(name).is_too_long(400, refusal)


@pytest.mark.parametrize(
    ("reason", "written", "code"),
    [("length", 12, FailureCode.TOO_LONG), ("length", 64, None), ("stop", 12, None)],
)
@pytest.mark.parametrize("name", ["openai", "vllm", "sglang", "trtllm", "trtllm_chat"])
def test_an_explanation_that_the_context_cut_is_no_explanation(
    name: str, reason: str, written: int, code: FailureCode | None
) -> None:
    message = {"role": "assistant", "content": " Violent"}
    choice = {"index": 0, "text": " Violent", "message": message, "finish_reason": reason}
    meta = {"finish_reason": {"type": reason}, "completion_tokens": written}
    body = {
        "text": " Violent",
        "meta_info": meta,
        "choices": [choice],
        "usage": {"completion_tokens": written},
    }
    found = dialect(name).read_explanation(body)
    assert (found.code if isinstance(found, ItemFailure) else None) == code


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 2048 tokens. However, your prompt contains 2050 input tokens",
        "Input length (2050) exceeds model's maximum context length (2048).",
        "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)",
    ],
)
def test_vllms_words_for_a_prompt_that_is_too_long_are_known(message: str) -> None:
    assert dialect("vllm").is_too_long(400, {"error": {"message": message, "code": 400}})
    assert not dialect("vllm").is_too_long(500, {"error": {"message": message}})


def test_a_model_that_learnt_reasons_is_made_to_give_one_and_has_room_for_it() -> None:
    taught = make_dialect("llama_cpp", replace(VOCABULARY, reasons=True), model="m").explain_request(
        [1], "post"
    )
    plain = dialect("llama_cpp").explain_request([1], "post")
    assert "Reason" in taught["grammar"]
    assert taught["n_predict"] > plain["n_predict"]
    assert "Reason" not in plain["grammar"]


def test_a_name_with_quotes_does_not_break_out_of_the_grammar() -> None:
    assert r'"a\"b\\c"' in explanation_grammar(('a"b\\c',), "post")


@pytest.mark.parametrize("name", DIALECTS)
def test_tokens_of_one_text_are_refused_where_a_server_names_them_by_text(name: str) -> None:
    confused = replace(
        VOCABULARY, texts={text: token for text, token in VOCABULARY.texts.items() if token != SAFE}
    )
    if name in ("openai", "trtllm", "trtllm_chat"):
        with pytest.raises(EngineSetupError, match="tokens of one text"):
            make_dialect(name, confused, model="m")
    else:
        make_dialect(name, confused, model="m")


def test_an_unknown_dialect_is_refused_by_name() -> None:
    with pytest.raises(
        EngineSetupError, match="'tgi' is not one of: openai, vllm, sglang, trtllm, trtllm_chat, llama_cpp"
    ):
        make_dialect("tgi", VOCABULARY, model="m")


def categories_at(**shares: float) -> dict[int, float]:
    """Logarithms of the first tokens of some categories; underscores are blanks."""
    return {
        VOCABULARY.category_ids[name.replace("_", " ")]: math.log(share) for name, share in shares.items()
    }


@pytest.mark.parametrize("name", DIALECTS)
def test_a_category_is_asked_for_with_one_token_and_without_a_grammar(name: str) -> None:
    asked = dialect(name).category_request([1, 2, 3])
    flat = {**asked, **asked.get("sampling_params", {})}
    assert {flat.get(key) for key in ("max_tokens", "max_new_tokens", "n_predict")} == {1, None}
    assert not {"grammar", "ebnf", "structured_outputs", "response_format"} & set(flat)
    named = asked.get("logprob_token_ids", asked.get("token_ids_logprob"))
    assert named in (None, list(VOCABULARY.category_ids.values()))


@pytest.mark.parametrize("name", DIALECTS)
def test_the_likeliest_category_is_read_from_the_candidates(name: str) -> None:
    body = body_of(name, categories_at(PII=0.6, Violent=0.3))
    candidates = dialect(name).read_category(body)
    assert candidates is not None
    found = first_category(candidates, VOCABULARY, "post")
    assert found is not None
    assert (found.categories, found.by, found.reason, found.refusal) == (("PII",), "category", None, None)
    assert found.category_scores["PII"] == max(found.category_scores.values())


@pytest.mark.parametrize("name", DIALECTS)
@given(body=json_values)
def test_reading_a_category_never_raises(name: str, body: object) -> None:
    assert dialect(name).read_category(body) is None or isinstance(body, dict)


@pytest.mark.parametrize(
    ("shares", "kind", "categories"),
    [
        ({"PII": 0.5, "Violent": 0.4}, "post", ("PII",)),
        ({"None": 0.9}, "post", ()),
        ({"PII": 0.3, "Violent": 0.25}, "post", None),  # another token may have 0.45
        ({"Jailbreak": 0.6, "PII": 0.3}, "prompt", ("Jailbreak",)),
        ({"Jailbreak": 0.6, "PII": 0.3}, "response", None),  # a text on a response may not begin with it
        ({"Jailbreak": 0.1, "PII": 0.8}, "response", ("PII",)),
        ({}, "post", None),
    ],
)
def test_a_category_is_read_only_where_a_text_would_begin_with_it(
    shares: dict[str, float], kind: Kind, categories: tuple[str, ...] | None
) -> None:
    found = first_category(Candidates(categories_at(**shares), -9.0), VOCABULARY, kind)
    assert (found.categories if found is not None else None) == categories
