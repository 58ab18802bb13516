"""The figures of docs/shortcuts.md, from the reports."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder

from asking_less.study import main  # noqa: E402 - the path first

sys.exit(main())
