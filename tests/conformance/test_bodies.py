"""Requests and replies, compared with the servers' own files; and a wrong one is found."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from conformance import wheels
from conformance.bodies import bodies, body_rows, compare, generated
from conformance.servers import SERVERS, VllmServer, own_files
from conformance.walk import AGREES
from contract.wires import CONTEXT_TOKENS, WIRES, Generated, RefusedError
from sluicegate.engines.protocol import Scored
from support.small_bundle import small_vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.servers


def vllm() -> Any:
    return own_files()[VllmServer]


def a_body(**changes: Any) -> Mapping[str, Any]:
    (body,) = (body.value for body in bodies() if body.what == "vllm: score a prompt")
    return {**body, **changes}


def test_every_body_agrees() -> None:
    rows = body_rows(own_files())
    assert [row for row in rows if row.result != AGREES] == []
    assert {row.entry for row in rows} == {server.name for server in SERVERS}


def test_named_tokens_are_all_that_vllm_answers_beside_the_one_it_wrote() -> None:
    (body,) = (one for one in bodies() if one.what == "vllm: score a prompt")
    (answer,) = body.read(vllm().answer(body.value, [replace(generated(), best=0)]))
    assert isinstance(answer, Scored)
    assert not answer.bounded  # the labels are there, though another token was written
    labels = list(small_vocabulary().first_label_ids.values())
    assert answer.label_mass == pytest.approx(sum(math.exp(generated().logprobs[token]) for token in labels))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"guided_grammar": "root ::= x"}, "ignores it: guided_grammar"),
        ({"logprobs": 21, "logprob_token_ids": None}, "greater than max allowed: 20"),
        ({"logprob_token_ids": [1] * 129}, "greater than max allowed: 128"),
        ({"logprob_token_ids": [10**6]}, "out-of-vocab token ids"),
        ({"logprobs": None}, "`logprobs` must be set"),
        ({"structured_outputs": {"gramar": "root ::= x"}}, "none are specified"),
        ({"logprobs": "20"}, "must be an integer"),
        ({"prompt": [1] * CONTEXT_TOKENS}, "max_tokens must be at least 1"),
        ({"prompt": [1] * (CONTEXT_TOKENS + 1)}, "exceeds model's maximum context length"),
    ],
)
def test_a_wrong_body_is_found(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        vllm().take(a_body(**changes))


def test_a_field_that_sglang_drops_is_found() -> None:
    (body,) = (
        one for one in bodies() if one.what == "openai: score a prompt" and "SGLang" in one.server.name
    )
    wrong = replace(body, value={**body.value, "return_tokens_as_token_ids": True})
    assert "ignores it: return_tokens_as_token_ids" in compare(wrong, own_files()[body.server])


def test_a_reply_that_a_dialect_cannot_read_is_found() -> None:
    (body,) = (one for one in bodies() if one.what == "vllm: score a prompt")
    wrong = replace(body, value={**body.value, "return_tokens_as_token_ids": False})
    assert "its reply is not read" in compare(wrong, own_files()[body.server])


@pytest.mark.parametrize("nothing", [False, True])
@pytest.mark.parametrize(
    "body", [one for one in bodies() if hasattr(one.server, "answer")], ids=lambda one: one.what
)
def test_a_stubs_reply_is_part_of_what_the_servers_own_files_reply(body: Any, nothing: bool) -> None:
    model = Generated([1], "", {}, None, "stop") if nothing else generated()
    wire = WIRES[body.what.partition(":")[0].partition(" ")[0]]()
    wire.check(body.value, ("guard", "teens"))
    own = own_files()[body.server].answer(body.value, [model] * body.prompts)
    assert_part(wire.answer(body.value, [model] * body.prompts), own)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"lora": "teens"}, "ignores it: lora"),
        ({"sampling_params": {"max_tokens": 1}}, "unknown field `max_tokens`"),
        ({"token_ids_logprob": ["1"]}, "invalid type"),
        ({"input_ids": "Hello"}, "invalid type|did not match"),
    ],
)
def test_a_wrong_body_for_sglang_is_found(changes: dict[str, Any], why: str) -> None:
    (body,) = (body for body in bodies() if body.what == "sglang: score a prompt")
    with pytest.raises(RefusedError, match=why):
        own_files()[body.server].take({**body.value, **changes})


def assert_part(stub: Any, real: Any, where: str = "") -> None:
    """See that whatever a stub says is what the server says there."""
    if isinstance(stub, dict):
        assert set(stub) <= set(real), where
        for name, value in stub.items():
            assert_part(value, real[name], f"{where}.{name}")
    elif isinstance(stub, list):
        assert len(stub) == len(real), where
        for index, value in enumerate(stub):
            assert_part(value, real[index], f"{where}.{index}")
    else:
        assert stub == pytest.approx(real), where


def test_nothing_of_a_server_stays_importable() -> None:
    own_files()
    with pytest.raises(ModuleNotFoundError):
        __import__("vllm.sampling_params")


def test_files_that_are_not_there_are_said_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICEGATE_CACHE_DIR", str(tmp_path))
    absence = wheels.absence()
    assert absence
    assert "no source of vllm 0.32.0" in absence
    assert "`make conformance` fetches them" in absence
