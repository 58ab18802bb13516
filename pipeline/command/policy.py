"""``sluicegate policy``: write, check, explain and compare policies."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.command.policy_case import Case
from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy import InvalidPolicyError, Policy
from sluicegate.pipeline.policy.checks import notes, require_adapters, require_digests
from sluicegate.pipeline.text import neutral, neutral_json
from sluicegate.schemas import Verdict

_LINE_BYTES = 1_000_000  # a verdict is never larger: Kafka's own default for a record

app = typer.Typer(
    help="Policies: write, check, explain, compare. The language: docs/policy.md.\n\n"
    "Example: sluicegate policy new policy.yaml",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(help="The policy file.")]


class ExamplePolicy(StrEnum):
    """Policies to begin with."""

    STARTER = "starter"
    SOCIAL_NETWORK = "social_network"
    BANK_ADVISER = "bank_adviser"
    SCHOOL_PLATFORM = "school_platform"
    DEFAULT = "default"


class ExplainEngine(StrEnum):
    """The engines that need nothing but Python."""

    LLAMA_CPP = "llama_cpp"
    FAKE = "fake"


class KindChoice(StrEnum):
    """What the text is."""

    POST = "post"
    PROMPT = "prompt"
    RESPONSE = "response"


@app.command("new")
def new(
    file: Annotated[
        Path | None, typer.Argument(help="Where to write; must not exist. Without: standard output.")
    ] = None,
    example: Annotated[
        ExamplePolicy, typer.Option("--from", help="The commented starter, or a worked example.")
    ] = ExamplePolicy.STARTER,
) -> None:
    """Write a policy to begin with.

    Example: sluicegate policy new policy.yaml --from bank_adviser
    """
    text = (resources.files("sluicegate.pipeline.policy") / "shipped" / f"{example}.yaml").read_text("utf-8")
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise PolicyError(f"{file} is there already; give another name, or remove it first") from error
    except OSError as error:
        raise PolicyError(f"{file} cannot be written ({error.strerror}); give another place") from error
    typer.echo(f"{file} written; after your changes: sluicegate policy check {file}")


@app.command("check")
def check(
    file: File,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIGEST",
            help="Digest of the engine that it is to meet, as `sluicegate engine verify` prints it; once for each engine.",
        ),
    ] = None,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Check a policy file: exit code 1 and every fault with its line, or its digest.

    With --settings also that they have every adapter that it names. With --engine also that it is for that engine. A note names a value by which a post
    whose explanation fails is no allow, though its scores alone would allow it.

    Example: sluicegate policy check policy.yaml --json
    """
    adapters: Collection[str] | None = None
    if settings is not None:
        from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - only where they are given

        adapters = load_settings(settings).engine.adapters
    try:
        policy = Policy.load(file)
        if adapters is not None:
            require_adapters(policy, adapters, str(file))
        require_digests(policy, dict.fromkeys(engine or (), "the engine"), str(file))
    except PolicyError as error:
        faults = error.faults if isinstance(error, InvalidPolicyError) else ()
        if as_json:
            listed = [
                {"line": one.line, "place": one.place, "wrong": one.wrong, "right": one.right}
                for one in faults
            ] or [{"line": None, "place": "", "wrong": str(error), "right": ""}]
            typer.echo(orjson.dumps({"ok": False, "file": str(file), "faults": listed}).decode())
        else:
            for sentence in [one.sentence(str(file)) for one in faults] or [str(error)]:
                typer.echo(sentence, err=True)
        raise typer.Exit(1) from None
    facts = {"name": policy.name, "version": policy.version, "digest": policy.digest}
    tenants = sorted(policy.scope.tenants)
    noted = notes(policy)
    if as_json:
        told = {
            "ok": True,
            "file": str(file),
            **facts,
            "tenants": tenants,
            "engines": sorted(policy.engines),
            "notes": [asdict(one) for one in noted],
        }
        typer.echo(orjson.dumps(told).decode())
    else:
        typer.echo(
            f"{file}: {policy.name} {policy.version} is in order; tenants with rules of their own: "
            f"{', '.join(tenants) or 'none'}; for {', '.join(sorted(policy.engines)) or 'any engine'}; digest {policy.digest}"
        )
        for one in noted:
            typer.echo(one.sentence(str(file)))


@app.command("explain")
def explain(  # noqa: PLR0917 - options are parameters
    file: File,
    assessment: Annotated[
        str | None,
        typer.Option(help="JSON with `scores`, `categories`, …; a whole verdict will do; - reads stdin."),
    ] = None,
    post: Annotated[str | None, typer.Option(help="A text, to be judged here and now.")] = None,
    engine: Annotated[
        ExplainEngine, typer.Option(help="For --post. fake judges by a hash: no model, at once.")
    ] = ExplainEngine.LLAMA_CPP,
    kind: Annotated[KindChoice | None, typer.Option(help="What the text is. Default: post.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Tenant whose rules decide. Default: default.")] = None,
    region: Annotated[str | None, typer.Option(help="Region of the post, such as DE.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the post, such as en.")] = None,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Say which rule decides, on which line it stands, and why the others did not.

    Example: sluicegate policy explain policy.yaml --assessment '{"scores": {"safe": 0.1, "controversial": 0, "unsafe": 0.9}}'
    """
    from sluicegate.pipeline.command.policy_case import judged, read_case, told  # noqa: PLC0415 - help needs none of it
    from sluicegate.pipeline.policy.account import account_for  # noqa: PLC0415 - the same

    policy = Policy.load(file)
    given = {
        "kind": kind.value if kind else None,
        "tenant": tenant,
        "region": region,
        "language": language,
    }
    if (assessment is None) == (post is None):
        raise typer.BadParameter("give one of --assessment and --post")
    case: Case = (
        read_case(sys.stdin.buffer.read(_LINE_BYTES) if assessment == "-" else assessment, given)
        if assessment is not None
        else judged(policy, post or "", given, engine=engine.value, settings=settings)
    )
    account = account_for(policy, case, case.scores, case)
    if as_json:
        typer.echo(neutral_json(orjson.dumps(account).decode()))
    else:
        for line in told(account, policy, case):
            typer.echo(line)


@app.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(help="The policy in force.")],
    new_: Annotated[Path, typer.Argument(metavar="NEW", help="The policy that may replace it.")],
    verdicts: Annotated[
        str | None,
        typer.Option(help="File with a verdict a line, as `sluicegate verdicts --format json`; - is stdin."),
    ] = None,
    topic: Annotated[bool, typer.Option("--topic", help="Read what stands on the verdict topics.")] = False,
    examples: Annotated[int, typer.Option(min=0, max=100, help="Verdict ids shown a direction.")] = 3,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Show what another policy would have changed: by direction, tenant and category, with verdict ids.

    No post is judged again: both policies decide what the engine found. Neither texts nor ids of
    posts are shown.

    Example: sluicegate policy diff policy.yaml stricter.yaml --topic
    """
    from sluicegate.pipeline.command.policy_case import table  # noqa: PLC0415 - help needs none of it
    from sluicegate.pipeline.policy.diff import Diff  # noqa: PLC0415 - the same

    if (verdicts is None) == (not topic):
        raise typer.BadParameter("give one of --verdicts and --topic")
    found = Diff(Policy.load(old), Policy.load(new_), examples)
    unreadable = 0
    for record in _file_records(verdicts) if verdicts is not None else _topic_records(settings):
        verdict = _verdict(record)
        if verdict is None:
            unreadable += 1
        else:
            found.add(verdict)
    if as_json:
        typer.echo(neutral_json(orjson.dumps(found.document()).decode()))
    else:
        for line in table(found):
            typer.echo(line)
    if unreadable:
        typer.echo(f"{unreadable} records are no verdicts and were passed over", err=True)


def _verdict(record: bytes | None) -> Verdict | None:
    from sluicegate.schemas import Verdict  # noqa: PLC0415 - only who reads verdicts

    try:
        return Verdict.model_validate_json(record or b"")
    except ValueError:
        return None


def _file_records(name: str) -> Iterator[bytes | None]:
    from sluicegate.pipeline.command.post import bounded_lines  # noqa: PLC0415 - only who reads lines

    if name == "-":
        yield from bounded_lines(sys.stdin.buffer, _LINE_BYTES)
        return
    try:
        with Path(name).open("rb") as lines:
            yield from bounded_lines(lines, _LINE_BYTES)
    except OSError as error:
        raise PolicyError(
            f"{neutral(name)} cannot be read ({error.strerror}); "
            "`sluicegate verdicts --from beginning --no-follow --format json` writes such lines"
        ) from error


def _topic_records(settings: Path | None) -> Iterator[bytes | None]:
    from sluicegate.pipeline.kafka.reader import TopicReader  # noqa: PLC0415 - loads Kafka's client
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - the same

    loaded = load_settings(settings)
    topics = loaded.topics.outputs[:3]
    with TopicReader(loaded.kafka, topics, start="beginning") as reader:
        yield from (record.value for record in reader.read_all())
