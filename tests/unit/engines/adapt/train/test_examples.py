"""Rows to examples, and the order in which they train."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.errors import TrainingError
from sluicegate.engines.adapt.train.base import END, OpenedBase, checkpoint_tokenizer, open_base
from sluicegate.engines.adapt.train.examples import (
    ExampleMaker,
    TrainingExample,
    one_sided_languages,
    order_digest,
    plan,
    shares,
    steps,
    stratified,
)
from sluicegate.engines.adapt.train.plan import read_rows
from sluicegate.engines.adapt.train.recipe import TrainingBase
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.layouts import split_template
from sluicegate.engines.protocol import Explanation, Prompt
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import CATEGORIES, Post
from support.small_bundle import small_manifest, write_small_bundle
from support.training import labelled_rows, small_base, training_row, write_rows

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.schemas import Severity


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
    base = open_base(TrainingBase(checkpoint=str(tmp_path), layout="vendor"))
    assert base.layout.digest == split_template(TEMPLATE).digest
    assert base.labels == small_base().labels
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(TrainingError, match=r"tokenizer\.json cannot be read"):
        open_base(TrainingBase(checkpoint=str(tmp_path), layout="vendor"))


def test_a_bundle_without_a_gguf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"model\.bin is no GGUF"):
        open_base(TrainingBase(bundle=str(write_small_bundle(tmp_path))))


def example(number: int, source: str, language: str = "en", severity: Severity = "safe") -> TrainingExample:
    return TrainingExample(
        str(number), source, language, severity, (1, number), (2,), cut=False, reason=False
    )


EXAMPLES = [
    example(n, "large" if n < 300 else "little", "en" if n % 3 else "zh", "unsafe" if n % 5 else "safe")
    for n in range(340)
]


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 10_000), min_size=1, max_size=8),
    st.integers(0, 5_000),
    st.floats(0, 1),
)
def test_all_places_are_given_and_no_smaller_source_gets_more(
    sizes: dict[str, int], total: int, balance: float
) -> None:
    given_places = shares(sizes, total, balance)
    assert sum(given_places.values()) == total
    by_size = sorted(sizes, key=lambda name: sizes[name])
    for smaller, larger in pairwise(by_size):
        assert given_places[smaller] <= given_places[larger] + 1


def test_balance_one_keeps_the_shares_of_the_data_and_balance_zero_makes_sources_equal() -> None:
    sizes = {"large": 900, "little": 100}
    assert shares(sizes, 50, 1.0) == {"large": 45, "little": 5}
    assert shares(sizes, 50, 0.0) == {"large": 25, "little": 25}


def test_every_stretch_of_the_order_is_mixed_like_the_whole() -> None:
    order = plan(EXAMPLES, rows=340, balance=1.0, seed=3)
    assert sorted(order) == list(range(340))
    for start in range(0, 340, 85):
        stretch = [EXAMPLES[index] for index in order[start : start + 85]]
        assert 23 <= sum(one.language == "zh" for one in stretch) <= 34
        assert 12 <= sum(one.severity == "safe" for one in stretch) <= 22
        assert 8 <= sum(one.source == "little" for one in stretch) <= 12


def test_a_small_source_begins_again_only_when_all_of_it_was_shown() -> None:
    order = plan(EXAMPLES, rows=340, balance=0.0, seed=3)
    times = Counter(index for index in order if EXAMPLES[index].source == "little")
    assert set(times) == set(range(300, 340))
    assert set(times.values()) == {4, 5}


def test_a_pass_shows_an_example_as_often_as_it_says() -> None:
    often = [replace(one, repeat=3) if n % 10 == 0 else one for n, one in enumerate(EXAMPLES)]
    times = Counter(plan(often, rows=340 + 2 * 34, balance=1.0, seed=3))
    assert {times[n] for n in range(0, 340, 10)} == {3}
    assert {times[n] for n in range(340) if n % 10} == {1}


def test_the_seed_decides_the_order() -> None:
    first, again, other = (plan(EXAMPLES, rows=100, balance=0.5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert order_digest(EXAMPLES, first) != order_digest(EXAMPLES, other)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(1, 20), st.integers(64, 1000))
def test_steps_hold_each_row_once_and_bound_the_padding(
    lengths: list[int], batch_rows: int, micro_tokens: int
) -> None:
    order = list(range(len(lengths)))
    made = steps(order, lengths, batch_rows=batch_rows, micro_tokens=micro_tokens)
    assert [sorted(index for part in one for index in part) for one in made] == [
        order[at : at + batch_rows] for at in range(0, len(order), batch_rows)
    ]
    for part in (part for one in made for part in one):
        longest, shortest = max(lengths[i] for i in part), min(lengths[i] for i in part)
        assert len(part) == 1 or len(part) * longest <= micro_tokens
        assert longest <= shortest * 1.25 + 8


def test_a_stratified_sample_is_the_same_every_time_and_has_the_shares_of_the_whole() -> None:
    sample = stratified(EXAMPLES, 34, seed=5)
    assert sample == stratified(EXAMPLES, 34, seed=5)
    assert 9 <= sum(one.language == "zh" for one in sample) <= 14
    assert stratified(EXAMPLES, 10_000, seed=5) == EXAMPLES


def test_a_language_with_one_severity_is_found() -> None:
    rows = [*labelled_rows(12), training_row("x", "x", language="sw", severity="unsafe")]
    assert one_sided_languages(rows) == {"sw"}


def test_prepared_rows_are_read_from_their_two_files(tmp_path: Path) -> None:
    train, dev = labelled_rows(6), labelled_rows(3, prefix="d")
    read = read_rows(write_rows(tmp_path, train, dev))
    assert [[row.id for row in rows] for rows in read] == [[row.id for row in rows] for rows in (train, dev)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "dev.jsonl").unlink(), r"dev\.jsonl cannot be read"),
        (lambda folder: (folder / "train.jsonl").write_text(""), "has no rows"),
        (
            lambda folder: (folder / "train.jsonl").write_text('\n{"id": "1"}'),
            r"train\.jsonl:2: text: missing; write the text to judge",
        ),
        (
            lambda folder: (folder / "dev.jsonl").write_bytes((folder / "train.jsonl").read_bytes()),
            r"dev\.jsonl:1: a row of the split train",
        ),
        (
            lambda folder: (folder / "dev.jsonl").write_bytes(
                (folder / "train.jsonl").read_bytes().replace(b'"train"', b'"dev"')
            ),
            r"6 ids stand in train\.jsonl and in dev\.jsonl",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(tmp_path: Path, change: object, message: str) -> None:
    folder = write_rows(tmp_path, labelled_rows(6), labelled_rows(3, prefix="d"))
    assert callable(change)
    change(folder)
    with pytest.raises(TrainingError, match=message):
        read_rows(folder)
