"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="YAML file of settings; the environment overrides it.",
        envvar="SLUICEGATE_SETTINGS",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")]
