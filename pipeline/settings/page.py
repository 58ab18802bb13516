"""The page ``docs/settings.md``, made from the settings themselves. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args, get_origin

import orjson
from pydantic import BaseModel

from sluicegate.pipeline.settings.reasons import REASONS, UNITS
from sluicegate.pipeline.settings.tree import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A number's unit is the end of its name.
_UNITS = {"_s": "seconds", "_ms": "milliseconds", "bytes": "bytes", "tokens": "tokens", "posts": "posts"}
_INTRODUCTION = """\
# Settings

Made by `sluicegate settings docs`; do not edit by hand.

Settings come from their defaults, then from a YAML file (`--settings FILE` or `SLUICEGATE_SETTINGS`), then
from the environment: the later wins. In the file a setting is a key of its section; in the environment it
is `SLUICEGATE_` and its name in capitals, with two underscores for the dot:

```yaml
kafka:
  group: sluicegate-eu
```

```sh
export SLUICEGATE_KAFKA__GROUP=sluicegate-eu
```

An unknown key, a value out of range, or two settings that cannot both hold are refused at the start, with
their names and a pair that works. `sluicegate settings show` prints every value and where it comes from;
secrets are shown as stars."""


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """What the page says of one setting."""

    section: str
    name: str
    unit: str
    allowed: str
    default: str
    meaning: str
    reason: str
    """Why the default is what it is."""


def setting_entries() -> Iterator[SettingEntry]:
    """Every setting, in the order of the settings tree.

    Raises:
        KeyError: A setting without a reason for its default.
    """
    for section, kind in _sections():
        properties = kind.model_json_schema()["properties"]
        for name, field in kind.model_fields.items():
            if _section_in(field.annotation) is not None:
                continue
            dotted = f"{section}.{name}"
            yield SettingEntry(
                section=section,
                name=dotted,
                unit=UNITS.get(dotted) or _unit(name, properties[name]),
                allowed=_allowed(properties[name]),
                default=_shown(field.get_default(call_default_factory=True)),
                meaning=field.description or "",
                reason=REASONS[dotted],
            )


def settings_page() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION]
    entries = list(setting_entries())
    for section, kind in _sections():
        purpose = _plain(" ".join((kind.__doc__ or "").split()).replace("``", "`"))
        parts.append(f"\n## {section}\n\n{purpose}\n")
        parts += [_entry(entry) for entry in entries if entry.section == section]
    return "\n".join(parts) + "\n"


def _entry(entry: SettingEntry) -> str:
    facts = "; ".join(fact for fact in (f"default {entry.default}", entry.unit, entry.allowed) if fact)
    return f"- **`{entry.name}`** ({facts}). {_plain(entry.meaning)}\n  *Why:* {entry.reason}"


def _plain(text: str) -> str:
    """A star in a description stands for itself."""
    return text.replace("*", "\\*")


def _sections(within: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section, each before those inside it; one that holds for a name of the user's has ``NAME`` for it."""
    for name, field in within.model_fields.items():
        if (kind := _section_in(field.annotation)) is not None:
            path = prefix + name + ("" if kind is field.annotation else ".NAME")
            yield path, kind
            yield from _sections(kind, f"{path}.")


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, or holds by name; None for a setting."""
    held = get_args(annotation)[-1] if get_origin(annotation) is dict else annotation
    return held if isinstance(held, type) and issubclass(held, BaseModel) else None


def _unit(name: str, schema: dict[str, Any]) -> str:
    if _rule(schema).get("type") not in ("integer", "number"):
        return ""
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _allowed(schema: dict[str, Any]) -> str:
    """The range or the choices that the setting's JSON Schema tells."""
    rule = _rule(schema)
    if "enum" in rule:
        return f"one of {', '.join(f'`{one}`' for one in rule['enum'])}"
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to"}
    return " ".join(f"{word} {rule[key]:,}" for key, word in words.items() if key in rule)


def _rule(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is not null."""
    (rule,) = (one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
    return dict(rule)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"`{value if isinstance(value, str) else orjson.dumps(value, default=str).decode()}`"
