"""Prompt layouts: which text of ours stands around a post."""

from sluicegate.engines.layouts.layout import (
    CompactLayout,
    Content,
    Hint,
    Layout,
    Piece,
    Static,
)
from sluicegate.engines.layouts.vendor import (
    VendorLayout,
    split_template,
)

__all__ = ["CompactLayout", "Content", "Hint", "Layout", "Piece", "Static", "VendorLayout", "split_template"]
