"""Do low bars of categories stop harmful texts whose likeliest severity is safe? Before and after, in one run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.category_bars.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
