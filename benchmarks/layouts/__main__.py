"""What is asked of the engine for one post: two layouts, three ways, the engine's own counts, and what is found."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder

from layouts.study import main  # noqa: E402 - the path first

sys.exit(main())
