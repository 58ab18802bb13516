"""The model: answers where it is sure, on posts like those it was calibrated on, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.bundle.calibration import Calibration, Temperature
from sluicegate.engines.screen.model import Screen, ScreenAnswer, answer_within
from support.small_screen import FRIENDLY, GROUP, HOSTILE, post, write_screen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sluicegate.schemas import Post


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Screen:
    return Screen.load(write_screen(tmp_path_factory.mktemp("screen")))


def one(screen: Screen, *posts: Post) -> ScreenAnswer | None:
    (found,) = screen.answers(posts)
    return found


def test_it_answers_on_the_side_on_which_it_is_sure(screen: Screen) -> None:
    friendly, hostile = screen.answers([post(FRIENDLY), post(HOSTILE)])
    assert friendly is not None
    assert hostile is not None
    assert (friendly.severity, hostile.severity) == ("safe", "unsafe")
    assert friendly.error == hostile.error == 0.01
    assert friendly.scores.severity == "safe"
    assert hostile.scores.severity == "unsafe"


def test_its_scores_are_calibrated(tmp_path: Path, screen: Screen) -> None:
    as_they_are = Calibration(data=f"sha256:{'0' * 64}", fallback=Temperature(temperature=1.0))
    raw = one(Screen.load(write_screen(tmp_path, calibration=as_they_are)), post())
    calibrated = one(screen, post())
    assert calibrated is not None
    assert raw is not None
    assert calibrated.scores.safe < raw.scores.safe
    assert calibrated.error == raw.error


def test_what_it_is_not_sure_of_is_left_to_the_engine(screen: Screen) -> None:
    assert one(screen, post(f"{FRIENDLY} {HOSTILE}")) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"language": None},
        {"language": "de"},
        {"kind": "prompt"},
        {"kind": "response"},
        {"kind": "response", "context": "Hello?"},
        {"context": "Hello?"},
        {"text": FRIENDLY * 10},
        {"text": FRIENDLY + " я"},
        {"text": "1488"},
        {"text": FRIENDLY + "".join(chr(0xE0000 + ord(one)) for one in "kill")},
        {"text": f"\u202e{FRIENDLY}"},
        {"text": "entirely other words stand here today"},
        {"text": f"{FRIENDLY[:20]} qxjzk vwpfy bnhtq zzrrw kkjjq xxvvp wqzt"},
    ],
)
def test_what_it_was_not_calibrated_on_is_left_to_the_engine(screen: Screen, fields: dict[str, Any]) -> None:
    assert one(screen, post()) is not None
    assert one(screen, post(**fields)) is None


@pytest.mark.parametrize("tag", ["en", "en-GB", "EN"])
def test_a_tag_counts_by_its_language(screen: Screen, tag: str) -> None:
    assert one(screen, post(language=tag)) is not None


def test_a_side_without_steps_is_never_answered(tmp_path: Path) -> None:
    screen = Screen.load(write_screen(tmp_path, group=GROUP.model_copy(update={"unsafe": ()})))
    friendly, hostile = screen.answers([post(FRIENDLY), post(HOSTILE)])
    assert friendly is not None
    assert hostile is None


@pytest.mark.parametrize(
    "disguise",
    [
        str.upper,
        "\u200b".join,
        lambda text: text.translate({ord(c): ord(c) + 0xFEE0 for c in "abcdefghijklmnopqrstuvwxyz"}),
    ],
)
def test_a_disguised_text_is_seen_as_what_it_is(screen: Screen, disguise: Callable[[str], str]) -> None:
    found = one(screen, post(disguise(HOSTILE)))
    assert found is not None
    assert found.severity == "unsafe"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 65536,
        "a" * 300,
        "\ud800",
        "\udfff" * 200,
        "\u200b" * 300,
        "\0",
        "\0" * 300,
        " ",
        "\n\n",
        "🙂" * 200,
        "\u202e\u2066",
        "你" * 300,
    ],
)
def test_hostile_texts_are_left_to_the_engine(screen: Screen, text: str) -> None:
    hostile = post().model_copy(update={"text": text})  # a surrogate passes no validation
    found = screen.answers([post(), hostile, post(HOSTILE)])
    assert found[0] is not None
    assert found[1] is None
    assert found[2] is not None


@given(
    st.lists(st.sampled_from([FRIENDLY, HOSTILE, "", "lovely", "scum", "12"]), min_size=1, max_size=5),
    st.text(max_size=30),
)
def test_an_answer_does_not_depend_on_company(screen: Screen, parts: list[str], more: str) -> None:
    posts = [post(text or "-") for text in (" ".join(parts), more, *parts)]
    assert screen.answers(posts) == [one(screen, alone) for alone in posts]


def test_more_posts_than_one_batch_holds_keep_their_order(screen: Screen) -> None:
    posts = [post(HOSTILE if at % 3 == 0 else FRIENDLY, id=str(at)) for at in range(300)]
    severities = [found.severity if found else None for found in screen.answers(posts)]
    assert severities == ["unsafe" if at % 3 == 0 else "safe" for at in range(300)]
    assert screen.answers([]) == []


def test_threads_share_it(screen: Screen) -> None:
    posts = [post(FRIENDLY), post(HOSTILE), post("12")]
    alone = screen.answers(posts)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == alone for found in pool.map(screen.answers, [posts] * 40))


def test_an_answer_is_within_a_tolerance_from_its_error_on(screen: Screen) -> None:
    answer = one(screen, post())
    assert answer_within(answer, 0.01)
    assert not answer_within(answer, 0.0099)
    assert not answer_within(None, 1.0)


def test_the_module_loads_no_numpy_before_a_screen_is_loaded() -> None:
    code = "import sys, sluicegate.engines.screen.model; print([n for n in ('numpy', 'sklearn', 'safetensors', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_loaded_screen_needs_no_scikit_learn_and_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sluicegate.engines.screen.model import Screen; "
        "Screen.load(Path(sys.argv[1])); print([n for n in ('sklearn', 'scipy', 'torch') if n in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(write_screen(tmp_path))]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip() == "[]"
