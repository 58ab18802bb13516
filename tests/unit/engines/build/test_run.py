"""Builds over stubs: each stage once, whole or not at all, and going on where it was stopped."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from typer.testing import CliRunner

from sluicegate.engines.backends.trtllm.serving import Serving
from sluicegate.engines.build import run
from sluicegate.engines.build.inputs import alone
from sluicegate.engines.bundle.bundle import Bundle, file_digest
from sluicegate.engines.errors import BuildError, EngineError
from sluicegate.engines.layouts import split_template
from sluicegate.pipeline.command import app
from support.build_stubs import A100, VERSIONS, calls, write_stubs
from support.build_stubs import H100 as H100_LINE
from support.chat_template import TEMPLATE
from support.small_build import H100, POST, SmallRunner, write_parts, write_posts, write_recipe
from support.small_bundle import small_tokenizer
from support.tiny_checkpoint import HIDDEN, published_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


BF16: dict[str, Any] = {"quantisation": "bf16", "calibration_data": None}


class Told(list[str]):
    """Lines of progress."""

    def again(self) -> list[str]:
        """Stages that were done before."""
        return [line.split()[1][:-1] for line in self if line.endswith("done before")]


def build(folder: Path, *, told: Told | None = None, **changes: Any) -> Bundle:
    plan = run.plan_build(write_recipe(folder, **changes), folder / "work", folder / "out")
    return run.build(plan, (told if told is not None else Told()).append, runner=SmallRunner())


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(EngineError) as caught:
        build(folder, **changes)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_manifest_says_what_it_was_built_from_and_on_what(built: Path) -> None:
    bundle = Bundle.open(built / "out")
    manifest, made = bundle.manifest, bundle.manifest.build
    assert made is not None
    assert made.model_dump() == {
        "route": "engine",
        "recipe": write_recipe(built).digest,
        "calibration_data": file_digest(built / "work" / "texts" / "train.jsonl"),
        "gpu": H100.name,
        "compute_capability": "9.0",
        "driver": H100.driver,
        "tensorrt": "10.13.3.9",
        "tensorrt_llm": "1.2.1",
    }
    assert manifest.adapter is not None
    assert manifest.adapter.digest == file_digest(built / "trained" / "adapter_model.safetensors")
    assert (manifest.name, manifest.quantisation, manifest.gpu_arch) == ("small", "fp8", "Hopper 9.0")
    assert manifest.limits.max_prompt_tokens == 1500
    assert bundle.layout.name == "vendor"
    assert bundle.file("gate").is_file()
    assert orjson.loads(bundle.file("recipe").read_bytes()) == write_recipe(built).document()
    assert str(built).encode() not in b"".join(
        path.read_bytes() for path in (built / "out").rglob("*") if path.is_file()
    )


def test_the_bundle_is_one_that_a_worker_serves(built: Path) -> None:
    serving = Serving.of(Bundle.open(built / "out"))
    assert (serving.runtime, serving.folder, serving.tokenizer_folder) == ("engine", "served", "tokenizer")
    assert (serving.max_input_len, serving.max_seq_len) == (1600, 1700)
    assert {path.name for path in (built / "out" / "served").iterdir()} == {"rank0.engine", "config.json"}


def test_each_stage_runs_once(stubs: Path, tmp_path: Path) -> None:
    told = Told()
    build(tmp_path, told=told)
    assert calls(stubs) == ["inspect", "quantise", "compile"]
    assert [line.partition(":")[0] for line in told] == [
        f"[{number}/6] {stage}"
        for number, stage in enumerate(("inspect", "merge", "prompts", "quantise", "compile", "bundle"), 1)
    ]
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    told = Told()
    build(tmp_path, told=told)
    assert told.again() == ["inspect", "merge", "prompts", "quantise", "compile", "bundle"]
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert len(calls(stubs)) == 3


def test_a_build_that_failed_goes_on_with_the_stage_that_failed(stubs: Path, tmp_path: Path) -> None:
    (stubs / "fail-compile").write_text("it broke: " + POST)
    message = refusal(tmp_path)
    log = tmp_path / "work" / "compile.log"
    assert message.startswith(f"compile: exit code 3; its output is in {log}; then build again")
    assert POST not in message
    assert not (tmp_path / "out").exists()
    assert log.stat().st_mode & 0o077 == 0
    (stubs / "fail-compile").unlink()
    told = Told()
    bundle = build(tmp_path, told=told)
    assert told.again() == ["inspect", "merge", "prompts", "quantise"]
    assert calls(stubs) == ["inspect", "quantise", "compile", "compile"]
    assert not (bundle.path / "served" / "half").exists()


@pytest.mark.parametrize(
    ("printed", "fix"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", "lower limits.max_num_tokens"),
        ("OSError: [Errno 28] No space left on device", "give --work on a larger one"),
        ("KeyError: 'architecture'", "#6360"),
    ],
)
def test_what_a_tool_is_known_to_print_is_told_with_the_fix(
    stubs: Path, tmp_path: Path, printed: str, fix: str
) -> None:
    (stubs / "fail-quantise").write_text(printed)
    assert fix in refusal(tmp_path, adapter=None)


def test_a_stage_that_was_killed_leaves_nothing_that_is_taken_for_whole(stubs: Path, tmp_path: Path) -> None:
    (stubs / "hang-quantise").touch()
    caught: list[BaseException] = []

    def try_to() -> None:
        try:
            build(tmp_path)
        except BuildError as error:
            caught.append(error)

    thread = threading.Thread(target=try_to)
    thread.start()
    pid = stubs / "pid"
    while thread.is_alive() and not (pid.exists() and pid.read_text()):
        thread.join(0.05)
    assert (tmp_path / "work" / "quantised" / "half").exists()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    thread.join()
    assert str(caught[0]).startswith("quantise: exit code -9")
    (stubs / "hang-quantise").unlink()
    build(tmp_path)
    assert calls(stubs) == ["inspect", "quantise", "quantise", "compile"]
    assert not (tmp_path / "work" / "quantised" / "half").exists()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda f: {"limits": {"max_prompt_tokens": 1500, "max_input_len": 1600, "max_seq_len": 1701}}, "inspect prompts quantise"),
        (lambda f: {"free_gpu_memory_fraction": 0.5}, "inspect prompts quantise compile"),
        (lambda f: write_posts(f, [POST] * 9), "inspect"),
        (lambda f: (f / "base" / "tokenizer_config.json").write_text("{}") and {}, ""),
        (lambda f: (f / "stubs" / "gpu").write_text(H100_LINE.replace("570", "580")) and {}, "inspect prompts quantise"),
    ],
)  # fmt: skip
def test_a_change_is_built_from_where_it_matters(
    stubs: Path, tmp_path: Path, change: Callable[[Path], dict[str, Any] | None], kept: str
) -> None:
    build(tmp_path, adapter=None)
    shutil.rmtree(tmp_path / "out")
    told = Told()
    build(tmp_path, told=told, adapter=None, **(change(tmp_path) or {}))
    assert " ".join(told.again()) == kept


def test_another_alpha_beside_the_same_weights_is_merged_again(stubs: Path, tmp_path: Path) -> None:
    build(tmp_path)
    shutil.rmtree(tmp_path / "out")
    config = tmp_path / "trained" / "adapter_config.json"
    config.write_bytes(config.read_bytes().replace(b'"lora_alpha":4', b'"lora_alpha":8'))
    told = Told()
    build(tmp_path, told=told)
    assert "merge" not in told.again()


def test_without_a_container_the_tools_are_inspected_each_time(stubs: Path, tmp_path: Path) -> None:
    found = {"tensorrt": "10.13.3.9", "tensorrt_llm": "1.2.1"}

    def tools(command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
        del log, still
        if "-c" in command:
            Path(command[-1]).write_bytes(orjson.dumps(found))
        else:
            out = Path(command[command.index("--output_dir") + 1])
            out.mkdir()
            config = orjson.loads((tmp_path / "base" / "config.json").read_bytes())
            (out / "config.json").write_bytes(orjson.dumps({"pretrained_config": config, "build_config": {}}))
            (out / "rank0.engine").write_text("engine")
        return 0

    wanted = {"adapter": None, "container": False}

    def again(told: Told) -> Bundle:
        plan = run.plan_build(write_recipe(tmp_path, **wanted), tmp_path / "work", tmp_path / "out")
        return run.build(plan, told.append, runner=tools)

    again(Told())
    told = Told()
    again(told)
    assert told.again() == ["prompts", "quantise", "compile", "bundle"]
    found["tensorrt"] = "10.14.0"
    shutil.rmtree(tmp_path / "out")
    told = Told()
    made = again(told).manifest.build
    assert made is not None
    assert (told.again(), made.tensorrt) == ([], "10.14.0")


def test_a_bundle_is_never_written_over(stubs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    assert "is there and not an empty folder; choose another --out" in refusal(tmp_path, adapter=None)
    assert (tmp_path / "out" / "precious").exists()


def test_the_pytorch_route_takes_the_checkpoint_along(stubs: Path, tmp_path: Path) -> None:
    bundle = build(tmp_path, route="pytorch")
    assert calls(stubs) == ["inspect", "quantise"]
    serving = Serving.of(bundle)
    assert (serving.runtime, serving.tokenizer_folder) == ("pytorch", "served")
    assert (bundle.path / "served" / "tokenizer.json").read_bytes() == published_tokenizer()
    assert bundle.manifest.build is not None
    assert bundle.manifest.build.tensorrt is None


def test_bf16_for_pytorch_is_the_base_itself_where_there_is_no_adapter(stubs: Path, tmp_path: Path) -> None:
    (tmp_path / "base" / ".cache").mkdir()
    bundle = build(tmp_path, route="pytorch", adapter=None, **BF16)
    assert calls(stubs) == ["inspect"]
    assert bundle.manifest.adapter is None
    assert (bundle.path / "served" / "model.safetensors").is_file()


def test_scores_of_before_quantisation_are_called_that(stubs: Path, tmp_path: Path) -> None:
    (tmp_path / "evaluated").mkdir()
    document = {
        "judged": {"engine": {"digest": file_digest(tmp_path / "trained" / "adapter_model.safetensors")}},
        "measures": {"f1": {"value": 0.5}},
    }
    (tmp_path / "evaluated" / "evaluation.json").write_bytes(orjson.dumps(document))
    adapter = {"folder": "trained", "override": "a test", "evaluation": "evaluated", "name": "teens"}
    manifest = build(tmp_path, adapter=adapter).manifest
    assert manifest.evaluation == {"before quantisation: f1": 0.5}
    assert manifest.adapter is not None
    assert manifest.adapter.name == "teens"


def trained_on(folder: Path, **changes: str) -> None:
    """The plan of a training beside the adapter; it knew another base in these fields."""
    known = {
        "recipe": {"base": {"checkpoint": str(folder / "base"), "layout": "vendor"}},
        "digest": OTHER,
        "layout_digest": split_template(TEMPLATE).digest,
        "tokenizer_digest": small_tokenizer().digest,
    }
    (folder / "plan.json").write_bytes(orjson.dumps({**known, **changes}))


def letters_alone(folder: Path) -> None:
    """A tokenizer to which every word begins with a space."""
    document = orjson.loads(published_tokenizer())
    document["model"]["merges"] = []
    (folder / "base" / "tokenizer.json").write_bytes(orjson.dumps(document))


def link(folder: Path) -> None:
    (folder / "base" / "merges.txt").unlink()
    (folder / "base" / "merges.txt").symlink_to(folder / "posts.jsonl")


OTHER = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("spoil", "changes", "message"),
    [
        (lambda f: (f / "stubs" / "gpu").write_text(A100), {}, "gpu: the recipe is for a H100 (9.0), this GPU is NVIDIA A100"),
        (lambda f: (f / "stubs" / "gpu").write_text(""), {}, "CUDA_VISIBLE_DEVICES leaves no GPU"),
        (letters_alone, {"adapter": None}, "labels: 'safe' and 'controversial' begin with the same token"),
        (lambda f: trained_on(f, tokenizer_digest=OTHER), {}, f"its tokenizer is {small_tokenizer().digest}, the training's was"),
        (lambda f: trained_on(f, layout_digest=OTHER), {}, "its layout is sha256:"),
        (lambda f: shutil.rmtree(f / "trained"), {}, "adapter.folder: "),
        (lambda f: (f / "posts.jsonl").unlink(), {}, "calibration_data.posts: "),
        (link, {"adapter": None}, "merges.txt is a link, which the container does not follow; copy the folder with cp -rL"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_a_command_runs(
    stubs: Path, tmp_path: Path, spoil: Callable[[Path], object], changes: dict[str, Any], message: str
) -> None:
    spoil(tmp_path)
    assert message in refusal(tmp_path, **changes)
    assert calls(stubs) == []


def test_an_adapter_of_this_base_is_taken(stubs: Path, tmp_path: Path) -> None:
    trained_on(tmp_path)
    assert build(tmp_path).manifest.adapter is not None


def test_a_container_of_another_release_is_refused_first(stubs: Path, tmp_path: Path) -> None:
    (stubs / "versions.json").write_text(VERSIONS.replace("1.2.1", "1.2.0"))
    assert "inspect: tensorrt_llm is 1.2.0, the recipe is for 1.2.1" in refusal(tmp_path, adapter=None)
    assert calls(stubs) == ["inspect"]


def test_a_folder_that_another_build_works_in_is_left_alone(stubs: Path, tmp_path: Path) -> None:
    with alone(tmp_path / "work"):
        assert "another build is at work there" in refusal(tmp_path)


def test_a_disk_without_room_is_told_before_anything_runs(
    stubs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    assert "--work: " in (message := refusal(tmp_path))
    assert "0.0 GB free" in message
    assert calls(stubs) == []


def test_posts_that_would_act_or_be_cut_are_left_out(stubs: Path, tmp_path: Path) -> None:
    good = [f"{POST} {number}" for number in range(8)]
    write_posts(tmp_path, ["it ends <|im_end|> here", "long " * 2000, *good])
    build(tmp_path, adapter=None)
    lines = (tmp_path / "work" / "texts" / "train.jsonl").read_bytes().splitlines()
    texts = [orjson.loads(line)["text"] for line in lines]
    assert [text.count(one) for text, one in zip(texts, good, strict=True)] == [1] * 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "gives 7 prompts of at most 1500 tokens, fewer than 8; give more posts"),
        (b'{"id": "secret"}', "line 8: invalid_post; each line is one post in JSON"),
    ],
)
def test_posts_that_cannot_be_used_are_told_by_their_line(
    stubs: Path, tmp_path: Path, line: bytes, message: str
) -> None:
    write_posts(tmp_path, [f"{POST} {number}" for number in range(7)])
    with (tmp_path / "posts.jsonl").open("ab") as stream:
        stream.write(line)
    assert message in (told := refusal(tmp_path, adapter=None))
    assert "secret" not in told
    assert calls(stubs) == ["inspect"]


class Spoiling(SmallRunner):
    """Changes a file after a command that writes it."""

    def __init__(self, path: Path, change: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.path, self.change = path, change

    def __call__(self, command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
        code = super().__call__(command, log, still)
        if str(self.path.parent) in command or str(self.path.parent.parent) in command:
            self.path.write_bytes(self.change(self.path.read_bytes()))
        return code


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        ("engine/config.json", lambda raw: raw.replace(b"1600", b"1024"), "build_config.max_input_len is 1024, the recipe asks for 1600"),
        ("engine/config.json", lambda _raw: b"{}", "is not as the stage before writes it (KeyError)"),
        ("merged/checkpoint/tokenizer.json", lambda raw: raw.replace(b'"id":440', b'"id":450'), "tokenizer/tokenizer.json: its tokenizer is"),
    ],
)  # fmt: skip
def test_what_was_built_and_is_not_what_was_asked_for_gets_no_bundle(
    stubs: Path, tmp_path: Path, path: str, change: Callable[[bytes], bytes], message: str
) -> None:
    plan = run.plan_build(write_recipe(tmp_path), tmp_path / "work", tmp_path / "out")
    with pytest.raises(BuildError) as caught:
        run.build(plan, lambda _line: None, runner=Spoiling(tmp_path / "work" / path, change))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_command_builds_and_says_what_it_wrote(
    stubs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe(tmp_path, adapter=None)
    first = CliRunner().invoke(app, ["engine", "build", "recipe.yaml"])
    digest = Bundle.open(tmp_path / "small").digest
    assert first.output.splitlines()[-1] == f"written: {tmp_path / 'small'}; digest {digest}"
    again = CliRunner().invoke(app, ["engine", "build", "recipe.yaml", "--json"])
    assert orjson.loads(again.stdout) == {"path": str(tmp_path / "small"), "digest": digest}
    assert calls(stubs) == ["inspect", "quantise", "compile"]


MODULE = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.adapt
def test_the_adapter_is_in_the_checkpoint_that_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # noqa: PLC0415 - of the extra `adapt`
    from safetensors.torch import load_file  # noqa: PLC0415 - the same
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415 - the same

    monkeypatch.setenv("PATH", f"{write_stubs(tmp_path / 'stubs')}:{os.environ['PATH']}")
    write_parts(tmp_path)
    (tmp_path / "base" / "model.safetensors").unlink()
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path / "base"))
    config = (tmp_path / "base" / "config.json").read_bytes()
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "config.json").write_bytes(config)
    recipe = write_recipe(tmp_path, route="pytorch", quantisation="bf16", calibration_data=None)
    plan = run.plan_build(recipe, tmp_path / "work", tmp_path / "out")
    bundle = run.build(plan, lambda _line: None)
    assert calls(tmp_path / "stubs") == ["inspect"]
    before = load_file(tmp_path / "base" / "model.safetensors")[MODULE]
    after = load_file(bundle.path / "served" / "model.safetensors")[MODULE]
    # Two ranks of ones, times alpha / r.
    assert torch.allclose(after - before, torch.full((HIDDEN, HIDDEN), 4.0), atol=1e-5)
