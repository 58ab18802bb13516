"""Every page: where its links lead, what it names, and how it can be reached."""

from __future__ import annotations

import re
import runpy
import shlex
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from docs.pages import DOCS, ROOT, anchors, blocks, links, pages, prose, text
from sluicegate.pipeline import command
from sluicegate.pipeline.observe.metrics import Metrics
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shadow.comparison import Pairs
from sluicegate.pipeline.shadow.metrics import ShadowMetrics
from sluicegate.pipeline.shadow.serving import ComparatorMetrics
from unit.pipeline.shadow.sides import CANDIDATES, INCUMBENTS
from unit.pipeline.shadow.summaries import a_tally

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
SOURCES = ("engines", "pipeline", "schemas", "src", "helm", "benchmarks", "examples", "tests", "compose")
GENERATED = {"model-card", "model-card-qwen2.5-0.5b"}
TOP = {*SOURCES, "docs", "NOTICE"}
GROUP: Any = typer.main.get_command(command.app)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_of_it(page: Path) -> None:
    for target, anchor in links(page):
        assert target.is_file(), target
        assert not anchor or anchor in anchors(target), f"{target}#{anchor}"


def test_the_site_has_every_page_once() -> None:
    contents = runpy.run_path(str(DOCS / "conf.py"))["CONTENTS"]
    listed = [name for names in contents.values() for name in names]
    assert sorted(listed) == sorted(page.stem for page in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", [page for page in sorted(DOCS.glob("*.md")) if page.stem not in GENERATED])
def test_a_page_begins_with_what_its_reader_can_do_then(page: Path) -> None:
    assert re.match(r"# [^\n]+\n\nAfter this page ", text(page))


@pytest.mark.parametrize("page", PAGES)
def test_no_page_installs_the_package_from_an_index_that_does_not_have_it(page: Path) -> None:
    assert re.findall(r"pip install [^\n`]*\bsluicegate\b(?!/)[^\n`]*", text(page)) == []


def _sources() -> list[Path]:
    suffixes = {".py", ".yaml", ".yml", ".tpl", ".json", ".md", ".toml", ".txt"}
    roots = [ROOT / name for name in SOURCES]
    found = [path for root in roots for path in root.rglob("*") if path.suffix in suffixes and path.is_file()]
    return [
        path
        for path in [*found, *ROOT.glob("*"), *DOCS.rglob("*.md")]
        if path.is_file() and path.name != "CHANGELOG.md"
    ]


def test_every_page_that_a_source_names_exists() -> None:
    dead = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _sources()
        for name in re.findall(
            r"\bdocs/[\w/-]+\.(?:md|svg)", path.read_text(encoding="utf-8", errors="replace")
        )
        if not (ROOT / name).exists() and "://" not in name and "golden" not in path.parts
    ]
    assert dead == []


def named_paths(page: Path) -> list[tuple[str, Path]]:
    """Paths in code, links apart, and where each has to stand: at the root, or in the folder that its section names."""
    found = []
    for part in re.split(r"^(?=#)", re.sub(r"\[[^]]*\]\([^)]*\)", "", prose(page)), flags=re.MULTILINE):
        folder = re.search(r"(?:^#+ Inside|\| where in) `(\w+/)`", part)
        for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.py))`", part):
            inside = folder[1] if folder and name.partition("/")[0] not in TOP else ""
            found.append((name, ROOT / inside / name))
    return found


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_a_way_into_the_code_names_exists(name: str) -> None:
    paths = named_paths(ROOT / name)
    assert [path for path, place in paths if not place.exists()] == []
    assert len(paths) > 5


def test_every_room_and_module_stands_on_the_page_of_the_architecture() -> None:
    named = {place for _, place in named_paths(DOCS / "architecture.md")}
    rooms = [
        place
        for place in (ROOT / "pipeline").iterdir()
        if place.suffix == ".py" or (place / "__init__.py").exists()
    ]
    assert {place for place in rooms if place.name != "__init__.py"} <= named


def test_every_path_that_a_page_names_exists() -> None:
    dead = [
        f"{page.name}: {name}"
        for page in pages()
        if page.parent.name != "adr"
        for name in re.findall(r"`([\w.-]+(?:/[\w.-]+)+)`", prose(page))
        if name.split("/")[0] in TOP and not (ROOT / name).exists()
    ]
    assert dead == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", text("Makefile"), re.MULTILINE))
    for page in pages():
        named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", text(page), re.MULTILINE))
        assert named <= targets, page


def test_every_extra_that_is_installed_exists() -> None:
    extras = set(re.findall(r"^(\w+) = \[", text("pyproject.toml"), re.MULTILINE))
    for page in pages():
        for named in re.findall(r"'(?:sluicegate|\.)\[([\w,]+)\]'", text(page)):
            assert set(named.split(",")) <= extras, page


def test_every_setting_named_by_its_variable_exists() -> None:
    def leaves(tree: dict[str, Any], above: str) -> set[str]:
        return {
            leaf
            for name, value in tree.items()
            for leaf in (
                [f"{above}{name}", *leaves(value, f"{above}{name}.")]
                if isinstance(value, dict)
                else [above + name]
            )
        }

    known = {
        name.upper().replace(".", "__") for name in leaves(load_settings().masked(), "sluicegate_".upper())
    }
    for page in pages():
        named = set(re.findall(r"SLUICEGATE_[A-Z_]+?__[A-Z_]+", text(page)))
        assert named <= known, page


def _of_a_desk(folder: Path) -> set[str]:
    """Metrics of a review desk with an empty store."""
    desk = ReviewDesk(load_settings(review={"store": f"sqlite:///{folder / 'review.db'}"}))
    desk.store.migrate()
    told = desk.metrics.text().decode()
    desk.store.close()
    return {family.name for family in text_string_to_metric_families(told)}


def _of_an_experiment() -> set[str]:
    """Metrics of a comparator that has compared something, and of a shadow."""
    compared: Any = SimpleNamespace(tally=a_tally(), pairs=Pairs(INCUMBENTS, CANDIDATES), concluded=None)
    comparator: Any = SimpleNamespace(trouble=None, unreadable=0, counting=compared)
    shown = [*ComparatorMetrics(comparator).collect(), *ShadowMetrics(CollectorRegistry()).registry.collect()]
    return {family.name for family in shown}


def test_every_metric_named_exists(tmp_path: Path) -> None:
    known = {family.name for family in Metrics().registry.collect()}
    known |= _of_a_desk(tmp_path) | _of_an_experiment()
    for page in pages():
        for name in re.findall(r"\bsluicegate_[a-z_]+[a-z]", text(page)):
            plain = re.sub(r"_(?:total|info|bucket|sum|count)$", "", name)
            assert {name, plain} & known or name in {
                "sluicegate_broker",
                "sluicegate_worker",
                "sluicegate_client",
                "sluicegate_profile",
                "sluicegate_policy",
                "sluicegate_shadow",
            }, (page, name)


def commands_in(page: str) -> set[tuple[str, ...]]:
    """The words after the program's name, in code within a line or at the beginning of one."""
    found = re.findall(
        r"(?:^|`)sluicegate((?: +[a-z][a-z-]+)+)", page.replace("\n", " ") + page, re.MULTILINE
    )
    return {tuple(words.split()) for words in found}


def resolve(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the rest of them."""
    node = GROUP
    while words and getattr(node, "commands", None):
        assert words[0] in node.commands, words
        node, words = node.commands[words[0]], words[1:]
    return node, words


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_named_exists(page: Path) -> None:
    for words in commands_in(text(page)):
        resolve([*words])


def test_a_command_that_does_not_exist_is_seen() -> None:
    assert ("policy", "frobnicate") in commands_in("run `sluicegate policy\nfrobnicate`")
    with pytest.raises(AssertionError):
        resolve(["policy", "frobnicate"])


@pytest.mark.parametrize("page", PAGES)
def test_every_option_of_a_command_in_a_block_exists(page: Path) -> None:
    for block in blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines() if block.language in ("sh", "") else ():
            found = re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/bin/)?sluicegate (?=[a-z])(.*)", line)
            if found:
                words = shlex.split(found[1], comments=True)
                node, rest = resolve(words[: words.index("|")] if "|" in words else words)
                known = {
                    option
                    for parameter in node.params
                    for option in (*parameter.opts, *parameter.secondary_opts)
                }
                given = {word.partition("=")[0] for word in rest if word.startswith("--")}
                assert given <= known | {"--help"}, f"{block}: {line}"


def test_prose_without_blocks_has_no_fence() -> None:
    assert all("```" not in prose(page) for page in pages())
