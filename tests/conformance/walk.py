"""A walk through every call site, over the STAND-IN: what agrees with the sheet, and what does not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.brain import Brain
from conformance.sheet import Argument, DisagreementError, load_sheet
from conformance.sites import BORDER, BUILD, ROOT, SERVING, Site, literal_line, sites_of
from conformance.stand_in import StandIn
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.backends.dialects import Lora, TrtllmChatDialect, TrtllmDialect
from sluicegate.engines.backends.trtllm.serving import Serving, plan_server, trtllm_options
from sluicegate.engines.build.commands import compile_engine, quantise
from sluicegate.engines.build.recipe import BuildRecipe
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.schemas import Post
from support.small_bundle import small_vocabulary
from support.trtllm_bundle import write_trtllm_bundle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from conformance.stand_in import Use
    from sluicegate.engines.backends import Backend

RUNTIMES = ("engine", "pytorch")
LORA = {"max_rank": 16, "target_modules": ["attn_q", "attn_v"]}
DIALECT = ROOT / "engines" / "backends" / "dialects" / "trtllm.py"
OPENAI = DIALECT.with_name("openai.py")
AGREES = "agrees"
_NESTED = {"kv_cache_config": "KvCacheConfig", "lora_config": "LoraConfig"}


@dataclass(frozen=True, order=True)
class Row:
    """One line of the report."""

    place: str
    what: str
    entry: str
    result: str

    @property
    def agrees(self) -> bool:
        return self.result == AGREES


async def walk(folder: Path) -> list[Row]:
    """Walk every call site; ``folder`` is for what the walk writes."""
    uses: list[Use] = []
    faults: list[str] = []
    for runtime in RUNTIMES:
        for guided in (False, True):
            stand_in = StandIn(Brain())
            faults += await _use(stand_in, folder / f"{runtime}-{guided}", runtime, guided=guided)
            uses += stand_in.uses
            faults += stand_in.disagreements + stand_in.unsettled()
    sites = sites_of(BORDER)
    found = {*rows(sites, uses, faults), *command_rows(folder), *build_rows(), *request_rows()}
    return sorted(found, key=lambda row: (_line_last(row.place), row))


async def _use(stand_in: StandIn, folder: Path, runtime: str, *, guided: bool) -> list[str]:
    """Do with an engine all that a worker does with one; what comes of it but a disagreement is a fault, too."""
    changes: dict[str, Any] = {"guided_decoding": guided, "tokenizer_folder": "hf"}
    bundle = write_trtllm_bundle(folder / "bundle", runtime, **changes)
    backend = open_backend(EngineChoice("tensorrt_llm", bundle=bundle))
    try:
        with stand_in.installed(folder / "site"):
            async with backend.engine:
                return [answer for answer in await _ask(stand_in, backend) if answer]
    except Exception as error:  # noqa: BLE001 - whatever a wrong call leads to
        return [f"{runtime}: {type(error).__name__}: {error}"]


async def _ask(stand_in: StandIn, backend: Backend) -> list[str]:
    posts = [Post(id=kind, text="Hello there.", kind=kind) for kind in ("post", "prompt", "response")]
    prompts = [prompt for prompt in map(backend.prompter.build, posts) if isinstance(prompt, Prompt)]
    engine = backend.engine
    answers: list[Any] = [
        *await engine.score(prompts, timeout_s=30),
        *await engine.explain(prompts, ["unsafe"] * len(prompts), timeout_s=30),
        *await engine.explain(prompts, ["unsafe"] * len(prompts), timeout_s=30, texts=[False] * len(prompts)),
    ]
    health = await engine.health()
    stand_in.brain.faults["hang"] = None
    late = await engine.score(prompts[:1], timeout_s=0.05)
    del stand_in.brain.faults["hang"]
    return [
        *(f"{answer.code}: {answer.detail}" for answer in answers if isinstance(answer, ItemFailure)),
        "" if health.ok else health.detail,
        "" if isinstance(late[0], ItemFailure) else "a request that hangs was answered",
    ]


def rows(sites: Sequence[Site], uses: Sequence[Use], faults: Sequence[str]) -> list[Row]:
    """What became of each site.

    A site that the walk did not pass is a fault: it was not compared with anything. So is a use
    that is no site, since the names of the border would hide it, and everything that went wrong
    and names no site.
    """
    found = []
    unnamed = list(faults)
    for site in sites:
        own = [use for use in uses if _at(site, use)]
        wrong = [fault for fault in faults if _names(fault, site)]
        unnamed = [fault for fault in unnamed if fault not in wrong]
        entries = sorted({use.entry for use in own}) or [site.entry]
        arguments = sorted({name for use in own for name in use.arguments})
        what = site.what.replace("…", ", ".join(arguments)) if own else site.what
        result = wrong[0].partition(" ")[2] if wrong else AGREES if own else "not walked: nothing compared it"
        found.append(Row(f"{_short(site.path)}:{site.line}", what, ", ".join(entries), result))
    found += [
        Row(f"{_short(Path(use.path))}:{use.line}", use.entry, use.entry, "not at the border")
        for use in uses
        if not any(_at(site, use) for site in sites)
    ]
    found += [Row("the walk", "", "", fault) for fault in unnamed]
    return found


def _at(site: Site, use: Use) -> bool:
    same = use.entry.replace("TrtLLM", "LLM") == site.entry.replace("TrtLLM", "LLM")
    return same and Path(use.path).resolve() == site.path and site.line <= use.line <= site.end


def _names(fault: str, site: Site) -> bool:
    place, _, what = fault.partition(" ")
    path, _, line = place.rpartition(":")
    if not line.isdigit() or Path(path).resolve() != site.path or not site.line <= int(line) <= site.end:
        return False
    return site.entry.rpartition(".")[2] in what or site.entry in what


def command_rows(folder: Path) -> list[Row]:
    """Each flag and each option of the server's configuration, for both runtimes."""
    found = []
    for runtime in RUNTIMES:
        path = write_trtllm_bundle(folder / f"serve-{runtime}", runtime, tokenizer_folder="hf", lora=LORA)
        bundle = Bundle.open(path)
        plan = plan_server(bundle, "trtllm-serve", port=8000, config=folder)
        found += flag_rows(SERVING, plan.command)
        key = "TrtLLM" if runtime == "engine" else "LLM"
        found += option_rows(key, trtllm_options(Serving.of(bundle), metrics=True))
    return found


def build_rows() -> list[Row]:
    """Each flag of the programs that a build runs in NVIDIA's container."""
    found = []
    for route, gpu, changes in (
        ("engine", "H100", {"quantisation": "fp8", "calibration_data": {"posts": "posts"}, "lora": LORA}),
        ("engine", "A100", {"quantisation": "w4a16_awq", "calibration_data": {"posts": "posts"}}),
        ("pytorch", "A100", {"quantisation": "w4a16_awq", "calibration_data": {"posts": "posts"}}),
    ):
        base = {"checkpoint": "base", "layout": "vendor", "licence": "Apache-2.0"}
        fixed = {"schema_version": "1.0", "name": "guard", "route": route, "gpu": gpu, "base": base}
        recipe = BuildRecipe.model_validate({**fixed, **changes})
        commands = [quantise(recipe, Path("base"), Path("prompts"), Path("quantised"))]
        if route == "engine":
            commands.append(compile_engine(recipe, Path("quantised"), Path("engine")))
        for _, *argv in (command if command[0] == "python3" else ("", *command) for command in commands):
            found += flag_rows(BUILD, argv)
    return found


def flag_rows(module: Path, argv: Sequence[str]) -> list[Row]:
    """One row for each flag of a command line that ``module`` writes."""
    fault = None
    try:
        load_sheet().check_command(argv)
    except DisagreementError as error:
        fault = str(error)
    rows = [
        Row(f"{_short(module)}:{literal_line(module, flag)}", flag, f"{Path(argv[0]).name} {flag}", AGREES)
        for flag in argv
        if flag.startswith("--")
    ]
    if fault is None:
        return rows
    wrong = [row for row in rows if row.what in fault.split()] or [
        Row(_short(module), " ".join(argv), argv[0], fault)
    ]
    return [*(set(rows) - set(wrong)), *(replace(row, result=fault) for row in wrong)]


def option_rows(key: str, options: Mapping[str, Any]) -> list[Row]:
    """One row for each option of the configuration file: an argument of ``LLM``, or of its cache configuration."""
    sheet = load_sheet()
    found = []
    for name, value in _flat(key, options):
        owner, _, argument = name.partition(".")
        line = literal_line(SERVING, argument)
        result = AGREES
        try:
            kind = sheet.classes[owner].takes[argument].kind
            if not isinstance(value, dict):
                sheet.check(name, kind, value)
        except KeyError:
            result = f"{owner} has no argument {argument!r}"
        except DisagreementError as error:
            result = str(error)
        found.append(Row(f"{_short(SERVING)}:{line}", f"{argument}:", name, result))
    return found


def _flat(key: str, options: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in options.items():
        yield f"{key}.{name}", value
        if name in _NESTED:
            yield from _flat(_NESTED[name], value)


def request_rows() -> list[Row]:
    """Every field of every request to ``trtllm-serve``."""
    lora = Lora.of("tenant", "/adapters/tenant", "sha256:" + "7" * 64)
    found = []
    for endpoint, kind in (("completions", TrtllmDialect), ("chat", TrtllmChatDialect)):
        dialect = kind(small_vocabulary(), model="guard", lora=lora, guided=True)
        lists = [[(1, 2)] * count for count in sorted({1, dialect.list_prompts})]
        bodies = [
            *map(dialect.score_request, lists),
            *(dialect.explain_request((1, 2), kind) for kind in ("post", "prompt", "response")),
            dialect.category_request((1, 2)),
        ]
        for body in bodies:
            found += field_rows(endpoint, load_sheet().requests[endpoint], body)
            found += field_rows(
                "LoRARequest", load_sheet().classes["LoRARequest"].takes, body["lora_request"]
            )
            shape = body.get("response_format", {})
            found += field_rows("response_format", load_sheet().requests["response_format"], shape)
    return found


def field_rows(owner: str, takes: Mapping[str, Argument], body: Mapping[str, Any]) -> list[Row]:
    """Each field of a JSON object: known to the server, and of its type."""
    found = []
    for name, value in body.items():
        result = AGREES
        try:
            load_sheet().bind(owner, {name: takes[name]} if name in takes else {}, 0, (), {name: value})
        except DisagreementError as error:
            result = str(error)
        places = (OPENAI, DIALECT) if owner == "completions" else (DIALECT,)
        module, line = next(
            (at for path in places if (at := (path, literal_line(path, name)))[1]), (DIALECT, 0)
        )
        found.append(Row(f"{_short(module)}:{line}", f"{name}:", f"{owner}.{name}", result))
    if missing := [name for name, one in takes.items() if body and one.required and name not in body]:
        found.append(Row(_short(DIALECT), ", ".join(missing), owner, f"{owner} needs {missing}"))
    return found


def _line_last(place: str) -> tuple[str, int]:
    path, _, line = place.rpartition(":")
    return path, int(line) if line.isdigit() else 0


def _short(path: Path) -> str:
    path = path.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
