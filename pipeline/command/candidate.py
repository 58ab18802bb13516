"""``sluicegate candidate``: what becomes of a candidate, as signed facts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.control_facts import Reason, require_reason
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.errors import CandidateError
from sluicegate.pipeline.settings.tree import Settings, load_settings
from sluicegate.pipeline.text import neutral_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

Key = Annotated[
    Path | None, typer.Option("--key", help="Your private key, Ed25519 in PEM. Default: candidate.key.")
]
Share = Annotated[float, typer.Option("--share", min=0, max=1, help="Share of the posts, such as 0.05.")]

app = typer.Typer(
    help="A candidate's way from registered to promoted, and back.\n\n"
    "Each step is a fact that is signed with the key of who says it. Workers believe no other. An editor brings the "
    "candidate, and an approver lets it act: two people. Everybody of these may roll it back.\n\n"
    "Example: sluicegate candidate status",
    no_args_is_help=True,
)


@app.command("register")
def register(reason: Reason, key: Key = None, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Begin an experiment: name the incumbent and the candidate by their digests. An editor does it.

    The incumbent is policy.path with its engines, the candidate is candidate.policy with its own. Their bundles are read;
    no engine starts.

    Example: sluicegate candidate register --key anna.pem --reason "trained on the reviews of November"
    """
    loaded = load_settings(settings)
    _say(loaded, key, reason, as_json, state="registered", roles=("editor",), judges=lambda: _judges(loaded))


@app.command("gate")
def gate(
    report: Annotated[Path, typer.Option("--report", help="What `sluicegate adapt gate --out` wrote.")],
    reason: Reason,
    key: Key = None,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Say that the candidate passed the gate on labelled rows. A machine or an editor does it.

    A report that did not pass is refused. Its digest stands in the fact.

    Example: sluicegate candidate gate --report gate.json --key anna.pem --reason "passed on 4,000 rows"
    """
    content = _read(report)
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict) or document.get("passed") is not True:
        raise CandidateError(f"{report}: is no report of a gate that was passed; give the file of `--out`")
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    _say(
        load_settings(settings),
        key,
        reason,
        as_json,
        state="gated",
        roles=("machine", "editor"),
        report=digest,
    )


@app.command("start")
def start(
    reason: Reason,
    share: Annotated[
        float | None,
        typer.Option("--share", min=0, max=1, help="Share of the posts. Default: candidate.share."),
    ] = None,
    key: Key = None,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Let the candidate judge a share of the posts beside the incumbent. It acts on nothing. An editor does it.

    Say it again with another share: a greater one holds every post of a smaller one.

    Example: sluicegate candidate start --share 0.05 --key anna.pem --reason "a twentieth is enough"
    """
    loaded = load_settings(settings)
    share = loaded.candidate.share if share is None else share
    _say(loaded, key, reason, as_json, state="shadow", roles=("editor",), share=share)


@app.command("canary")
def canary(
    share: Share, reason: Reason, key: Key = None, as_json: AsJson = False, settings: SettingsFile = None
) -> None:
    """Let a certified candidate act on a share of the posts whose policy says `canary: true`. An approver does it.

    The incumbent stays loaded, and judges that share in the shadow. Say it again with another share.

    Example: sluicegate candidate canary --share 0.01 --key otto.pem --reason "the certificate, and I looked at 50 posts"
    """
    _say(
        load_settings(settings),
        key,
        reason,
        as_json,
        state="canary",
        roles=("approver",),
        share=share,
        same_report=True,
    )


@app.command("promote")
def promote(reason: Reason, key: Key = None, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Let the candidate act on all posts, of all tenants. An approver does it, who is no editor of this experiment.

    The incumbent stays loaded, so that a rollback takes seconds.

    Example: sluicegate candidate promote --key otto.pem --reason "three days at a quarter, nothing beyond its bounds"
    """
    _say(
        load_settings(settings), key, reason, as_json, state="promoted", roles=("approver",), same_report=True
    )


@app.command("rollback")
def rollback(reason: Reason, key: Key = None, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Let the incumbent act on all posts again, from any state and for good. One person is enough.

    Returns once the brokers have it; workers take it up within some seconds. Posts that the candidate had in work are
    judged by the incumbent. Verdicts that it gave stay: judge those posts again if they must go.

    Example: sluicegate candidate rollback --key anna.pem --reason "it lets scam in Czech pass"
    """
    loaded = load_settings(settings)
    _say(
        loaded,
        key,
        reason,
        as_json,
        state="rolled_back",
        roles=("approver", "editor", "machine"),
        judges=lambda: _judges(loaded),
    )


@app.command("status")
def status(as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Print every fact about the candidate, oldest first, and where it stands. It needs no private key.

    Example: sluicegate candidate status --json
    """
    ledger = _library()
    signed = ledger.FactLedger(load_settings(settings)).read_signed()
    facts = signed.history.facts
    if as_json:
        document = {
            "experiment": signed.experiment,
            "state": signed.history.state,
            "share": signed.history.head.share if signed.history.head is not None else None,
            "refused": signed.refused,
            "facts": [{"digest": fact.digest, **fact.model_dump(mode="json")} for fact in facts],
        }
        typer.echo(neutral_json(orjson.dumps(document).decode()))
        return
    for fact in facts:
        typer.echo(_line(fact))
    if not facts:
        typer.echo(f"{signed.experiment}: not registered")
    if signed.refused:
        typer.echo(
            f"{signed.refused} records count for nothing: they are unsigned, by an unknown key, or may not follow",
            err=True,
        )


def _say(
    settings: Settings,
    key: Path | None,
    reason: str,
    as_json: bool,
    *,
    state: str,
    roles: tuple[str, ...],
    report: str | None = None,
    share: float | None = None,
    same_report: bool = False,
    judges: Callable[[], Any] | None = None,
) -> None:
    """Say something of the candidate, and print it."""
    require_reason(reason)
    ledger = _library()
    book = ledger.FactLedger(settings, key)
    wanted = ledger.FactToSay(
        ledger.CandidateState(state),
        reason,
        tuple(map(ledger.Role, roles)),
        report=report,
        share=share or None,
        same_report=same_report,
        judges=judges,
    )
    written = book.say(book.following(wanted))
    if as_json:
        typer.echo(neutral_json(written.fact.model_dump_json()))
    else:
        typer.echo(_line(written.fact))
    if written.unheard is not None:
        typer.echo(f"sluicegate: {written.unheard}", err=True)


def _judges(settings: Settings) -> tuple[Any, Any]:
    """Incumbent and candidate of the settings, by their digests."""
    from sluicegate.engines.backends import open_backends  # noqa: PLC0415 - only who registers reads bundles
    from sluicegate.pipeline.flow.screening import open_screen  # noqa: PLC0415 - the same
    from sluicegate.pipeline.policy import Policy  # noqa: PLC0415 - the same
    from sluicegate.pipeline.policy.checks import require_adapters  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.engine_choice import engine_choices  # noqa: PLC0415 - the same
    from sluicegate.pipeline.shadow.standing import judge_digests  # noqa: PLC0415 - an extra

    path = settings.candidate.policy
    if path is None:
        raise CandidateError("candidate.policy is missing; give the candidate's policy file")
    backends = open_backends(engine_choices(settings.engine))
    screen = open_screen(settings.screen, backends)
    engines = {name: backend.engine.info.digest for name, backend in backends.items()}
    found = []
    for source, beside in (
        (settings.policy.path, screen.digest if screen is not None else None),
        (path, None),
    ):
        policy = Policy.load(source)
        require_adapters(policy, [name for name in engines if name is not None], str(source))
        found.append(judge_digests(policy, engines, beside))
    return found[0], found[1]


def _line(fact: Any) -> str:
    share = "" if fact.share is None else f" {fact.share:g}"
    return (
        f"{fact.experiment}: {fact.state}{share} since {fact.at.isoformat(timespec='seconds')} by {fact.by} "
        f"({fact.role}): {fact.why}"
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CandidateError(
            f"{path}: cannot be read ({error.strerror}); give the file of `--out`"
        ) from error


def _library() -> ModuleType:
    try:
        from sluicegate.pipeline.shadow import ledger  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise CandidateError(
            f"facts are signed, and that needs {error.name}; pip install 'sluicegate[candidate]'"
        ) from error
    return ledger
