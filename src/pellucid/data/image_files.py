"""Pictures in files (a folder with a subfolder for each class, or a list of paths) as one array, bounded and mended.

A picture is opened only after its header was read: too many pixels, several pictures in one file and files that hold
none are errors before anything is unpacked. What is mended on the way (turned by its EXIF note, 16 bits brought to 8,
inks to colours, transparency left out) is counted and told.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError, shorten
from ..records.files import digest
from ..records.messages import Caution
from .arrays import SPLIT_WORDS, from_arrays
from .dataset import Dataset, Source

if TYPE_CHECKING:
    from PIL.Image import Image

    from .wishes import Wishes

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
"""The decoders that may be tried, whatever a file is called."""
LARGEST_FILE = 2**28
LARGEST_PICTURE = 2**26
LARGEST_TOTAL = 2**32
MOST_FILES = 200_000
LABEL = "class"
ORIENTATION = 0x0112
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"BM", b"GIF8", b"RIFF")
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
MENDED = ("image_turned", "image_alpha", "image_deep", "image_inks", "image_grey", "image_passed")


@dataclass(frozen=True)
class _File:
    """One picture to be read: its path, its name inside the folder, its class and its split where these are told."""

    path: Path
    name: str
    label: str = ""
    split: str = ""


def from_images(given: Path | Sequence[Any], wishes: Wishes) -> Dataset:
    """The pictures of a folder or of a list of paths: ``UInt8[N, H, W, 3]``, or ``[N, H, W]`` where all are grey.

    ``wishes.size`` is what they are resized to; without it all must have one size. The names of the
    subfolders are the classes; above them may stand folders named train, validation and test.
    Raises :class:`InputError` with the file and what is wrong with it.
    """
    files, passed = _listed(given)
    wanted = _size(wishes.size)
    mended: Counter[str] = Counter({"image_passed": passed} if passed else {})
    shapes, hashes, pictures = [], [], []
    for file in files:
        content = _content(file.path)
        hashes.append(digest(file.name, content))
        picture = _opened(content, file.path, mended)
        shapes.append(picture.size[::-1])
        _refuse_other_size(files, shapes, wanted)
        _refuse_too_much(len(files), wanted or shapes[0])
        pictures.append(_array(picture, wanted))
    grey = all(picture.ndim == 2 for picture in pictures)
    if not grey:
        mended["image_grey"] = sum(picture.ndim == 2 for picture in pictures)
        pictures = [picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2) for picture in pictures]
    data = from_arrays(
        np.stack(pictures),
        labels=np.array([file.label for file in files]) if all(file.label for file in files) else None,
        own_split=np.array([file.split for file in files]) if all(file.split for file in files) else None,
        groups=None if wishes.groups is None else np.asarray(wishes.groups),
        label=wishes.label or LABEL,
        fractions=wishes.split,
        seed=wishes.seed,
        source=Source(str(given) if isinstance(given, Path) else "", digest(*hashes)),
    )
    told = tuple(Caution.of(code, "note", count=mended[code], total=len(files)) for code in MENDED if mended[code])
    return replace(data, ids=np.array([file.name for file in files]), mended=told)


def digest_images(folder: Path) -> str:
    """The hash of a folder's pictures, as their :class:`Source` keeps it."""
    return digest(*(digest(file.name, _content(file.path)) for file in _listed(folder)[0]))


# Which files -------------------------------------------------------------------------------


def _listed(given: Path | Sequence[Any]) -> tuple[list[_File], int]:
    """The pictures in the order of their names, and how many other files were passed over."""
    if not isinstance(given, Path):
        files = [_File(Path(path), str(path)) for path in given]
        return files, 0
    found, passed = [], 0
    for path in _walked(given, given.resolve(), 0):
        if path.suffix.lower() not in PICTURES:
            passed += 1
            continue
        parts = path.relative_to(given).parts
        split = parts[0] if len(parts) == 3 and parts[0].lower() in SPLIT_WORDS else ""
        label = parts[-2] if len(parts) > 1 else ""
        if len(parts) == 3 and not split:
            raise InputError(
                "a picture lies two folders deep",
                where=str(path),
                why="the first folder's name is its class, unless it is train, validation or test",
                fix="move it into the folder of its class",
            )
        found.append(_File(path, "/".join(parts), label, split))
    if not found:
        raise InputError("the folder holds no pictures", where=str(given), fix=f"give {', '.join(PICTURES)} files")
    odd = next((file for file in found if bool(file.label) != bool(found[0].label)), None)
    if odd is not None:
        raise InputError(
            "some pictures lie in a folder of their class and some in none", where=str(odd.path), fix="move it into one"
        )
    return found, passed


def _walked(folder: Path, top: Path, depth: int) -> list[Path]:
    """All files below a folder, in the order of their names; hidden ones are left out, links may not lead back."""
    found: list[Path] = []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                found.append(path)
            elif entry.is_symlink() and top.is_relative_to(path.resolve()):
                raise InputError("the link leads back to the folder that it lies in", where=str(path), fix="remove it")
            elif depth == 2:
                raise InputError("the folders are nested too deeply", where=str(path), fix="give the folder of classes")
            else:
                found += _walked(path, top, depth + 1)
    except (OSError, RuntimeError) as error:  # a link that leads in a circle is one or the other
        raise InputError("the folder cannot be read", where=str(folder), why=shorten(error, 200)) from error
    if len(found) > MOST_FILES:
        raise InputError(f"the folder holds more than {MOST_FILES:,} files", where=str(top))
    return found


def _size(given: Any) -> tuple[int, int] | None:
    """(height, width) from a number, a pair, or a text such as ``"64"`` or ``"64x48"``."""
    if given is None:
        return None
    parts = str(given).lower().replace("×", "x").split("x") if isinstance(given, str) else given
    listed = [parts] if isinstance(parts, (int, np.integer)) else list(parts)
    try:
        sides = [int(side) for side in listed]
    except (TypeError, ValueError):
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 1 or max(sides) > 2**14:
        raise InputError(f"size={given!r} is no size of a picture", fix="give size=64, or size=(height, width)")
    return sides[0], sides[-1]


# One picture -------------------------------------------------------------------------------


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise InputError(f"the file has {size:,} bytes; at most {LARGEST_FILE:,} are read", where=str(path))
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("there is no such file", where=str(path), fix="check the path") from error
    except (OSError, ValueError) as error:
        raise InputError("the file cannot be opened", where=shorten(path, 200), why=shorten(error, 200)) from error
    if not content:
        raise InputError("the file is empty", where=str(path), fix="remove it, or copy it again")
    return content


def _opened(content: bytes, path: Path, mended: Counter[str]) -> Image:
    """One picture of 8 bits, grey or RGB, upright."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError("reading pictures needs Pillow", fix="pip install 'pellucid[images]'") from error
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        _refuse_by_header(picture, path)
        picture.load()
        turned = picture.getexif().get(ORIENTATION, 1) not in (0, 1)
        if turned:
            picture = ImageOps.exif_transpose(picture)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except Image.UnidentifiedImageError as error:
        raise InputError("this is no picture that can be read", where=str(path), why=_begins(content)) from error
    except Exception as error:  # a damaged file raises whatever its decoder stumbles over
        raise InputError(
            f"the picture ({len(content):,} bytes) is truncated or damaged", where=str(path), why=shorten(error, 200)
        ) from error
    mended["image_turned"] += turned
    if content.startswith(b"\x89PNG") and content[24:25] == b"\x10" and picture.mode not in DEEP:
        mended["image_deep"] += 1  # the decoder keeps the upper half
    return _plain(picture, path, mended)


def _refuse_by_header(picture: Image, path: Path) -> None:
    width, height = picture.size
    if width * height > LARGEST_PICTURE:
        raise _too_large(path, f"it has {height:,} × {width:,} pixels")
    count = (
        1
        if picture.format == "MPO"
        else int(  # a JPEG with a preview behind it
            getattr(picture, "n_frames", 1)
        )
    )
    if count > 1:
        raise InputError(
            f"the file holds {count} pictures (it is animated, or has several pages)",
            where=str(path),
            fix="save the one that is meant as a file of its own",
        )


def _too_large(path: Path, why: str) -> InputError:
    return InputError(
        f"the picture is larger than {LARGEST_PICTURE:,} pixels", where=str(path), why=why, fix="scale it down"
    )


def _begins(content: bytes) -> str:
    if content.startswith(MAGIC):
        return "its header is damaged, or its kind of pixels is not supported"
    return f"it begins with {content[:8]!r}, which is the beginning of no {', '.join(FORMATS[:3])} or the like"


def _plain(picture: Image, path: Path, mended: Counter[str]) -> Image:
    """The picture in 8 bits as ``L`` or ``RGB``; what had to be done for it is counted."""
    mode = picture.mode
    if mode == "F":
        raise InputError(
            "the picture holds fractions, whose range is not known", where=str(path), fix="store such arrays as .npz"
        )
    if mode in DEEP:
        return _eight_bits(picture, path, mended)
    alpha = "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info
    mended["image_alpha"] += alpha
    mended["image_inks"] += mode in ("CMYK", "YCbCr", "LAB", "HSV")
    return picture.convert("L" if mode in ("1", "L", "LA", "La") else "RGB")


def _eight_bits(picture: Image, path: Path, mended: Counter[str]) -> Image:
    from PIL import Image

    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"the picture holds numbers from {values.min():,} to {values.max():,}",
            where=str(path),
            fix="store such arrays as .npz",
        )
    mended["image_deep"] += 1
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _array(picture: Image, wanted: tuple[int, int] | None) -> np.ndarray:
    if wanted is not None and picture.size[::-1] != wanted:
        from PIL.Image import Resampling

        picture = picture.resize((wanted[1], wanted[0]), Resampling.BILINEAR)
    return np.asarray(picture)


def _refuse_other_size(files: list[_File], shapes: list[tuple[int, int]], wanted: tuple[int, int] | None) -> None:
    first, last = shapes[0], shapes[-1]
    if wanted is None and last != first:
        other = shorten(files[len(shapes) - 1].name)
        raise InputError(
            f"the pictures have different sizes: {shorten(files[0].name)} has {first[0]} × {first[1]} pixels, {other} "
            f"{last[0]} × {last[1]}",
            why="a network takes pictures of one size",
            fix=f"pass size=({first[0]}, {first[1]}), or whatever the network was trained on, to resize all of them",
        )


def _refuse_too_much(count: int, shape: tuple[int, int]) -> None:
    total = count * shape[0] * shape[1] * 3
    if total > LARGEST_TOTAL:
        raise InputError(
            f"{count:,} pictures of {shape[0]} × {shape[1]} take {total:,} bytes; at most {LARGEST_TOTAL:,} are read",
            fix="pass a smaller size=(height, width), or fewer pictures",
        )
