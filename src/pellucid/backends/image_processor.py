"""Image processors of transformers, used as they are: pictures of any size become what the network eats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..records.errors import EncodingError, shorten

CHANNELS = (1, 3, 4)


def is_image_processor(given: Any) -> bool:
    """Whether something is an image processor, told without importing the package it comes from."""
    bases = {base.__name__ for base in type(given).__mro__ if base.__module__.startswith("transformers.")}
    return "BaseImageProcessor" in bases


class ImageProcessor:
    """Pictures for one network, as its own processor resizes, crops and normalises them.

    ``channels`` is 1 for a network of grey pictures; others are given red, green and blue. Pictures are PIL images, or
    arrays of bytes ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``, each of its own size.
    """

    def __init__(self, processor: Any, channels: int = 3):
        self.processor, self.mode = processor, "L" if channels == 1 else "RGB"

    def takes_arrays(self, images: Any) -> bool:
        """Whether these are pictures, and not what the network eats already: numbers ``[N, C, H, W]`` with a point.

        An array of such numbers that lies otherwise is taken for pictures, so that :meth:`encode` can say what is
        wrong with it.
        """
        if isinstance(images, (list, tuple)):
            return True
        eaten = images.ndim == 4 and images.shape[1] == len(self.mode)
        floats = images.dtype.kind == "f" if isinstance(images, np.ndarray) else images.is_floating_point()
        return not (floats and eaten)

    def encode(self, images: Any) -> np.ndarray:
        """Pictures as ``Float32[N, C, S, S]``.

        Raises :class:`EncodingError` for what is no picture of bytes, and where the processor leaves pictures of
        several sizes as they are.
        """
        pictures = [self._picture(image, row) for row, image in enumerate(_content(images))]
        try:
            found = [self.processor(images=[picture], return_tensors="np")["pixel_values"][0] for picture in pictures]
        except Exception as error:
            raise EncodingError(
                f"the network's {type(self.processor).__name__} could not take these pictures",
                why=f"{type(error).__name__}: {shorten(str(error).strip().split(chr(10))[0], 200)}",
            ) from error
        if len({part.shape for part in found}) > 1:
            raise EncodingError(
                "the network's processor leaves the pictures of several sizes", fix="explain each size on its own"
            )
        return np.stack(found).astype(np.float32)

    def shown(self, encoded: np.ndarray) -> np.ndarray:
        """What the network sees, to look at: encoded pictures as bytes ``[N, S, S, C]``, resized and cropped.

        So that what is drawn over a picture lies where the network saw it.
        """
        own, pixels = self.processor, np.moveaxis(encoded.astype(np.float64), 1, -1)
        if getattr(own, "do_normalize", False):
            pixels = pixels * np.asarray(own.image_std) + np.asarray(own.image_mean)
        if getattr(own, "do_rescale", False):
            pixels = pixels / own.rescale_factor
        if getattr(own, "do_flip_channel_order", False):
            pixels = pixels[..., ::-1]
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

    def _picture(self, image: Any, row: int) -> Any:
        """One picture as PIL has it, in the network's own colours."""
        from PIL import Image

        if isinstance(image, Image.Image):
            return image.convert(self.mode)
        array = np.asarray(image)
        if not _is_bytes(array):
            raise EncodingError(
                f"a picture of bytes is needed, not of {array.dtype}", where=f"row {row}",
                why="the network's processor divides by 255, and cannot tell what was divided already",
                fix="give uint8 (0…255); what is encoded already goes in as a tensor [N, C, H, W]",
            )  # fmt: skip
        array = array.astype(np.uint8)
        if array.ndim == 3 and array.shape[2] not in CHANNELS and array.shape[0] in CHANNELS:
            array = np.moveaxis(array, 0, 2)
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in CHANNELS):
            raise EncodingError(
                f"a picture is [H, W] or [H, W, channels], not {list(array.shape)}", where=f"row {row}",
                fix="add the leading axis: image[None]" if array.ndim < 2 else "",
            )  # fmt: skip
        plain = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
        return Image.fromarray(np.ascontiguousarray(plain)).convert(self.mode)


def _is_bytes(array: np.ndarray) -> bool:
    """Bytes, or whole numbers 0…255 as a Dataset keeps them; whole ones up to exactly 1 may be divided already."""
    if array.dtype == np.uint8 or not array.size:
        return True
    if array.dtype.kind not in "iuf":
        return False
    low, high = array.min(), array.max()
    return bool(low >= 0 and high <= 255 and high != 1 and (array == np.floor(array)).all())


def _content(images: Any) -> Sequence[Any]:
    """The pictures of a Dataset, of a tensor of bytes, or as they are."""
    return getattr(images, "content", images)
