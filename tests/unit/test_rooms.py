"""The rooms: what each lets others import, how many modules stand beside them, and tests and classes that are named for one thing."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from unit.test_architecture import IMPORTS, MODULES, ROOT, imports

ROOT_MODULES = 8
FACES = ("backends", "build", "bundle", "cpu_model", "screen", "adapt")
"""Rooms of the engines that other rooms import from their ``__init__``. ``text`` has none: its modules are loaded
one by one, since the command's help needs ``parsing`` and nothing else of it."""

BESIDE_A_FACE = {
    # Building begins with what training and export left: two offline rooms.
    "engines.adapt.export.*": ["engines.build.*"],
    "engines.adapt.train.*": ["engines.build.*"],
    # A trial and an experiment draw pictures; no other offline module is needed for it.
    "engines.adapt.report": ["pipeline.shadow.report", "pipeline.trial.bench.report"],
    # What a command shows or asks for, in modules that load no library of an extra.
    "engines.adapt.evaluate.labelled_rows": ["pipeline.command.adapt.*"],
    "engines.adapt.evaluate.scored": ["pipeline.command.adapt.*"],
    "engines.adapt.export.weights": ["pipeline.command.adapt.*"],
    "engines.adapt.gate.limits": ["pipeline.command.adapt.*"],
    "engines.adapt.train.recipe": ["pipeline.command.adapt.*"],
    "engines.build.sizing": ["pipeline.command.engine.*"],
    # Errors alone: a command that catches them loads nothing else.
    "engines.adapt.errors": ["pipeline.command.adapt.*"],
    # What one backend says of itself, for those who build for it or judge beside it.
    "engines.backends.gpu": ["engines.build.*"],
    "engines.backends.trtllm.serving": ["engines.build.*", "pipeline.command.engine.*"],
    "engines.backends.promises": ["pipeline.command.engine.live"],
    "engines.backends.dialects": ["engines.adapt.evaluate.checkpoint", "engines.build.*"],
    "engines.backends.fake_profile": ["pipeline.settings.engine_choice"],
    # Merging a model is no part of running one, and writing what is shipped none of reading it.
    "engines.cpu_model.cpu_model": ["engines.adapt.export.ship"],
    "engines.cpu_model.gguf_model": ["engines.adapt.export.weights"],
    # Still to be drawn through the face.
    "engines.bundle.*": ["engines.backends.*", "engines.text.*"],
}
"""Modules that others import at their top although a face stands before them, and who does."""


def imports_past_a_face(module: str, source: str) -> set[str]:
    """Modules inside a room of the engines that a module of another room imports when it is loaded."""
    top = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    found = set()
    for node in top:
        parts = (node.module or "").split(".")[1:]
        names = [".".join(parts), *(".".join([*parts, name.name]) for name in node.names)]
        for name in filter(MODULES.__contains__, names):
            room = name.split(".")[1:2]
            inside = name.count(".") > 1 and f"{module}.".startswith(f"engines.{room[0]}.")
            if name.startswith("engines.") and name.count(".") > 1 and room[0] in FACES and not inside:
                found.add(name)
    return {
        name
        for name in found
        if not any(
            fnmatchcase(name, known) and any(fnmatchcase(module, one) for one in who)
            for known, who in BESIDE_A_FACE.items()
        )
    }


@pytest.mark.parametrize("module", MODULES)
def test_other_rooms_import_from_an_engine_room_s_face(module: str) -> None:
    assert imports_past_a_face(module, MODULES[module].read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from sluicegate.engines.bundle import Bundle", set()),
        ("from sluicegate.engines.bundle.manifest import Manifest", {"engines.bundle.manifest"}),
        ("from sluicegate.engines.bundle import manifest", {"engines.bundle.manifest"}),
        ("def f():\n    from sluicegate.engines.bundle.manifest import Manifest", set()),
    ],
)
def test_an_import_past_a_face_is_found(source: str, found: set[str]) -> None:
    assert imports_past_a_face("pipeline.flow.flow", source) == found


def mirrors(place: Path) -> bool:
    """Whether a test is named after a module or a folder of its room: ``test_<name>`` or ``test_<name>_<theme>``."""
    words = place.stem.split("_")[1:]
    names = ["_".join(words[:number]) for number in range(1, len(words) + 1)]
    beside = ROOT / place.parent
    return any(
        (beside / f"{name}.py").is_file() or (beside / name / "__init__.py").is_file() for name in names
    )


@pytest.mark.parametrize("room", ["engines", "pipeline"])
def test_the_tests_of_a_room_mirror_its_modules(room: str) -> None:
    here = Path(__file__).parent
    places = [path.relative_to(here) for path in (here / room).rglob("test_*.py")]
    assert len(places) > 50
    assert [place.as_posix() for place in places if not mirrors(place)] == []


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ("engines/text/test_prompting.py", True),
        ("engines/text/test_prompting_injection.py", True),
        ("engines/backends/test_dialects.py", True),
        ("engines/text/test_injection.py", False),
        ("engines/test_prompting.py", False),
        ("pipeline/flow/test_server_state.py", True),
        ("pipeline/flow/test_flow_long_posts.py", True),
        ("pipeline/flow/test_windows.py", False),
        ("pipeline/flow/test_long_posts_flow.py", False),
    ],
)
def test_a_test_of_no_module_is_found(place: str, known: bool) -> None:
    assert mirrors(Path(place)) is known


def test_no_two_classes_of_the_product_have_one_name() -> None:
    names = [
        node.name
        for path in MODULES.values()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_few_modules_stand_at_the_root_of_the_pipeline() -> None:
    assert len(list((ROOT / "pipeline").glob("*.py"))) <= ROOT_MODULES


def doors(room: str) -> set[str]:
    """What a room of `pipeline` lets others import: names of its ``__init__``, or modules."""
    for node in ast.parse(MODULES[f"pipeline.{room}"].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


PIPELINE_ROOMS = sorted(path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py"))
DOORS = {room: doors(room) for room in PIPELINE_ROOMS}
USERS = {
    **IMPORTS,
    "client": imports((ROOT / "src/sluicegate/client.py").read_text(encoding="utf-8"), "client"),
}


def ways_in(module: str, imported: set[str]) -> set[tuple[str, str]]:
    """The room and the name of all that a module imports from other rooms of `pipeline`."""
    parts = (name.split(".")[2:4] for name in imported if name.startswith("sluicegate.pipeline."))
    own = f"{module}.".split(".")[1]
    return {(part[0], part[1]) for part in parts if len(part) == 2 and part[0] in DOORS and part[0] != own}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("pipeline")])
def test_other_rooms_come_in_by_the_doors_of_a_room(module: str) -> None:
    assert [way for way in sorted(ways_in(module, IMPORTS[module])) if way[1] not in DOORS[way[0]]] == []


def test_a_way_past_a_door_is_found() -> None:
    source = "from sluicegate.pipeline.flow.judge import Judge"
    assert ways_in("pipeline.worker", imports(source, "")) == {("flow", "judge")}
    assert "judge" not in DOORS["flow"]


def test_no_room_has_a_door_that_nobody_uses() -> None:
    used = {way for module, imported in USERS.items() for way in ways_in(module, imported)}
    assert {(room, door) for room in PIPELINE_ROOMS for door in DOORS[room]} - used == set()
