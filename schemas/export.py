"""The contract as files: a JSON Schema per event and one AsyncAPI document, generated from the models.

``python -m sluicegate.schemas.export`` writes them, with ``--check`` it only compares and
exits with 1 where a committed file is not what the models say.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sluicegate.schemas._fields import Event
from sluicegate.schemas.codec import POST_BYTES
from sluicegate.schemas.deadletter import DeadLetter
from sluicegate.schemas.feedback import FEEDBACK_VERSION, Feedback
from sluicegate.schemas.post import Post
from sluicegate.schemas.resolution import RESOLUTION_VERSION, Resolution
from sluicegate.schemas.verdict import SCHEMA_VERSION, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


FOLDER = Path(__file__).parent
"""Where the committed files stand."""

TOPICS: dict[str, tuple[str, str | None, str]] = {
    "posts": ("posts", "post", "Posts in: one record per post or edit."),
    "allow": ("verdicts.allow", "verdict", "Verdicts whose action is allow."),
    "review": ("verdicts.review", "verdict", "Verdicts whose action is review."),
    "block": ("verdicts.block", "verdict", "Verdicts whose action is block."),
    "resolutions": ("resolutions", "resolution", "What people decided: each supersedes a verdict."),
    "feedback": ("feedback", "feedback", "Posts with what a person found: rows to learn from."),
    "shadow": ("verdicts.shadow", "verdict", "A candidate's verdicts. Nobody acts on them."),
    "comparisons": ("comparisons", None, "What a candidate and the incumbent judged differently."),
    "candidates": ("candidates", None, "Signed facts about candidates; nothing is compacted away."),
    "dead_letter": ("posts.deadletter", "dead_letter", "Records that can never be judged."),
    "control": (
        "sluicegate.control",
        None,
        "State that outlives a process; compacted: replays, trips of breakers, screens switched off.",
    ),
}
"""Each channel's default topic, its event and what it is for. The names are settings of the worker."""

_EVENTS: dict[str, type[Event]] = {
    "post": Post,
    "verdict": Verdict,
    "dead_letter": DeadLetter,
    "feedback": Feedback,
    "resolution": Resolution,
}
_RECEIVED = ("post", "feedback")
CONTRACT_VERSION = "1.1"
"""Of all events together: the newest of their versions."""
_VERSIONS = {"feedback": FEEDBACK_VERSION, "resolution": RESOLUTION_VERSION}
"""Of the events whose shape has changed since the first version, or that are newer."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BINDING = "0.5.0"  # of AsyncAPI's Kafka bindings

_TEXT = {"type": "string"}
_TRACE = {
    "traceparent": {
        **_TEXT,
        "description": "W3C trace context. What answers the post carries it on if it has at most 512 bytes.",
    },
    "tracestate": {**_TEXT, "description": "As traceparent."},
}
_CARRIED = {
    "traceparent": {
        **_TEXT,
        "maxLength": 512,
        "description": "W3C trace context, handed on from the record on the input topic; absent if it was longer.",
    },
    "tracestate": {**_TEXT, "maxLength": 512, "description": "As traceparent."},
}
_VERSIONED: dict[str, dict[str, Any]] = {
    "schema-version": {**_TEXT, "description": "Major and minor version of the payload's schema."},
    "content-type": {"const": "application/json"},
}
_COMMON = {**_VERSIONED, **_CARRIED}
_HEADERS: dict[str, dict[str, dict[str, Any]]] = {
    "post": {
        **_TRACE,
        "sluicegate-replayed-from": {
            **_TEXT,
            "format": "uuid",
            "description": "On a record that `sluicegate deadletter replay` sent: the dead letter it was.",
        },
        "sluicegate-tries": {
            **_TEXT,
            "description": "The same: which try this is, in decimal digits, from 2 on.",
        },
        "sluicegate-first-rejected": {
            **_TEXT,
            "format": "date-time",
            "description": "The same: when the record was rejected for the first time.",
        },
    },
    "verdict": {
        "verdict-id": {
            **_TEXT,
            "format": "uuid",
            "description": "As in the payload: skip repeats without parsing.",
        },
        **_COMMON,
    },
    "dead_letter": {
        "dead-letter-id": {**_TEXT, "format": "uuid", "description": "As in the payload."},
        **_COMMON,
    },
    "resolution": {
        "resolution-id": {
            **_TEXT,
            "format": "uuid",
            "description": "As in the payload: skip repeats without parsing.",
        },
        **_VERSIONED,
    },
    "feedback": {
        "feedback-id": {**_TEXT, "format": "uuid", "description": "The same where the record comes again."},
        **_VERSIONED,
    },
}
_SIZES = {
    "post": f"The value has at most {POST_BYTES} bytes, unless the worker's `limits.post_bytes` says otherwise: "
    "a larger one becomes a dead letter. Key and headers do not count.",
}
_KEYS = {
    "post": "The post's id: keeps all revisions of one post in one partition.",
    "verdict": "The post's id.",
    "dead_letter": "The rejected record's own key, if it had one.",
    "resolution": "The post's id.",
    "feedback": "The post's id.",
}


def json_schema(name: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of the event ``post``, ``verdict``, ``dead_letter``, ``feedback`` or ``resolution``.

    Of posts and feedback it says what is accepted, of the others what is emitted.
    """
    mode: Any = "validation" if name in _RECEIVED else "serialization"
    return {
        "$schema": _DIALECT,
        "$id": f"urn:sluicegate:schema:{name}:{_VERSIONS.get(name, SCHEMA_VERSION)}",
        **_EVENTS[name].model_json_schema(mode=mode),
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document: what a worker receives and sends, on which topics, with which headers."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sluicegate",
            "version": CONTRACT_VERSION,
            "description": "Posts in, verdicts out. The promises behind these channels are in docs/contract.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {channel: _channel(*facts) for channel, facts in TOPICS.items()},
        "operations": {
            "receive_post": _operation(
                "receive", "posts", "A worker takes posts from where its group left off."
            ),
            "send_allow": _operation("send", "allow", "The post may stand."),
            "send_review": _operation("send", "review", "A person should look."),
            "send_block": _operation("send", "block", "The post should not stand."),
            "send_dead_letter": _operation("send", "dead_letter", "The record could not be judged, ever."),
            "send_resolution": _operation(
                "send", "resolutions", "A person decided: it supersedes a verdict."
            ),
            "send_feedback": _operation("send", "feedback", "What the person found, to learn from."),
        },
        "components": {"messages": {name: _message(name) for name in _KEYS}},
    }


def generate() -> dict[str, bytes]:
    """Every generated file: path relative to the folder of this module, to content. Pure."""
    files = {f"json/{name}.json": _json(json_schema(name)) for name in _EVENTS}
    document = yaml.dump(asyncapi(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    files["asyncapi.yaml"] = f"# Generated by `python -m sluicegate.schemas.export`.\n{document}".encode()
    return files


def write(folder: Path = FOLDER) -> None:
    """Write every generated file below ``folder``."""
    for name, content in generate().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def drift(folder: Path = FOLDER) -> list[str]:
    """Names of the files below ``folder`` that are missing, differ, or that nothing generates; sorted."""
    files = generate()
    wrong = [name for name, content in files.items() if not _holds(folder / name, content)]
    stray = {f"json/{path.name}" for path in (folder / "json").glob("*")} - files.keys()
    return sorted([*wrong, *stray])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them; the exit code says whether they are current."""
    parser = argparse.ArgumentParser(prog="python -m sluicegate.schemas.export", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 where a file differs"
    )
    if parser.parse_args(arguments).check:
        differing = drift()
        for name in differing:
            print(f"schemas/{name} differs from the models: run `make schemas`", file=sys.stderr)  # noqa: T201 - a command
        return 1 if differing else 0
    write()
    return 0


class _Plain(yaml.SafeDumper):
    """Writes a part that is used twice in full, twice: anchors are YAML's own and hard to read."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _channel(address: str, event: str | None, description: str) -> dict[str, Any]:
    messages = {event: {"$ref": f"#/components/messages/{event}"}} if event else {}
    return {
        "address": address,
        "description": description,
        "messages": messages,
        "bindings": {"kafka": {"topic": address, "bindingVersion": _BINDING}},
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    event = TOPICS[channel][1]
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{event}"}],
    }


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        **({"description": _SIZES[name]} if name in _SIZES else {}),
        "contentType": "application/json",
        "headers": {"type": "object", "properties": _HEADERS[name]},
        "payload": {
            "schemaFormat": "application/schema+json;version=draft-2020-12",
            "schema": {"$ref": f"./json/{name}.json"},
        },
        "bindings": {"kafka": {"key": {**_TEXT, "description": _KEYS[name]}, "bindingVersion": _BINDING}},
    }


def _json(document: dict[str, Any]) -> bytes:
    return f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode()


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


if __name__ == "__main__":
    raise SystemExit(main())
