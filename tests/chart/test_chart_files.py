"""What stands beside the templates: generated files, scripts, the worker's image."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shlex
import sys
import tarfile
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from jsonschema import Draft7Validator

from chart.rendering import CHART, ROOT
from sluicegate import __version__
from sluicegate.client import Client, Post, Reply
from sluicegate.engines.backends.trtllm.serving import VERSION as TENSORRT_LLM
from sluicegate.schemas import Action, AssessedBy

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
DOCKERFILE_GPU = (ROOT / "Dockerfile.gpu").read_text(encoding="utf-8")


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


generate = _load(ROOT / "helm" / "generate.py")
fetch_bundle = _load(CHART / "files" / "fetch_bundle.py")
round_trip = _load(CHART / "files" / "round_trip.py")
engine_metrics = _load(CHART / "files" / "engine_metrics.py")


def test_readme_and_schema_are_as_the_values_have_it() -> None:
    for path, content in generate.outputs().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name}: run `make schemas`"


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image\.tag: no comment"):
        generate.entries('# -- The image.\nimage:\n  tag: ""\n')


def test_the_schema_takes_no_other_keys_at_any_depth_of_ours() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def sections(node: dict[str, Any], path: str) -> list[str]:
        open_ones = [path] if "properties" in node and node.get("additionalProperties") is not False else []
        below = node.get("properties", {}).items()
        return open_ones + [one for name, child in below for one in sections(child, f"{path}.{name}")]

    assert sections(schema, "values") == []
    assert [name for name, node in schema["definitions"].items() if sections(node, name)] == []


def _strayed() -> list[tuple[tuple[str, ...], str]]:
    """Every key that is given elsewhere, with what the schema says to it."""
    strayed = list(generate.STRAYED.items())
    for section, meant in generate.OWNED.items():
        named = {"": meant} if isinstance(meant, str) else meant
        strayed += [(("settings", section, *filter(None, [name])), words) for name, words in named.items()]
    return strayed


def test_a_key_that_is_given_elsewhere_is_refused_with_its_place() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert len(_strayed()) > 20
    for path, words in _strayed():
        there = values
        for name in path[:-1]:
            there = there.get(name, {})
        assert path[-1] not in there, "it is a value of the chart"
        given: Any = "something"
        for name in reversed(path):
            given = {name: given}
        given.setdefault("settings", {})
        for section, required in generate.READ.items():
            rest = given["settings"].setdefault(section, {})
            rest |= {name: values["settings"][section][name] for name in required}
        (error,) = Draft7Validator(schema).iter_errors(given)
        assert list(error.absolute_path) == list(path)
        assert words in error.message


def test_the_chart_is_of_the_packages_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == __version__


def test_a_changed_chart_has_another_version_than_the_packaged_ones() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    packaged = {path.name for path in (ROOT / "tests" / "chart" / "previous").glob("*.tgz")}
    assert packaged
    assert f"sluicegate-{chart['version']}.tgz" not in packaged


# The script that fetches a bundle


def _archive(folder: Path, member: str, content: bytes = b"{}") -> str:
    """An archive as the init container before it leaves it; its checksum."""
    source = folder / "source"
    source.write_bytes(content)
    with tarfile.open(folder / "bundle.tar", "w:gz") as tar:
        tar.add(source, arcname=member)
    return hashlib.sha256((folder / "bundle.tar").read_bytes()).hexdigest()


@pytest.mark.parametrize("member", ["manifest.json", "guard-2026-11/manifest.json"])
def test_a_bundle_is_unpacked_whether_in_a_folder_or_not(tmp_path: Path, member: str) -> None:
    digest = _archive(tmp_path, member)
    for _ in range(2):  # a container that is restarted finds it
        assert fetch_bundle.main(str(tmp_path / "bundle.tar"), digest, tmp_path / "guard") is None
        assert (tmp_path / "guard" / "manifest.json").read_bytes() == b"{}"
    assert {path.name for path in tmp_path.iterdir()} == {"guard", "source"}


def test_another_archive_than_the_pinned_one_is_not_unpacked(tmp_path: Path) -> None:
    digest = _archive(tmp_path, "manifest.json")
    said = fetch_bundle.main(str(tmp_path / "bundle.tar"), "0" * 64, tmp_path / "guard")
    assert f"its sha256 is {digest}" in said
    assert not (tmp_path / "guard").exists()


@pytest.mark.parametrize("member", ["../evil/manifest.json", "readme.txt"])
def test_an_archive_that_leads_out_or_holds_no_bundle_is_refused(tmp_path: Path, member: str) -> None:
    folder = tmp_path / "bundles"
    folder.mkdir()
    digest = _archive(folder, member)
    said = fetch_bundle.main("https://models.example/guard.tar", digest, folder / "guard")
    assert "cannot be fetched or unpacked" in said
    assert not (folder / "guard").exists()
    assert not (tmp_path / "evil").exists()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch_bundle, "_download", lambda _url, _archive: None)


# The round trip of `helm test`


class _Verdict:
    failure = None

    def __init__(self, assessed_by: str, digest: str) -> None:
        self.assessed_by = AssessedBy(assessed_by)
        self.engine = self
        self.digest = digest

    def model_dump_json(self, *, indent: int) -> str:
        return " " * indent


class _Client(Client):
    """Answers at once, with the verdicts that it was given and then the last one again; None stands for no answer."""

    answers: ClassVar[list[Any]] = []
    posts: ClassVar[list[Post]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def judge(self, post: Any, *, timeout_s: float, **_: Any) -> Reply:
        assert 0 < timeout_s <= 5
        self.posts.append(post)
        return Reply(Action.ALLOW, self.answers[min(len(self.posts), len(self.answers)) - 1])


@pytest.mark.parametrize(
    ("answered", "pinned", "posts", "said"),
    [
        ([("engine", "sha256:a")], "sha256:a", 1, None),
        ([("engine", "sha256:a")], "", 1, None),
        ([("engine", "sha256:b")], "sha256:a", 1, "engine.digest pins sha256:a"),
        ([("screen", "sha256:s"), ("cache", "sha256:a"), ("engine", "sha256:a")], "sha256:a", 3, None),
        ([("near_duplicate", "sha256:a")], "sha256:a", 10, "assessed_by is near_duplicate"),
        ([("none", "sha256:a")], "sha256:a", 10, "the engine judged none of 10 texts: assessed_by is none"),
        ([("none", "sha256:a"), ("engine", "sha256:a")], "sha256:a", 2, None),
        ([None], "sha256:a", 1, "no verdict within 5 s"),
    ],
)
async def test_the_round_trip_is_well_only_by_the_pinned_engines_own_verdict(
    answered: list[tuple[str, str] | None],
    pinned: str,
    posts: int,
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "settings.yaml").write_text("kafka: {group: sluicegate}\n")
    monkeypatch.setenv("SLUICEGATE_SETTINGS", str(tmp_path / "settings.yaml"))
    monkeypatch.setattr(round_trip, "Client", _Client)
    monkeypatch.setattr(_Client, "answers", [one and _Verdict(*one) for one in answered])
    monkeypatch.setattr(_Client, "posts", [])
    found = await round_trip.main(5, pinned)
    assert (found is None) == (said is None), found
    assert said is None or said in str(found)
    assert len(_Client.posts) == posts
    assert all(post.id.startswith("helm-test/") for post in _Client.posts)
    assert {post.tenant for post in _Client.posts} == {"helm-test"}
    assert len({post.text for post in _Client.posts}) == posts, "no text is sent twice"


# The relay of a server's metrics


async def _server(_request: web.Request) -> web.Response:
    said = b"vllm:num_requests_running 2\n"
    return web.Response(body=said, headers={"Content-Type": "text/plain; version=0.0.4"})


async def test_a_servers_metrics_are_handed_on_and_nothing_else_of_it() -> None:
    server = web.Application()
    server.router.add_get("/prometheus/metrics", _server)
    server.router.add_post("/v1/completions", _server)
    async with TestServer(server) as running:
        relay = engine_metrics.application(str(running.make_url("/prometheus/metrics")))
        async with TestClient(TestServer(relay)) as scraper:
            answer = await scraper.get("/metrics")
            assert (answer.status, await answer.text()) == (200, "vllm:num_requests_running 2\n")
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"
            assert (await scraper.post("/v1/completions")).status == 404
            assert (await scraper.post("/metrics")).status == 405
            await running.close()
            assert (await scraper.get("/metrics")).status == 503


# The images


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, DOCKERFILE_GPU], ids=["worker", "gpu"])
def test_the_image_copies_only_what_is_there(dockerfile: str) -> None:
    copies = re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
    sources = [source for line in copies for source in shlex.split(line)[:-1] if not source.startswith("--")]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


@pytest.mark.parametrize("dockerfile", [DOCKERFILE, DOCKERFILE_GPU], ids=["worker", "gpu"])
def test_the_image_runs_as_the_user_that_the_chart_names(dockerfile: str) -> None:
    chart = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    user = chart["podSecurityContext"]["runAsUser"]
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == [f"{user}:{user}"]
    assert 'ENTRYPOINT ["sluicegate"]' in dockerfile


def test_every_file_that_is_installed_in_the_image_is_checked_by_its_hash() -> None:
    lines = DOCKERFILE.replace("\\\n", "").splitlines()
    calls = [
        call
        for line in lines
        for call in line.split("&&")
        if re.search(r"/pip (?:--python \S+ )?(?:install|wheel) ", call)
    ]
    assert len(calls) == 6
    for call in calls:
        ours = call.rstrip().endswith("--no-deps --build-constraint constraints.txt .")
        built = "--no-index" in call  # Faust's, whose source was checked
        assert ours or built or "--require-hashes" in call, call


def test_the_image_has_a_bill_of_materials_and_the_licences_of_what_it_holds() -> None:
    assert "cyclonedx-py environment" in DOCKERFILE
    assert "--output-file /papers/sbom.cdx.json /opt/sluicegate/bin/python" in DOCKERFILE
    assert "--output-file /papers/THIRD-PARTY-LICENSES.txt" in DOCKERFILE
    assert "COPY --from=papers /papers /opt/sluicegate\n" in DOCKERFILE


def test_both_architectures_have_a_stage_for_faust() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert {"faust-amd64", "faust-arm64"} <= stages
    assert "FROM faust-${TARGETARCH} AS faust\n" in DOCKERFILE


def test_images_are_pinned_at_least_by_version() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE))
    assert bases - stages == {"${BASE}", "faust-${TARGETARCH}"}  # whoever builds may give a digest as BASE
    assert re.findall(r"^ARG BASE=(\S+)", DOCKERFILE, re.MULTILINE)[0].endswith(":3.11-slim-bookworm")


def test_the_image_with_a_gpu_is_on_the_release_that_compiles_engines() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)", DOCKERFILE_GPU, re.MULTILINE)
    assert base == f"nvcr.io/nvidia/tensorrt-llm/release:{TENSORRT_LLM}"
    assert re.findall(r"^FROM (\S+)", DOCKERFILE_GPU, re.MULTILINE) == ["${BASE}"]


def test_the_image_with_a_gpu_leaves_the_containers_libraries_as_they_are() -> None:
    """Our own numpy is too new for TensorRT-LLM, and our tokenizers for its transformers."""
    commands = DOCKERFILE_GPU.replace("\\\n", "")
    assert "venv --system-site-packages" in commands
    assert "--constraint absent.txt --requirement requirements.txt" in commands
    (extras,) = re.findall(r"requirements\.py ([a-z ]+) > requirements\.txt", commands)
    assert not {"cpu", "passages", "adapt", "evaluate"} & set(extras.split()), "they bring numpy 2"


def test_images_are_of_the_packages_version() -> None:
    for dockerfile in (DOCKERFILE, DOCKERFILE_GPU):
        assert f'org.opencontainers.image.version="{__version__}"' in dockerfile
