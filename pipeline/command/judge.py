"""``sluicegate judge``: one text, here and now, without Kafka."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sluicegate.pipeline.client.renderings import RenderedFinding, to_chinese, to_lines
from sluicegate.pipeline.command.options import AsJson, CpuModelChoice, CpuModelName, SettingsFile
from sluicegate.pipeline.errors import JudgeError
from sluicegate.pipeline.text import neutral, neutral_json
from sluicegate.schemas import Post, Rejection, Verdict, decode_post, encode

_MOST_BYTES = 1_000_000  # of standard input; above the limit of a post, which is then named
_NOTES = {
    "fake": "the fake engine judges by a hash: it shows the path and the policy, and finds nothing",
    "llama_cpp": "this CPU model has no adapter for moderation: it shows the path, and finds little",
}
# What a refused option would have to look like; the rule that it breaks is for programs.
_SHAPES = {
    "tenant": "letters, digits, dots, dashes and underscores, at most 64",
    "region": "an ISO 3166 code, such as DE or US-CA",
    "language": "a BCP 47 tag, such as en or zh-Hant",
}


class JudgeEngine(StrEnum):
    """The engines that need nothing but Python."""

    LLAMA_CPP = "llama_cpp"
    FAKE = "fake"


class JudgeFormat(StrEnum):
    """Renderings of the finding."""

    LINES = "lines"
    ZH = "zh"


class PostKind(StrEnum):
    """What the text is."""

    POST = "post"
    PROMPT = "prompt"
    RESPONSE = "response"


def judge(  # noqa: PLR0917 - options are parameters
    text: Annotated[str, typer.Argument(help="The text to judge; - reads it from standard input.")],
    engine: Annotated[
        JudgeEngine | None,
        typer.Option(
            help="llama_cpp is a real model on the CPU; fake judges by a hash, at once. "
            "Default: what the settings say, which is llama_cpp without any."
        ),
    ] = None,
    model: CpuModelChoice = None,
    kind: Annotated[
        PostKind, typer.Option(help="A user's post, a prompt for an LLM, or an LLM's response.")
    ] = PostKind.POST,
    context: Annotated[str | None, typer.Option(help="For a response: the prompt that it answers.")] = None,
    tenant: Annotated[str, typer.Option(help="Tenant whose rules decide.")] = "default",
    region: Annotated[str | None, typer.Option(help="Region hint, such as DE.")] = None,
    language: Annotated[str | None, typer.Option(help="Language hint, such as en.")] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; default: that of the settings, or the built-in one.")
    ] = None,
    form: Annotated[
        JudgeFormat, typer.Option("--format", help="lines: as the model writes it; zh: in Chinese.")
    ] = JudgeFormat.LINES,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Judge one text on this machine, without Kafka. Nothing is fetched and nothing is kept.

    Exit code 0 whatever the action; 1 if the text could not be scored. With --json it prints the
    verdict that a worker would publish.

    Example: sluicegate judge "you are all invited" --engine fake
    """
    fields = {
        "id": "judge",
        "text": _read() if text == "-" else text,
        "kind": kind.value,
        "context": context,
        "tenant": tenant,
        "region": region,
        "language": language,
    }
    verdict = _judge(_post(fields), _changes(engine, model), policy, settings)
    if as_json:
        typer.echo(neutral_json(encode(verdict).decode()))
    else:
        _show(verdict, form)
    if verdict.engine.backend in _NOTES and verdict.engine.adapter is None:
        typer.echo(f"note: {_NOTES[verdict.engine.backend]}", err=True)
    if verdict.failure is not None:
        raise typer.Exit(1)


def _changes(engine: JudgeEngine | None, model: CpuModelName | None) -> dict[str, Any]:
    """What the options change of the engine's settings. A CPU model that is named takes the bundle's place."""
    changed: dict[str, Any] = {} if engine is None else {"backend": engine.value}
    if model is not None:
        changed |= {"backend": "llama_cpp", "model": model.value, "bundle": None, "digest": None}
    return changed


def _judge(post: Post, changed: dict[str, Any], policy: Path | None, settings: Path | None) -> Verdict:
    from sluicegate.pipeline.flow.once import judge_once  # noqa: PLC0415 - the same
    from sluicegate.pipeline.observe.logs import configure_logs  # noqa: PLC0415 - the same
    from sluicegate.pipeline.policy import Policy  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - the same

    loaded = load_settings(settings)
    if changed:
        loaded = loaded.model_copy(update={"engine": loaded.engine.model_copy(update=changed)})
    deciding = Policy.load(policy or loaded.policy.path)
    # What goes wrong for one post stands in its verdict; a line of log beside it tells no more.
    configure_logs("error")
    return asyncio.run(judge_once(loaded, deciding, post))


def _post(fields: dict[str, Any]) -> Post:
    import orjson  # noqa: PLC0415 - help needs none of it

    try:
        raw = orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except TypeError:  # a lone surrogate: bytes on the command line that are no UTF-8
        raise typer.BadParameter("the text is no valid UTF-8; convert it first") from None
    post = decode_post(raw, limit_bytes=_MOST_BYTES)
    if isinstance(post, Rejection):
        field = post.detail.partition(":")[0]
        raise typer.BadParameter(
            f"it must be {_SHAPES[field]}" if field in _SHAPES else post.detail,
            param_hint=f"--{field}" if field in fields and field != "text" else "TEXT",
        )
    return post


def _read() -> str:
    raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise JudgeError(f"standard input has more than {_MOST_BYTES} bytes, the limit of one text")
    try:
        return raw.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:  # another text must not be judged in its place
        raise JudgeError(f"standard input is no UTF-8 from byte {error.start} on; convert it first") from None


def _show(verdict: Verdict, form: JudgeFormat) -> None:
    finding = RenderedFinding.of(verdict)
    typer.echo(to_lines(finding) if form is JudgeFormat.LINES else to_chinese(finding))
    typer.echo()
    scores = verdict.scores
    facts = {
        "action": f"{verdict.action.value} ({neutral(verdict.disposition)}), by the rule {neutral(verdict.policy.rule)}",
        "scores": f"safe {scores.safe:.3f}, controversial {scores.controversial:.3f}, unsafe {scores.unsafe:.3f}"
        if scores
        else f"none: {verdict.failure.code if verdict.failure else ''}",
        "policy": f"{neutral(verdict.policy.name)} {neutral(verdict.policy.version)}",
        "engine": f"{verdict.engine.backend}, {neutral(verdict.engine.model)}, {verdict.timings.total_ms:.0f} ms",
    }
    if verdict.segments.count > 1:
        facts["segments"] = (
            f"{verdict.segments.count}, of which number {verdict.segments.deciding + 1} decided"
        )
    if verdict.form == "folded":
        facts["form"] = f"folded: {', '.join(verdict.form_rules)}"
    if verdict.explanation_failure is not None:
        facts["explanation"] = f"none: {verdict.explanation_failure}"
    if verdict.explained_as not in (None, verdict.severity):
        facts["explanation"] = (
            f"made to begin with {verdict.explained_as}: a category could change what follows"
        )
    for name, value in facts.items():
        typer.echo(f"{name + ':':13} {value}")
