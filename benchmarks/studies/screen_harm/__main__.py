"""The shipped screen before the engine: what it answers, what that changes, and what it saves, over the tolerance."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.screen_harm.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
