"""How raw images, as they lie in a file, become the numbers that one network eats, and back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..records.errors import EncodingError, NotFiniteError
from ..records.files import read_json, write_json
from .cells import rows_named
from .dataset import Dataset


@dataclass(frozen=True)
class ImageEncoding:
    """``(raw * scale - mean) / std`` per channel, channels first.

    Attributes
    ----------
    shape: of one raw image: ``(H, W)``, ``(H, W, C)``, or ``(C, H, W)`` with ``channels_first``.
    scale: what a raw value is multiplied by first; 1/255 brings bytes to 0…1.
    mean, std: one number per channel, or one for all, in the scaled unit.
    channels_first: how the *raw* images lie; the network always gets ``[N, C, H, W]``.
    """

    shape: tuple[int, ...]
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channels_first: bool = False

    def __post_init__(self) -> None:
        for name in ("shape", "mean", "std"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, (tuple, list)) else (value,))
        if len(self.shape) not in (2, 3):
            raise EncodingError(f"an image has the shape (H, W) or (H, W, C), not {self.shape}")
        if any(spread <= 0 for spread in self.std) or self.scale <= 0:
            raise EncodingError("scale and std must be above 0")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise EncodingError(f"{name} has {len(getattr(self, name))} numbers for {self.channels} channels")

    @property
    def channels(self) -> int:
        if len(self.shape) == 2:
            return 1
        return self.shape[0] if self.channels_first else self.shape[2]

    @property
    def model_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``, the shape of one encoded image."""
        height, width = self.shape[1:] if len(self.shape) == 3 and self.channels_first else self.shape[:2]
        return self.channels, height, width

    @property
    def width(self) -> int:
        """D = C·H·W, how many numbers the network gets."""
        return int(np.prod(self.model_shape))

    @property
    def groups(self) -> dict[str, list[int]]:
        """The one raw column ``image`` → all input elements; regions and patches are players of their own."""
        return {"image": list(range(self.width))}

    @property
    def types(self) -> dict[str, str]:
        return {"image": "image"}

    def takes_arrays(self, images: Any) -> bool:
        """Whether arrays are raw images, to be encoded, and not what the network eats already.

        Lists, bytes and arrays are raw; a tensor of floats, or an array that has the encoded shape and not
        the raw one, is not.
        """
        if isinstance(images, (list, tuple)):
            return True
        shape = tuple(images.shape[1:])
        floats = not isinstance(images, np.ndarray) and images.is_floating_point()
        return not floats and (shape == self.shape or shape != self.model_shape)

    def encode(self, images: Any) -> np.ndarray:
        """Raw images ``[N, *shape]`` as ``Float32[N, C, H, W]``; a Dataset of images will do, too.

        Raises EncodingError for another shape, NotFiniteError for NaN or infinity.
        """
        raw = images.array if isinstance(images, Dataset) else np.asarray(images)
        if raw.shape[1:] != self.shape:
            hint = "add the leading axis: image[None]" if raw.shape == self.shape else "give raw images of that shape"
            expected = ["N", *self.shape]
            raise EncodingError(f"expected raw images {expected}, got {list(raw.shape)}".replace("'", ""), fix=hint)
        if raw.dtype.kind not in "biuf":
            raise EncodingError(f"raw images are numbers, not {raw.dtype}")
        scaled = self._model_order(raw.astype(np.float32)) * np.float32(self.scale)
        out = (scaled - self._channel(self.mean)) / self._channel(self.std)
        wild = ~np.isfinite(out).reshape(len(out), -1).all(axis=1)
        if wild.any():
            rows = np.flatnonzero(wild)
            raise NotFiniteError(f"{len(rows)} images hold NaN or infinity ({rows_named(rows)})", fix="drop them")
        return np.ascontiguousarray(out, dtype=np.float32)

    def decode(self, array: np.ndarray) -> np.ndarray:
        """Encoded images ``[N, C, H, W]`` as raw ones ``Float32[N, *shape]``, in raw units."""
        array = np.asarray(array, dtype=np.float32)
        if array.shape[1:] != self.model_shape:
            expected = ["N", *self.model_shape]
            raise EncodingError(f"expected encoded images {expected}, got {list(array.shape)}".replace("'", ""))
        raw = (array * self._channel(self.std) + self._channel(self.mean)) / np.float32(self.scale)
        if len(self.shape) == 2:
            return raw[:, 0]
        return raw if self.channels_first else np.moveaxis(raw, 1, -1)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "image", "version": 1, **vars(self)}

    @classmethod
    def from_dict(cls, data: Any, where: str = "") -> ImageEncoding:
        """Read what :meth:`to_dict` gave. Raises EncodingError naming the field that is wrong."""
        from .encoding_file import ImageFile, validated

        file = validated(ImageFile, data, where)
        return cls(file.shape, file.scale, file.mean, file.std, file.channels_first)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the encoding as JSON."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ImageEncoding:
        """Read what :meth:`save` wrote. Raises StoreError or EncodingError naming the file."""
        return cls.from_dict(read_json(path), str(path))

    def _model_order(self, raw: np.ndarray) -> np.ndarray:
        if len(self.shape) == 2:
            return raw[:, None]
        return raw if self.channels_first else np.moveaxis(raw, -1, 1)

    def _channel(self, values: tuple[float, ...]) -> np.ndarray:
        return np.asarray(values, dtype=np.float32).reshape(1, -1, 1, 1)
