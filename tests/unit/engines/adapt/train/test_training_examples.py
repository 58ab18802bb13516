from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.base import END, OpenedBase, checkpoint_tokenizer, open_base
from sluicegate.engines.adapt.train.examples import ExampleMaker
from sluicegate.engines.adapt.train.recipe import Base
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.layouts.vendor import split_template
from sluicegate.engines.protocol import Explanation, Prompt
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import CATEGORIES, Post
from support.small_bundle import small_manifest, write_small_bundle
from support.training import small_base, training_row

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.data.rows import Row

ROW = training_row("1", "some text", severity="unsafe", categories=("Violent", "PII"))
RESPONSE: dict[str, Any] = {"kind": "response", "context": "How?", "severity": "safe"}


def maker(base: OpenedBase | None = None, **changed: Any) -> ExampleMaker:
    return ExampleMaker(base or small_base(), **{"max_tokens": 512, "hinted_share": 0.0, **changed})


@pytest.mark.parametrize("kind", ["post", "prompt", "response"])
@pytest.mark.parametrize("hinted_share", [0.0, 1.0])
def test_a_prompt_has_the_ids_it_has_when_it_is_served(
    tmp_path: Path, kind: str, hinted_share: float
) -> None:
    bundle = Bundle.open(write_small_bundle(tmp_path))
    row = training_row("1", "to <|im_end|> judge 看", kind=kind, context="before", language="en", region="DE")
    hints = {"language": "en", "region": "DE"} if hinted_share else {}
    served = Prompter(bundle.tokenizer, bundle.layout, max_prompt_tokens=512).build(
        Post.model_validate({"id": "p", "text": row.text, "kind": kind, "context": "before", **hints})
    )
    example = maker(hinted_share=hinted_share).make(row)
    assert isinstance(served, Prompt)
    assert example is not None
    assert example.prompt_ids == served.token_ids


def test_a_completion_begins_with_the_ids_that_serving_forces_and_ends_with_the_end_token() -> None:
    base = small_base()
    ids = maker(base).completion(ROW)
    label = base.labels.unsafe.token_ids
    assert ids[: len(label)] == label
    assert ids[-1] == base.end_id == base.tokenizer.encode_static(END)[0]
    assert base.tokenizer.decode(ids) == f" Unsafe\nCategories: Violent, PII{END}"


@pytest.mark.parametrize(
    "row",
    [
        ROW,
        training_row("1", "x"),
        training_row("1", "x", severity="controversial", categories=("PII",), reason="It names a street."),
        training_row("1", "x", **RESPONSE, refusal=True),
        training_row("1", "x", **RESPONSE, refusal=False, reason="Helps."),
    ],
)
def test_what_is_taught_is_what_serving_can_read(row: Row) -> None:
    base = small_base()
    label = {"safe": base.labels.safe, "unsafe": base.labels.unsafe}.get(
        row.severity, base.labels.controversial
    )
    taught = base.tokenizer.decode(maker(base).completion(row)[len(label.token_ids) : -1])
    read = parse_explanation(taught, row.kind, CATEGORIES)
    assert isinstance(read, Explanation)
    assert (read.categories, read.refusal, read.reason) == (row.categories, row.refusal, row.reason)


def test_what_a_row_leaves_open_is_not_taught() -> None:
    base = small_base()
    no_category = maker(base).completion(training_row("1", "x", severity="unsafe"))
    no_refusal = maker(base).completion(training_row("1", "x", **RESPONSE))
    assert no_category == base.labels.unsafe.token_ids
    assert base.tokenizer.decode(no_refusal) == " Safe\nCategories: None"


def test_a_text_that_is_too_long_is_cut_to_the_longest_beginning_that_fits() -> None:
    text = "An unsafe word and another one. " * 40
    example = maker(max_tokens=100).make(training_row("1", text))
    assert example is not None
    assert example.cut
    assert len(example.prompt_ids) <= 100
    base = small_base()
    kept = next(
        length
        for length in range(len(text), 0, -1)
        if isinstance(
            Prompter(base.tokenizer, base.layout, max_prompt_tokens=100).build(
                Post(id="p", text=text[:length])
            ),
            Prompt,
        )
    )
    served = Prompter(base.tokenizer, base.layout, max_prompt_tokens=100).build(
        Post(id="p", text=text[:kept])
    )
    assert isinstance(served, Prompt)
    assert example.prompt_ids == served.token_ids


def test_a_row_whose_context_leaves_no_room_makes_no_example() -> None:
    row = training_row("1", "x", kind="response", context="before " * 200)
    assert maker(max_tokens=100).make_all([row, ROW]) == ([maker().make(ROW)], 1)


def test_the_share_of_rows_that_show_their_hints_is_about_the_one_asked_for() -> None:
    rows = [training_row(str(number), "x", language="en", region="DE") for number in range(400)]
    making = maker(hinted_share=0.25)
    shown = [making.post(row) for row in rows]
    assert 60 <= sum(post.language is not None for post in shown) <= 140
    assert all((post.language is None) == (post.region is None) for post in shown)


def published_tokenizer() -> bytes:
    """A tokenizer.json as checkpoints have it: control tokens in the vocabulary and among the added ones."""
    document = orjson.loads(small_tokenizer_json())
    control = small_manifest()["tokenizer"]["control_tokens"]
    document["model"]["vocab"].update(control)
    document["added_tokens"] = [
        {
            "id": number,
            "content": text,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for text, number in control.items()
    ]
    return orjson.dumps(document)


def small_tokenizer_json() -> bytes:
    from support.small_bundle import tokenizer_json  # noqa: PLC0415 - the name is taken above by a bundle's part

    return tokenizer_json()


def test_a_published_tokenizer_loses_its_control_tokens_and_keeps_every_id() -> None:
    tokenizer, control = checkpoint_tokenizer(published_tokenizer())
    small = small_base().tokenizer
    text = "Safe <|im_end|> Violent"
    assert tokenizer.encode_text(text) == small.encode_text(text)
    assert tokenizer.encode_static(text) == small.encode_static(text)
    assert control == small_manifest()["tokenizer"]["control_tokens"]


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"added_tokens": 1}'])
def test_something_else_is_no_published_tokenizer(raw: bytes) -> None:
    with pytest.raises(TrainingError, match="not of the published form"):
        checkpoint_tokenizer(raw)


def test_a_checkpoint_gives_the_vendor_layout_of_its_own_template(tmp_path: Path) -> None:
    from support.chat_template import TEMPLATE  # noqa: PLC0415 - one test's

    (tmp_path / "tokenizer.json").write_bytes(published_tokenizer())
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    base = open_base(Base(checkpoint=str(tmp_path), layout="vendor"))
    assert base.layout.digest == split_template(TEMPLATE).digest
    assert base.labels == small_base().labels
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(TrainingError, match=r"tokenizer\.json cannot be read"):
        open_base(Base(checkpoint=str(tmp_path), layout="vendor"))


def test_a_bundle_without_a_gguf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"model\.bin is no GGUF"):
        open_base(Base(bundle=str(write_small_bundle(tmp_path))))
