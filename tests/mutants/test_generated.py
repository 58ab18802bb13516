"""Each operator changes what it says, nothing that a rule leaves out, and never to the same code."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from mutants.accepted import ACCEPTED, Accepted
from mutants.covering import Covering, name_of
from mutants.generated import ROOMS, Generated, generated, sample
from mutants.mutant import ROOT
from mutants.operators import changes
from mutants.sampling import choose, weigh

EVERY = [mutant for room in ROOMS for mutant in generated(room)]


def texts(source: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for change in changes(source):
        found.setdefault(change.operator, []).append(change.applied(source))
    return found


@pytest.mark.parametrize(
    ("operator", "line", "changed"),
    [
        ("negated comparison", "x = a <= b", ["x = a > b"]),
        ("negated comparison", "x = a not in b", ["x = a in b"]),
        ("moved boundary", "x = a <= b", ["x = a < b"]),
        ("and for or", "x = a and b", ["x = ((a) or (b))"]),
        ("left out condition", "x = a or b", ["x = ((a))", "x = ((b))"]),
        ("removed not", "x = not a", ["x = bool(a)"]),
        ("negated condition", "x = a if b else c", ["x = a if (not (b)) else c"]),
        ("negated condition", "if a.b():\n    pass", ["if (not (a.b())):\n    pass"]),
        ("negated condition", "x = [a for a in b if a.c]", ["x = [a for a in b if (not (a.c))]"]),
        ("other arithmetic", "x = a - b", ["x = (a + b)"]),
        ("other call", "x = min(a, b)", ["x = max(a, b)"]),
        ("other truth", "x = f(a=True)", ["x = f(a=False)"]),
        ("one more", "x = a[0]", ["x = a[(0 + 1)]"]),
        ("removed statement", "f(a)", ["pass"]),
        ("removed statement", "a.b = c", ["pass"]),
        ("removed statement", "a += c", ["pass"]),
        ("removed statement", "del a[b]", ["pass"]),
        ("removed raise", "if a:\n    raise A", ["if a:\n    pass"]),
        ("raised on", "try:\n    f()\nexcept A:\n    g()", ["try:\n    f()\nexcept A:\n    raise"]),
        ("break for continue", "for a in b:\n    continue", ["for a in b:\n    break"]),
        ("continue for break", "for a in b:\n    break", ["for a in b:\n    continue"]),
        ("returned nothing", "def f():\n    return a", ["def f():\n    return None"]),
    ],
)
def test_an_operator_changes_one_thing(operator: str, line: str, changed: list[str]) -> None:
    assert texts(line)[operator] == changed


@pytest.mark.parametrize(
    "source",
    [
        '"""Words."""',
        "def f(a: int = b) -> X | None:\n    '''Words.'''",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
        "__all__ = [*a, 'b'][1:]",
        "_log.info('a', b=1)",
        "x = f'{a + 1}' + 'b' if 'c' else 'd'".replace(" + 'b' if 'c' else 'd'", ""),
        "x = 64",
        "x = 0.5",
        "x = field(default_factory=dict, compare=False)",
        "x = zip(a, b, strict=True)",
        "@dataclass(frozen=True)\nclass A:\n    a: int | None",
        "class A(Protocol):\n    def f(self) -> int:\n        return 1 + 1",
        "class A:\n    def __init__(self) -> None:\n        self.a = b",
        "def f():\n    return None",
    ],
)
def test_what_no_test_should_notice_is_left_alone(source: str) -> None:
    assert changes(source) == []


def test_only_the_raise_itself_is_changed_and_no_word_of_it() -> None:
    assert texts("def f():\n    raise A(1 + 1)") == {"removed raise": ["def f():\n    pass"]}


def test_text_of_many_bytes_before_a_change_moves_nothing() -> None:
    assert texts("x = ('不安', a == b)") == {"negated comparison": ["x = ('不安', a != b)"]}


def test_every_change_of_the_main_path_is_other_code_that_compiles() -> None:
    chosen = sample(EVERY, seed=7, count=300)
    for mutant in chosen:
        source = (ROOT / mutant.file).read_text(encoding="utf-8")
        changed = mutant.change.applied(source)
        compile(changed, mutant.file, "exec", dont_inherit=True)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(source)), mutant.name


def test_every_room_has_modules_and_tests_and_every_mutant_a_name_of_its_own() -> None:
    for room in ROOMS:
        assert room.files(), room.name
        assert room.test_files(), room.name
    assert len({mutant.name for mutant in EVERY}) == len(EVERY) > 1000


def test_a_sample_is_the_same_for_a_seed_and_hardly_moves_with_the_code() -> None:
    drawn = sample(EVERY, seed=1, count=200)
    assert drawn == sample(reversed(EVERY), seed=1, count=200) == choose(seed=1, count=200)
    assert drawn != sample(EVERY, seed=2, count=200)
    fewer = sample(EVERY[: -len(EVERY) // 20], seed=1, count=200)
    assert len({one.name for one in drawn} & {one.name for one in fewer}) > 170


def test_lines_above_a_function_leave_the_names_inside_as_they_are() -> None:
    source = "def f(a):\n    return a < 1 or a < 2\n"
    moved = f"b = 1\n\n\n{source}"
    inside = [(one.place, one.operator, one.instead) for one in changes(source)]
    assert [(one.place, one.operator, one.instead) for one in changes(moved) if one.place] == inside


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(RuntimeError, match=r"no such mutant: pipeline/flow/flow\.py:no:such:1"):
        choose(only=["pipeline/flow/flow.py:no:such:1"])


def test_the_nearest_tests_are_asked_first_then_the_fastest() -> None:
    tests = (
        "a/test_flow.py::slow",
        "a/test_window.py::near",
        "a/test_flow.py::fast",
        "b/test_policy.py::far",
    )
    lines = {test: {"pipeline/flow/window.py": {5, 6}} for test in tests}
    lines["a/test_flow.py::elsewhere"] = {"pipeline/flow/window.py": {7}}
    seconds = dict.fromkeys(lines, 0.1) | {tests[0]: 0.9, tests[1]: 0.5}
    covering = Covering(lines, seconds)
    of = ["a/test_flow.py", "a/test_window.py"]
    assert covering.running("pipeline/flow/window.py", [6], of) == [tests[1], tests[2], tests[0]]
    assert len(covering.running("pipeline/flow/window.py", None, of)) == 4
    assert covering.running("pipeline/flow/flow.py", None, of) == []


def test_tests_that_go_another_way_through_the_module_are_asked_before_more_of_the_same() -> None:
    seconds = {"a/test_a.py::one": 0.1, "a/test_a.py::two": 0.2, "a/test_a.py::three": 0.3}
    lines = {test: {"pipeline/flow/window.py": {5, 6}} for test in seconds}
    lines["a/test_a.py::three"] = {"pipeline/flow/window.py": {5, 9}}
    asked = Covering(lines, seconds).running("pipeline/flow/window.py", [5], ["a/test_a.py"])
    assert asked == ["a/test_a.py::one", "a/test_a.py::three", "a/test_a.py::two"]


def test_what_takes_too_long_together_is_left_out_from_the_end() -> None:
    names = [f"a/test_{number:02}.py::one" for number in range(5)]
    seconds = {name: 1.5 + number / 100 for number, name in enumerate(names)}
    covering = Covering({name: {"pipeline/flow/window.py": {5}} for name in names}, seconds)
    asked = covering.running("pipeline/flow/window.py", [5], [name.partition("::")[0] for name in names])
    assert asked == names
    more = {f"b/test_{number:02}.py::one": 2.0 for number in range(12)}
    covering.merge(Covering({name: {"pipeline/flow/window.py": {5}} for name in more}, more))
    of = [name.partition("::")[0] for name in covering.lines]
    assert covering.running("pipeline/flow/window.py", [5], of) == names


def test_a_file_is_imported_under_its_name() -> None:
    assert name_of("pipeline/policy/__init__.py") == "sluicegate.pipeline.policy"
    assert name_of("pipeline/flow/flow.py") == "sluicegate.pipeline.flow.flow"


def weighed(*accepted: Accepted, caught: int = 0) -> tuple[list[str], list[Generated], bool]:
    chosen = EVERY[:20]
    survived = {mutant.name for mutant in chosen[caught:1]}
    found = weigh(chosen, survived, accepted, known={mutant.name: mutant.text for mutant in EVERY})
    return found.stale, found.unlisted, found.passed


def test_a_survivor_needs_a_reason_and_a_reason_a_survivor() -> None:
    mutant = EVERY[0]
    entry = Accepted(mutant.name, mutant.text, "no difference")
    assert weighed(entry) == ([], [], True)
    assert weighed() == ([], [mutant], False)
    assert weighed(entry, caught=1) == ([f"{mutant.name}: a test catches it"], [], False)
    gone = replace(entry, name="gone")
    assert weighed(entry, gone) == (["gone: there is no such mutant any more"], [], False)
    other = replace(entry, text="a -> b")
    assert weighed(other) == ([f"{mutant.name}: it is now {mutant.text}"], [], False)


def test_below_95_of_100_the_run_fails_whatever_is_listed() -> None:
    chosen = EVERY[:20]
    known = {mutant.name: mutant.text for mutant in EVERY}
    entries = [Accepted(mutant.name, mutant.text, "no difference") for mutant in chosen[:2]]
    found = weigh(chosen, {entry.name for entry in entries}, entries, known=known)
    assert (found.stale, found.unlisted, found.passed) == ([], [], False)
    assert found.told == "generated: 18 of 20 caught"


def test_the_list_of_survivors_quotes_the_code_as_it_is() -> None:
    known = {mutant.name: mutant.text for mutant in EVERY}
    assert {entry.name: entry.text for entry in ACCEPTED} == {
        entry.name: known.get(entry.name) for entry in ACCEPTED
    }
    assert len({entry.name for entry in ACCEPTED}) == len(ACCEPTED)


ONE_ROOM = """
import sys
from mutants.generated import Room
from mutants.run import main

window = Room("window", ("pipeline/flow/window.py",), ("tests/unit/pipeline/flow/test_window.py",))
sys.exit(main(["--only", *sys.argv[1:]], rooms=[window]))
"""


def test_a_change_that_the_tests_notice_is_caught_and_no_file_is_touched() -> None:
    name = "pipeline/flow/window.py:Window.close:removed-statement:1"
    before = (ROOT / "pipeline/flow/window.py").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", ONE_ROOM, name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "tests"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "mutants: generated: 1 of 1 caught", done.stdout + done.stderr
    assert done.returncode == 0
    assert (ROOT / "pipeline/flow/window.py").read_bytes() == before
