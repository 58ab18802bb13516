"""Does a disguise change the verdict? Near copies in a stream against their originals, with folded forms and without."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # run as a folder, it would be that folder

from studies.evasion.study import main  # noqa: E402 - the path first

main()
