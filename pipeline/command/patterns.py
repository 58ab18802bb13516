"""``sluicegate patterns``: share what was confirmed as a threat, without anybody's text, and take in what others confirmed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.control_facts import Reason, require_reason, who
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.command.pattern_topics import (
    RaisedCases,
    publish_feed,
    read_feeds,
    read_history,
    read_raised,
)
from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.facts import LINE
from sluicegate.pipeline.patterns.circle import new_circle
from sluicegate.pipeline.patterns.pattern import MOST_BYTES, Revocation
from sluicegate.pipeline.patterns.standing import learnt, seen_here, suspicions
from sluicegate.pipeline.settings.tree import Settings, load_settings
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import Verdict

app = typer.Typer(
    help="Threat patterns shared between institutions: made of what people confirmed, without anybody's text.\n\n"
    "Nothing leaves that one person made and the same person approved. What comes in raises posts to review; a match alone never blocks.\n\n"
    "To take in: verify, import, list. To share: risk, export --draft, then somebody else export --approve. To take back: revoke.\n\n"
    "Example: sluicegate patterns list --cases",
    no_args_is_help=True,
)

As = Annotated[
    str | None,
    typer.Option("--as", help="Your name in the journal. Default: your user name on this machine."),
]
SigningKeyFile = Annotated[
    Path | None,
    typer.Option("--signing-key", help="Your institution's private key: Ed25519, in PEM."),
]
Member = Annotated[str | None, typer.Option("--member", help="Your institution's name in the circle.")]


class OtherFormat(StrEnum):
    """Formats of other tools."""

    STIX = "stix"
    MISP = "misp"


@app.command("circle")
def circle(
    name: Annotated[str, typer.Argument(help="Name of the circle: small letters, digits, dots, hyphens.")],
    member: Annotated[
        list[str],
        typer.Option(
            "--member", help="Name of a member and its public key, as north=north.pub.pem; once for each."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write; it must not be there.")] = Path(
        "circle.json"
    ),
    k: Annotated[
        int, typer.Option(min=3, help="Different authors that a value was seen with, at least.")
    ] = 5,
    licence: Annotated[
        str, typer.Option(help="What receivers may do with patterns, in a line.")
    ] = "for moderation by members of the circle; not to be passed on",
) -> None:
    """Found a circle: write the file that every member gets, with a key drawn by chance. It is good for a quarter.

    The file holds the circle's key: hand it over as you would a password.

    Example: sluicegate patterns circle alps --member north=north.pub.pem --member south=south.pub.pem
    """
    members = {}
    for one in member:
        who_, equals, path = one.partition("=")
        if not equals:
            raise typer.BadParameter("a name and a file, as north=north.pub.pem", param_hint="--member")
        members[who_] = Path(path).read_bytes()
    made = new_circle(name, members, k=k, licence=licence, today=datetime.now(UTC).date())
    _write_new(out, made.encode())
    typer.echo(
        f"{out}: circle {name} of {len(members)} members, key {made.keys[0].id}, good until {made.keys[0].last_day}"
    )


@app.command("export")
def export(
    *,
    draft: Annotated[
        Path | None, typer.Option("--draft", help="Look for clusters, and write them here for somebody else.")
    ] = None,
    approve: Annotated[
        Path | None, typer.Option("--approve", help="Share what this draft has. Somebody else made it.")
    ] = None,
    drop: Annotated[
        list[int] | None, typer.Option("--drop", help="Leave this number of the draft out; once for each.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --approve: the feed, for the others.")
    ] = None,
    member: Member = None,
    signing_key: SigningKeyFile = None,
    name: As = None,
    settings: SettingsFile = None,
) -> None:
    """Share patterns, in two steps by two people.

    With --draft: read what people confirmed at the review desk, cluster it, mask it, and write what is left to a file.
    That file has masked text, and stays in the house.

    With --approve: look at the draft, leave out what you doubt with --drop, and sign a feed of the rest. The feed has no text.

    Example: sluicegate patterns export --draft today.json --as ann

    Example: sluicegate patterns export --approve today.json --drop 2 --member north --signing-key north.pem --out north.feed --as bob
    """
    loaded, path = _settings(settings)
    if (draft is None) == (approve is None):
        raise typer.BadParameter("say which: --draft FILE, or --approve FILE")
    actor = _actor(name)
    if draft is not None:
        _make_draft(loaded, path, draft, actor)
        return
    if approve is None or out is None or member is None or signing_key is None:
        raise typer.BadParameter("--approve needs --member, --signing-key and --out")
    _approve(path, approve, set(drop or ()), out, member, signing_key, actor)


def _make_draft(settings: Settings, path: Path, target: Path, actor: str) -> None:
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.mining import TIMES_K, MinedCluster, mine  # noqa: PLC0415 - the same
    from sluicegate.pipeline.patterns.sharing import draft, not_withdrawn  # noqa: PLC0415 - the same
    from sluicegate.pipeline.patterns.sketch import NEEDED  # noqa: PLC0415 - the same

    with folders.PatternFolder.opened(path) as folder:
        k = folder.circle.k
        history = read_history(settings, k=k)
        found = mine(
            history.copies,
            k=k,
            vocabulary=history.vocabulary,
            harmless=history.harmless,
            others=history.others,
        )

        def matches(cluster: MinedCluster) -> int:
            values = set(cluster.checksums)
            return sum(len(values & set(low)) >= NEEDED for low, _ in history.others)

        shared = not_withdrawn(found.clusters, folder.circle, folder.withdrawn())
        content = draft(shared, matches=matches, by=actor)
        _write_private(target, content)
        folder.note_draft(content, actor)
        folder.note(actor, "draft made", target.name, clusters=len(shared))
        folder.save()
    typer.echo(
        f"{len(history.copies):,} confirmed posts: {len(shared)} clusters may be shared, {found.few_authors} have fewer than "
        f"{TIMES_K * k} authors, of {found.little_in_common} too little is left after masking"
    )
    if left := len(found.clusters) - len(shared):
        typer.echo(f"{left} clusters are of patterns that you took back, and are left out")
    if history.missing:
        typer.echo(f"{history.missing:,} confirmed posts have left their topic, and count for nothing")
    _show_draft(content)
    typer.echo(f"{target}: somebody else may approve it with `sluicegate patterns export --approve {target}`")


def _show_draft(content: bytes) -> None:
    from sluicegate.pipeline.patterns.sharing import read_draft  # noqa: PLC0415 - loads cryptography

    for one in read_draft(content):
        typer.echo(
            f"{one.number}. {neutral(one.category, 64)}, {one.severity}, {one.authors} authors, {one.copies} copies, "
            f"would also match {one.also_matches} posts that nobody decided on: {neutral(one.template, 200)}"
        )


def _approve(
    path: Path, draft: Path, drop: set[int], out: Path, member: str, signing_key: Path, actor: str
) -> None:
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.feed import seal  # noqa: PLC0415 - the same
    from sluicegate.pipeline.patterns.sharing import (  # noqa: PLC0415 - the same
        next_feed,
        not_withdrawn,
        read_draft,
        residue,
    )

    content = draft.read_bytes()
    with folders.PatternFolder.opened(path) as folder:
        by = folder.author_of_draft(content)
        if by == actor:
            raise PatternError(
                f"{actor} made this draft; a second person approves it, who looks at it with other eyes"
            )
        candidates = [one for one in read_draft(content) if one.number not in drop]
        if left := [one.number for one in candidates if residue(one.template, also=_second_detector())]:
            raise PatternError(
                f"numbers {', '.join(map(str, left))} may still stand for a person; leave them out with --drop"
            )
        feed = next_feed(
            folder.circle,
            member,
            folder.feed(member),
            # Again: one may have been taken back since the draft.
            not_withdrawn(candidates, folder.circle, folder.withdrawn()),
            chance=random.SystemRandom(),
            now=datetime.now(UTC),
        )
        sealed = seal(feed, signing_key.read_bytes())
        folder.take(sealed)  # as the others will: what they would refuse does not leave
        folder.admit([one.id for one in feed.patterns])
        folder.note(
            actor,
            "feed signed",
            f"{member} {feed.sequence}",
            digest=feed.digest,
            patterns=len(feed.patterns),
            drafted_by=by,
            dropped=sorted(drop),
        )
        folder.forget_drafts()
        # First: were it to end in between, the next feed would have the same number, and others would see a fork.
        folder.save()
        _replace(out, sealed)
    typer.echo(f"{out}: feed {feed.sequence} of {member}, {len(feed.patterns)} patterns, {feed.digest}")


def _second_detector() -> Callable[[str], bool]:
    """Google's rules for phone numbers, and check digits of cards and national ids, where the extra is installed."""
    try:
        from sluicegate.engines.adapt.data.personal import find  # noqa: PLC0415 - of the extra `prepare`
    except ModuleNotFoundError:
        return lambda _text: False
    return lambda text: bool(find(text))


@app.command("publish")
def publish(
    feed: Annotated[Path, typer.Argument(help="A signed feed, as `export` or `revoke` wrote it.")],
    name: As = None,
    settings: SettingsFile = None,
) -> None:
    """Put a signed feed on the topic of patterns, where the members of the circle read it. Safe to repeat.

    The others take it in with `import --topic`. A circle that hands over files needs no topic.

    Example: sluicegate patterns publish north.feed --as bob
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.feed import open_feed  # noqa: PLC0415 - the same

    loaded, path = _settings(settings)
    actor, content = _actor(name), _read(feed)
    with folders.PatternFolder.opened(path) as folder:
        opened = open_feed(content, folder.circle, folder.today)
        folder.note(
            actor,
            "feed published",
            f"{opened.member} {opened.sequence}",
            digest=opened.digest,
            topic=loaded.topics.patterns,
        )
    publish_feed(loaded, opened.member, content)
    typer.echo(f"{loaded.topics.patterns}: feed {opened.sequence} of {opened.member}, {opened.digest}")


@app.command("import")
def import_(
    feeds: Annotated[list[Path] | None, typer.Argument(help="Feeds of others; none only learns.")] = None,
    topic: Annotated[
        bool,
        typer.Option("--topic", help="Take in what came on the topic of patterns since the last time, too."),
    ] = False,
    learn: Annotated[
        bool,
        typer.Option(
            "--learn/--no-learn",
            help="Read the topics: what people here made of raised posts, and old posts. Without, new patterns are used unseen.",
        ),
    ] = True,
    name: As = None,
    settings: SettingsFile = None,
) -> None:
    """Take in feeds of others, and learn what people here found of the posts that patterns raised.

    A feed is refused if no member signed it, if it is old or expired, or if its member told others something else.
    A pattern that people here confirmed raises as many posts as come; one that they found harmless goes, and its cases
    are listed. Run it every minute. Exit code 1 if a feed was refused.

    Example: sluicegate patterns import inbox/*.feed --as ann

    Example: sluicegate patterns import --topic --as ann
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography

    loaded, path = _settings(settings)
    actor, refused, revoked = _actor(name), 0, list[str]()
    with folders.PatternFolder.opened(path) as folder:
        for file in feeds or ():
            refused += not _take_in(folder, str(file), file.name, _read(file), actor, revoked)
        folder.save()  # what is gone leaves now, also if the topics cannot be read
        if topic:
            offsets = folder.read_up_to(loaded.topics.patterns)
            for record in read_feeds(loaded, offsets):
                place = f"{record.topic} {record.partition} {record.offset}"
                taken = _take_in(folder, place, place, record.value or b"", actor, revoked, again=True)
                refused += not taken
                offsets[record.partition] = record.offset + 1
            folder.note_read(loaded.topics.patterns, offsets)
            folder.save()
        if learn:
            _look_back(loaded, folder, actor)
            _learn(loaded, folder, actor)
        # The others wait for their key: nobody can look at them without it.
        folder.admit([one.pattern.id for one in folder.known() if _key(folder, one) is not None])
        if fewer := folder.save():
            typer.echo(
                f"{fewer} patterns have a value that stands in more than {folders.MOST_OWNERS} of their member, "
                "and are compared without it",
                err=True,
            )
        if revoked:
            raised = read_raised(loaded)
            for pattern in sorted(revoked):
                _show_cases(pattern, raised.get(pattern, RaisedCases()))
    if refused:
        raise typer.Exit(1)


def _take_in(
    folder: Any, place: str, name: str, content: bytes, actor: str, revoked: list[str], *, again: bool = False
) -> bool:
    """Take a feed in, and tell of it; False if it was refused.

    Args:
        folder: The :class:`PatternFolder`, a class that loads cryptography: no help text needs that.
        place: Where it stands, for people.
        name: The same, for the journal.
        content: The feed.
        actor: Who takes it in.
        revoked: Gets the ids that it revokes.
        again: True where the newest one may well come again, as one's own does on a topic.
    """
    from sluicegate.pipeline.patterns.feed import KnownFeedError  # noqa: PLC0415 - loads cryptography

    try:
        feed, new, gone, gap = folder.take(content)
    except PatternError as error:
        if again and isinstance(error, KnownFeedError):
            return True
        folder.note(actor, "feed refused", name, why=str(error))
        typer.echo(f"{place}: refused: {error}", err=True)
        return False
    folder.note(
        actor,
        "feed taken in",
        f"{feed.member} {feed.sequence}",
        digest=feed.digest,
        new=len(new),
        gone=gone,
        gap=gap,
    )
    typer.echo(
        f"{place}: feed {feed.sequence} of {feed.member}: {len(new)} new patterns, {len(gone)} gone"
        + ("" if gap is None else f"; {gap}")
    )
    revoked += {one.id for one in feed.revoked} & set(gone)
    return True


def _look_back(settings: Settings, folder: Any, actor: str) -> None:
    """Put away new patterns that match what was here before the flood, or what people here found safe.

    Args:
        settings: The institution's.
        folder: Its :class:`PatternFolder`.
        actor: Who took them in.
    """
    new: dict[str, list[Any]] = {}
    for one in folder.known():
        if one.fresh and one.standing in {"seed", "confirmed"} and _key(folder, one) is not None:
            new.setdefault(one.pattern.key, []).append((one.pattern, one.fresh))
    if not new:
        return
    history = read_history(settings, k=folder.circle.k)
    for name, patterns in new.items():
        key = folder.circle.key(name, folder.today)
        found = suspicions(
            patterns, key, copies=history.copies, harmless=history.harmless, others=history.others
        )
        for pattern, why in found.items():
            folder.judge(pattern, "poisoned", by=actor, why=why)
            typer.echo(f"{pattern}: not used: it {why}", err=True)


def _key(folder: Any, known: Any) -> Any:
    """The key that the values of a pattern are hashed with; None where it is not here yet, or has expired."""
    return folder.circle.key(known.pattern.key, folder.today)


def _learn(settings: Settings, folder: Any, actor: str) -> None:
    """Confirm or refuse patterns by what people here decided on the posts that they raised."""
    raised, history = read_raised(settings), None
    for known in folder.known():
        pattern = known.pattern
        cases = raised.get(pattern.id, RaisedCases())
        harmful, safe = len(cases.harmful), len(cases.safe)
        standing = learnt(known.standing, harmful=harmful, safe=safe)
        why = f"people here found {harmful} of its posts harmful, {safe} safe"
        if standing == "confirmed":
            if known.harmful and harmful < 2 * known.harmful:
                continue  # little more is known than before
            key = _key(folder, known)
            if key is None or harmful == 0:
                continue
            history = history or read_history(settings, k=folder.circle.k)
            values = seen_here(pattern, key, history.copies, history.harmless)
            if not values:
                standing, why = "seed", f"{why}, and these have too little of it in common"
            folder.judge(pattern.id, standing, by=actor, why=why, confirmed=values, harmful=harmful)
            typer.echo(f"{pattern.id}: {standing}: {why}")
        elif standing != known.standing:
            folder.judge(pattern.id, standing, by=actor, why=why)
            typer.echo(f"{pattern.id}: {standing}: {why}", err=True)
            _show_cases(pattern.id, cases)


@app.command("list")
def list_(
    cases: Annotated[
        bool,
        typer.Option("--cases", help="Read the topics: how many posts each raised, and what became of them."),
    ] = False,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Print every pattern that has not expired: whose it is, and what it is worth here.

    Example: sluicegate patterns list --cases
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography

    loaded, path = _settings(settings)
    with folders.PatternFolder.opened(path) as folder:
        known = folder.known()
    raised = read_raised(loaded) if cases else {}
    for one in known:
        its = raised.get(one.pattern.id, RaisedCases())
        told = {"harmful": len(its.harmful), "safe": len(its.safe), "open": len(its.open)} if cases else {}
        if as_json:
            document = one.pattern.model_dump(mode="json", exclude={"values"})
            document |= {"member": one.member, "standing": one.standing, "why": one.why, **told}
            typer.echo(orjson.dumps(document).decode())
        else:
            counts = ", ".join(f"{count} {what}" for what, count in told.items())
            typer.echo(
                f"{one.pattern.id}  {one.standing:9}  {one.member}  {neutral(one.pattern.category, 40)}  about "
                f"{one.pattern.authors} authors  {one.pattern.first_week} to {one.pattern.last_week}  "
                f"until {one.pattern.expires_on}"
                + (f"  ({one.why})" if one.why else "")
                + (f"  {counts}" if counts else "")
            )
    if not known and not as_json:
        typer.echo("no patterns; `sluicegate patterns import FEED` takes some in")


@app.command("revoke")
def revoke(
    pattern: Annotated[str, typer.Argument(help="Id of the pattern, as `list` shows it.")],
    reason: Reason,
    out: Annotated[
        Path | None, typer.Option("--out", help="For a pattern of yours: the new feed, for the others.")
    ] = None,
    signing_key: SigningKeyFile = None,
    name: As = None,
    settings: SettingsFile = None,
) -> None:
    """Take a pattern out of use at once, and list the posts that it raised. Workers follow within two seconds.

    A pattern of others goes here alone. Of one of yours everybody is told: give --signing-key and --out.

    Example: sluicegate patterns revoke 9f2c41d07a8b6e35 --reason "it matches a birthday greeting"
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.feed import seal  # noqa: PLC0415 - the same
    from sluicegate.pipeline.patterns.sharing import next_feed  # noqa: PLC0415 - the same

    require_reason(reason)
    loaded, path = _settings(settings)
    actor = _actor(name)
    with folders.PatternFolder.opened(path) as folder:
        known = next((one for one in folder.known() if one.pattern.id == pattern), None)
        if known is None:
            typer.echo("no such pattern; `sluicegate patterns list` shows which there are", err=True)
            raise typer.Exit(1)
        folder.judge(pattern, "revoked", by=actor, why=reason)
        folder.remember(pattern, own=signing_key is not None and out is not None)
        folder.save()  # it leaves also if the key does not sign
        if signing_key is not None and out is not None:
            feed = next_feed(
                folder.circle,
                known.member,
                folder.feed(known.member),
                (),
                chance=random.SystemRandom(),
                now=datetime.now(UTC),
                revoked=(Revocation(id=pattern, on=folder.today, why=reason),),
            )
            sealed = seal(feed, signing_key.read_bytes())
            folder.take(sealed)
            folder.note(
                actor, "feed signed", f"{known.member} {feed.sequence}", digest=feed.digest, revoked=[pattern]
            )
            folder.save()
            _replace(out, sealed)
            typer.echo(f"{out}: feed {feed.sequence} of {known.member}, without {pattern}")
    typer.echo(f"{pattern}: revoked; workers of yours follow within two seconds")
    _show_cases(pattern, read_raised(loaded).get(pattern, RaisedCases()))


@app.command("verify")
def verify(
    feeds: Annotated[
        list[Path] | None, typer.Argument(help="Feeds to look at; none looks at the folder.")
    ] = None,
    settings: SettingsFile = None,
) -> None:
    """Say of feeds whether they would be taken in, and change nothing; of the folder, which feeds it has.

    Compare the digests with another member: two of one number and member that differ are a fork.

    Example: sluicegate patterns verify inbox/*.feed
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.feed import open_feed, require_newer  # noqa: PLC0415 - the same

    _, path = _settings(settings)
    refused = 0
    with folders.PatternFolder.opened(path) as folder:
        for file in feeds or ():
            try:
                feed = open_feed(_read(file), folder.circle, folder.today)
                gap = require_newer(feed, folder.heads.get(feed.member))
            except PatternError as error:
                refused += 1
                typer.echo(f"{file}: would be refused: {error}", err=True)
            else:
                typer.echo(
                    f"{file}: good: feed {feed.sequence} of {feed.member}, {len(feed.patterns)} patterns, {feed.digest}"
                    + ("" if gap is None else f"; {gap}")
                )
        if not feeds:
            for key in folder.circle.keys:
                left = (key.last_day - folder.today).days
                typer.echo(
                    f"circle {folder.circle.name}: key {key.id}, "
                    + (f"{left} days left" if left >= 0 else "expired")
                )
            for member, head in sorted(folder.heads.items()):
                typer.echo(f"{member}: feed {head.sequence}, {head.digest}")
    if refused:
        raise typer.Exit(1)


@app.command("risk")
def risk(
    sample: Annotated[
        int, typer.Option(min=1, help="Posts that are left out in turn, to see what their presence changes.")
    ] = 200,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Measure on your own data what others could guess from your patterns. Nothing leaves, and nothing is changed.

    An outsider has the feed and knows how it is made. A member has the circle's key, too. Both are given the texts of the
    flood but for what they want to know.

    Example: sluicegate patterns risk
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.risk import measure_risk  # noqa: PLC0415 - only this command needs it

    loaded, path = _settings(settings)
    with folders.PatternFolder.opened(path) as folder:
        circle_, today = folder.circle, folder.today
    history = read_history(loaded, k=circle_.k)
    found = measure_risk(
        history.copies,
        k=circle_.k,
        vocabulary=history.vocabulary,
        harmless=history.harmless,
        others=history.others,
        secret=circle_.newest_key(today).value,
        most=sample,
    )
    if as_json:
        typer.echo(orjson.dumps(asdict(found)).decode())
        return
    typer.echo(f"{found.patterns} patterns of {found.copies:,} confirmed posts")
    typer.echo(f"an outsider can tell {found.outsider} of these posts from other texts")
    typer.echo(
        f"a member can tell what was masked in {found.told} of {found.personal:,} posts in which something was masked"
    )
    typer.echo(
        f"a member can confirm guesses of two neighbouring words that {circle_.k} authors wrote: {found.pairs:.1f} in a pattern"
    )
    typer.echo(
        f"a member who knows a post guesses whether it was counted with an advantage of {found.advantage:.3f} over a coin "
        f"({found.tried} posts left out in turn)"
    )


@app.command("convert")
def convert(
    feed: Annotated[Path, typer.Argument(help="A feed that is good today.")],
    to: Annotated[OtherFormat, typer.Option("--to", help="The other format.")],
    settings: SettingsFile = None,
) -> None:
    """Print a feed as STIX 2.1 or MISP, for other tools. The signature stays behind: check it with `verify` before.

    Example: sluicegate patterns convert north.feed --to stix
    """
    from sluicegate.pipeline.patterns import folder as folders  # noqa: PLC0415 - loads cryptography
    from sluicegate.pipeline.patterns.feed import open_feed  # noqa: PLC0415 - the same
    from sluicegate.pipeline.patterns.formats import misp, stix  # noqa: PLC0415 - only this command needs it

    _, path = _settings(settings)
    with folders.PatternFolder.opened(path) as folder:
        opened = open_feed(_read(feed), folder.circle, folder.today)
    made = stix(opened) if to is OtherFormat.STIX else misp(opened)
    typer.echo(orjson.dumps(made, option=orjson.OPT_INDENT_2).decode())


def _read(feed: Path) -> bytes:
    """A feed, or the beginning of one that is too large: it is refused as that.

    Raises:
        PatternError: It cannot be read.
    """
    try:
        with feed.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PatternError(f"{feed}: cannot be read ({error.strerror}); name a feed that is there") from error


def _show_cases(pattern: str, cases: RaisedCases) -> None:
    """List the posts that a pattern raised, so that people can look at them again."""
    typer.echo(
        f"{pattern}: {len(cases.verdicts)} posts raised: {len(cases.harmful)} found harmful, {len(cases.safe)} found safe, "
        f"{len(cases.open)} open"
    )
    for said, verdicts in (("harmful", cases.harmful), ("safe", cases.safe), ("open", cases.open)):
        for verdict in verdicts:
            typer.echo(_case(said, verdict))


def _case(said: str, verdict: Verdict) -> str:
    when = verdict.judged_at.isoformat(timespec="seconds")
    return f"  {said:7}  {when}  {neutral(verdict.tenant, 64)}  {neutral(verdict.post_id, 256)}  {verdict.verdict_id}"


def _settings(path: Path | None) -> tuple[Settings, Path]:
    """The settings, and the folder of patterns.

    Raises:
        PatternError: No folder is set.
    """
    loaded = load_settings(path)
    _require_extra()
    if loaded.patterns.path is None:
        raise PatternError(
            "patterns.path is not set; set it to the folder with the circle's file, and patterns.tenants to who opted in"
        )
    return loaded, loaded.patterns.path


def _require_extra() -> None:
    try:
        import cryptography  # noqa: F401, PLC0415 - asked whether it is there
    except ModuleNotFoundError as error:
        raise PatternError(
            "feeds are signed by the library cryptography; install sluicegate with the extra: pip install 'sluicegate[patterns]'"
        ) from error


def _actor(name: str | None) -> str:
    if name is None:
        return who()
    if not name.strip() or neutral(name, LINE) != name:
        raise typer.BadParameter(f"1 to {LINE} printable characters on one line", param_hint="--as")
    return name


def _write_new(path: Path, content: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise PatternError(f"{path} is there already; name another file, or move it away") from None
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    _write_new(path, content)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
