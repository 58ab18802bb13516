"""As much of a tensor as our code touches, over numpy: a stand-in for torch where torch is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np


class Tensor:
    """Rows of numbers. Whatever else torch can do, our code has no business with."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    def __getitem__(self, index: int | list[int]) -> Tensor:
        return Tensor(self.values[index])

    def float(self) -> Tensor:
        return Tensor(self.values.astype(np.float32))

    def logsumexp(self, dim: int) -> Tensor:
        top = self.values.max(axis=dim, keepdims=True)
        return Tensor(np.log(np.exp(self.values - top).sum(axis=dim)) + top.squeeze(axis=dim))

    def item(self) -> Any:
        return self.values.item()

    def tolist(self) -> list[Any]:
        listed: list[Any] = self.values.tolist()
        return listed
