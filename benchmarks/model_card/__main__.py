"""The model card of the shipped adapter, made from the reports."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a folder, it would be that folder

from model_card.study import main  # noqa: E402 - the path first

sys.exit(main(sys.argv[1:]))
