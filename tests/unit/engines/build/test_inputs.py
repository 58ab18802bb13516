from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.build.inputs import joined


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_calibration_texts_are_of_near_equal_length_and_lose_no_prompt(lengths: list[int]) -> None:
    prompts = [(length, f"<{number}>" + "x" * length) for number, length in enumerate(lengths)]
    texts = joined(prompts)
    assert Counter("".join(texts)) == Counter("".join(text for _, text in prompts))
    filled = [text.count("x") for text in texts]
    assert max(filled) == max(lengths)  # none is longer than a prompt was
    assert sum(2 * length <= max(filled) for length in filled) <= 1  # the rest is padded by less than half


def test_prompts_of_one_length_stay_apart_and_in_order() -> None:
    assert joined([(5, "one"), (5, "two"), (5, "three")]) == ["one", "two", "three"]
