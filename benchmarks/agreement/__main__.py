"""Do an exported bundle and the adapter it was made of say the same?"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder

from agreement.study import main  # noqa: E402 - the path first

main()
