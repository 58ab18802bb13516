"""Simulated posts a second of one H100, for both layouts, with and without reuse. No GPU is used."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "tests"))

from h100_table.study import main  # noqa: E402 - the path first

sys.exit(main())
