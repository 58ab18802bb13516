"""Does one harmful sentence raise the same verdict wherever it stands in a long text?"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.long_posts.study import main  # noqa: E402 - the path first

main()
