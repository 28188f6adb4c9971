"""Pictures for functions that want pictures: as they were given, channels last, or each of its own size.

The engine moves one tensor [N, channels, height, width]. Pictures of several sizes lie in its upper left corner; beyond
them their last row and column are repeated, which belongs to nobody and is cut off before the function sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..records.errors import InputError

SIZES = "sizes"
"""The name of the tensor ``Int[N, 2]`` with each picture's height and width, where they differ."""
CHANNELS = (1, 3, 4)
MODES = ("L", "RGB", "RGBA")


@dataclass(frozen=True)
class ImageRows:
    """How a function takes its pictures.

    Attributes
    ----------
    form: one array, a list of arrays, or a list of PIL images.
    axis: where a picture ``[…]`` has its channels: 0, 2, or None where it is height × width.
    dtype: what its numbers are; whole ones are rounded and kept in their range.
    """

    form: Literal["array", "list", "pil"]
    axis: int | None
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, rows: Any) -> ImageRows | None:
        """How these rows lie; None where they are no pictures, or lie the way networks take them."""
        if isinstance(rows, (list, tuple)) and rows and all(map(_is_pil, rows)):
            modes = sorted({row.mode for row in rows})
            if len(modes) > 1 or modes[0] not in MODES:
                raise InputError(f"the pictures are {', '.join(modes)}", fix='make them alike: image.convert("RGB")')
            return cls("pil", None if modes == ["L"] else 2, np.dtype(np.uint8))
        shapes = {row.shape for row in rows} if _is_list(rows) else set()
        if len(shapes) == 1 or isinstance(rows, np.ndarray):
            whole = rows if isinstance(rows, np.ndarray) else np.stack(rows)
            last = whole.ndim == 4 and whole.shape[3] in CHANNELS and whole.shape[1] not in CHANNELS
            return cls("array", 2, whole.dtype) if last and whole.dtype.kind in "iuf" else None
        if not shapes or len({len(shape) for shape in shapes}) > 1 or rows[0].dtype.kind not in "iuf":
            return None
        if rows[0].ndim == 2:  # other numbers than bytes may be series as well
            return cls("list", None, rows[0].dtype) if rows[0].dtype == np.uint8 else None
        axes = [
            axis for axis in (2, 0) if len({shape[axis] for shape in shapes}) == 1 and rows[0].shape[axis] in CHANNELS
        ]
        return cls("list", axes[0], rows[0].dtype) if axes else None

    def encode(self, rows: Sequence[Any]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Pictures as ``Float[N, C, H, W]``, sizes ``Int[N, 2]`` where they differ, and ``[N, H, W, C]`` to show."""
        pictures = [self._turned(np.asarray(row)) for row in rows]
        sizes = np.array([picture.shape[1:] for picture in pictures])
        high, wide = sizes.max(0)
        kind = np.float64 if self.dtype in (np.float64, np.int64, np.int32, np.uint32, np.uint64) else np.float32
        edges = [((0, 0), (0, high - height), (0, wide - width)) for height, width in sizes.tolist()]
        parts = list(zip(pictures, edges, strict=True))
        shown = np.stack([np.pad(part, edge, constant_values=_white(part)) for part, edge in parts])
        tensor = np.stack([np.pad(part, edge, mode="edge") for part, edge in parts]).astype(kind)
        return tensor, sizes if len({*map(tuple, sizes.tolist())}) > 1 else None, shown.transpose(0, 2, 3, 1)

    def decode(self, tensor: np.ndarray, sizes: np.ndarray | None) -> Any:
        """What the function is given for ``[b, C, H, W]``."""
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            tensor = np.clip(np.rint(tensor), limits.min, limits.max)
        tensor = tensor.astype(self.dtype)
        if self.form == "array":
            return np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
        if sizes is not None:
            cut = [picture[:, :height, :width] for picture, (height, width) in zip(tensor, sizes.tolist(), strict=True)]
        else:
            cut = list(tensor)
        pictures = [np.ascontiguousarray(self._returned(picture)) for picture in cut]
        if self.form == "list":
            return pictures
        from PIL import Image

        return [Image.fromarray(picture) for picture in pictures]

    def _turned(self, picture: np.ndarray) -> np.ndarray:
        return picture[None] if self.axis is None else np.moveaxis(picture, self.axis, 0)

    def _returned(self, picture: np.ndarray) -> np.ndarray:
        return picture[0] if self.axis is None else np.moveaxis(picture, 0, self.axis)


def _white(picture: np.ndarray) -> Any:
    return np.iinfo(picture.dtype).max if picture.dtype.kind in "iu" else picture.max(initial=1.0)


def _is_pil(row: Any) -> bool:
    return hasattr(row, "mode") and hasattr(row, "getbands")


def _is_list(rows: Any) -> bool:
    """Whether rows are a list of arrays; a tuple of them would be several inputs."""
    return (
        isinstance(rows, list)
        and bool(rows)
        and all(isinstance(row, np.ndarray) and row.ndim in (2, 3) for row in rows)
    )
