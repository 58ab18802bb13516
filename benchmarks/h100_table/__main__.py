"""Simulated posts a second of one H100, for both layouts, with and without reuse. No GPU is used."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(
    Path(__file__).resolve().parents[1]
)  # run as a folder, this file has only its own on the path

from h100_table.study import main  # noqa: E402

sys.exit(main())
