"""What studies keep of an engine's answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shared.judging import Judged, Store, certain, parts_of
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, FailureCode, Post, Scores

if TYPE_CHECKING:
    from pathlib import Path


def test_what_another_engine_said_was_cut_short_or_failed_is_asked_again(tmp_path: Path) -> None:
    info = replace(open_backend(EngineChoice("fake")).engine.info, digest="sha256:a")
    first, second = (Prompt((number,), "post", 0, (0, 1)) for number in (1, 2))
    store = Store(tmp_path / "work", info)
    said = Scored(Scores(safe=0.5, controversial=0, unsafe=0.5), 0.9)
    failure = ItemFailure(FailureCode.TIMED_OUT)
    store.add({store.key(first): said, store.key(second): failure})
    assert (store.of(first), store.of(second)) == (said, failure)
    (kept,) = (tmp_path / "work").iterdir()
    kept.write_text(kept.read_text() + '{"key": "cut of')
    assert Store(tmp_path / "work", info).said == {store.key(first): said}
    assert Store(tmp_path / "work", replace(info, digest="sha256:b")).said == {}


def test_scores_whose_labels_hold_too_little_are_no_finding_as_in_a_worker(tmp_path: Path) -> None:
    backend = open_backend(EngineChoice("fake"))
    store, post = Store(tmp_path, backend.engine.info), Post(id="1", text="hello")
    parts = parts_of(backend, [post])
    judged = Judged(backend, Policy.load(None), store, parts)
    built = parts["1"]
    assert isinstance(built, Parts)
    for mass, action in ((0.9, Action.ALLOW), (0.01, Action.REVIEW)):
        store.add({store.key(one.prompt): Scored(certain("safe"), mass) for one in built.parts})
        finding = judged.finding(post)
        assert isinstance(finding, ItemFailure) is (action is Action.REVIEW)
        assert judged.action(post, finding) is action
