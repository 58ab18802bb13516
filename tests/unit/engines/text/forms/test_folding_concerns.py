"""The looks before the stages of folding: a text that they pass over, no stage would have changed."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.engines.text.forms import RULES, chinese, fold
from sluicegate.engines.text.forms.folding import _ROUNDS, STAGES, Folded
from sluicegate.engines.text.forms.stage import NOTHING, FoldStage
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import Post, decode_post
from unit.engines.text.forms.test_folding_bounds import PIECES

WORDS = (*chinese._SPLIT_WORDS, *chinese._VARIANTS, *list(chinese._splits()[0])[::20])
SIGNS = tuple(
    " .-_*·~|^#．•＊＿\t\u3000\u00a0‐!?,@$0134578９。，、一二我们門貓女木口kKéß\u0130ıаеΟ️👍🏽ａ①𝐤㎏ﬁｱ\u0301\u1161各ㄱ\u2028"
)
TEXTS = (
    st.lists(st.sampled_from([*PIECES, *WORDS, *SIGNS, "ill", "aaa", "h-e-l-l-o"]), max_size=25).map("".join)
    | st.text(max_size=40)
    | st.text("aI k1!$.-_ \n", max_size=30)
    | st.text("我贝者博 -*。，・", max_size=20)
)
IDS = [stage.change.__name__ for stage in STAGES]


def every_stage(text: str) -> Folded:
    """Folding without any look beforehand."""
    fired: set[str] = set()
    for _ in range(_ROUNDS):
        before = text
        for stage in STAGES:
            text, rules = stage.change(text)
            fired.update(rules)
        if text == before:
            break
    return Folded(text, tuple(rule for rule in RULES if rule in fired))


@settings(max_examples=2_000)
@given(TEXTS)
def test_folding_finds_what_every_stage_in_turn_finds(text: str) -> None:
    for stage in STAGES:
        if not stage.concerns(text):
            assert stage.change(text) == (text, NOTHING)
    assert fold(text) == every_stage(text)


def test_the_sample_posts_are_folded_as_by_every_stage() -> None:
    texts = [post.text for raw in sample_records() if isinstance(post := decode_post(raw), Post)]
    assert [fold(text) for text in texts] == [every_stage(text) for text in texts]
    assert any(fold(text).differs for text in texts)
    spared = [stage for stage in STAGES if sum(map(stage.concerns, texts)) < len(texts) / 4]
    assert len(spared) == len(STAGES), "a look that concerns many texts spares nothing"


@pytest.mark.parametrize("stage", STAGES, ids=IDS)
def test_no_stage_changes_a_character_that_it_is_not_concerned_with(stage: FoldStage) -> None:
    quiet = [one for one in map(chr, range(sys.maxunicode + 1)) if not stage.concerns(f"a{one}我{one}")]
    for first in range(0, len(quiet), 64):
        for text in ("".join(quiet[first : first + 64]), "a我".join(quiet[first : first + 64])):
            if not stage.concerns(text):
                assert stage.change(text) == (text, NOTHING)


def test_every_word_that_is_rewritten_is_looked_for() -> None:
    words = [*chinese._SPLIT_WORDS, *chinese._VARIANTS, *chinese._splits()[0]]
    assert [word for word in words if not chinese.may_be_rewritten(word)] == []
