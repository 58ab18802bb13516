"""Leave sources out: how well adapter and baseline judge a source that neither has seen."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.transfer.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
