"""Pictures in files: folders of classes become arrays; odd ones are mended and told, broken ones refused."""

from __future__ import annotations

import io
import os
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid.data.images import ImageEncoding
from pellucid.data.profiling import profile
from pellucid.records.errors import InputError

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def saved(path: Path, picture: Any = NOISE, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(path, **how)
    return path


def classes(folder: Path, count: int = 10, **how: Any) -> Path:
    for place in range(count):
        name = ("cat", "dog")[place % 2]
        saved(folder / name / f"{place:02}.png", RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8), **how)
    return folder


def codes(data: Any) -> dict[str, int]:
    return {caution.code: caution.values["count"] for caution in data.mended}


def test_a_folder_of_classes(tmp_path: Path) -> None:
    data = pellucid.read(classes(tmp_path))
    assert data.content.shape == (10, 6, 8, 3) and data.content.dtype == np.uint8
    assert (data.label, data.task, data.classes) == ("class", "classification", ("cat", "dog"))
    assert data.ids.tolist()[:2] == ["cat/00.png", "cat/02.png"] and data.labels.tolist() == [0] * 5 + [1] * 5
    assert len(data.train) + len(data.validation) + len(data.test) == 10 and not data.mended
    with Image.open(tmp_path / "dog" / "03.png") as picture:
        assert (data.content[6] == np.asarray(picture)).all()
    assert pellucid.read(str(tmp_path), label="animal").label == "animal"
    assert data.source.sha256 == pellucid.read(tmp_path).source.sha256
    saved(tmp_path / "cat" / "00.png", NOISE)
    assert data.source.sha256 != pellucid.read(tmp_path).source.sha256


def test_folders_of_splits_and_folders_without_classes(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        classes(tmp_path / "a" / part, 4)
    data = pellucid.read(tmp_path / "a")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [4, 4, 4] and len(data.classes) == 2
    saved(tmp_path / "b" / "1.jpg")
    saved(tmp_path / "b" / "2.jpg")
    data = pellucid.read(tmp_path / "b")
    assert data.label is None and data.labels is None and data.ids.tolist() == ["1.jpg", "2.jpg"]
    listed = pellucid.read([tmp_path / "b" / "2.jpg", str(tmp_path / "b" / "1.jpg")])
    assert (listed.content[::-1] == data.content).all()


def test_grey_pictures_have_no_channels(tmp_path: Path) -> None:
    saved(tmp_path / "1.png", NOISE[..., 0])
    saved(tmp_path / "2.png", Image.fromarray(NOISE[..., 0] > 99))
    data = pellucid.read(tmp_path)
    assert data.content.shape == (2, 6, 8) and set(np.unique(data.content[1])) == {0, 255}
    saved(tmp_path / "3.png", NOISE)
    data = pellucid.read(tmp_path)
    assert data.content.shape == (3, 6, 8, 3) and codes(data) == {"image_grey": 2}
    assert (data.content[0] == NOISE[..., :1]).all()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


MENDED: dict[str, tuple[Callable[[Path], Path], str, Callable[[np.ndarray], bool]]] = {
    "EXIF": (
        lambda folder: saved(folder / "1.png", NOISE, exif=turned(6)),
        "image_turned", lambda found: found.shape == (8, 6, 3) and bool((found == np.rot90(NOISE, -1)).all())),
    "alpha": (
        lambda folder: saved(folder / "1.png", np.dstack([NOISE, NOISE[..., 0]])),
        "image_alpha", lambda found: bool((found == NOISE).all())),
    "a palette with a transparent colour": (
        lambda folder: saved(folder / "1.gif", Image.fromarray(NOISE).quantize(16), transparency=3),
        "image_alpha", lambda found: found.shape == NOISE.shape),
    "16 bits": (
        lambda folder: saved(folder / "1.png", NOISE[..., 0].astype(np.uint16) * 257 + 100),
        "image_deep", lambda found: bool((found == NOISE[..., 0]).all())),
    "16 bits in a TIFF": (
        lambda folder: saved(folder / "1.tif", NOISE[..., 0].astype(np.uint16) * 257),
        "image_deep", lambda found: bool((found == NOISE[..., 0]).all())),
    "CMYK": (
        lambda folder: saved(folder / "1.tif", Image.fromarray(NOISE).convert("CMYK")),
        "image_inks", lambda found: bool((np.abs(found.astype(int) - NOISE) <= 1).all())),
}  # fmt: skip


@pytest.mark.parametrize("name", MENDED)
def test_what_is_odd_is_mended_and_told(name: str, tmp_path: Path) -> None:
    make, code, holds = MENDED[name]
    make(tmp_path)
    data = pellucid.read(tmp_path)
    assert codes(data) == {code: 1} and holds(data.content[0])
    assert "1 of 1 pictures" in data.mended[0].text() and data.mended[0].text("zh")
    assert data.mended[0] in profile(data).warnings and data.take([0]).mended == data.mended


def header(width: int, height: int) -> bytes:
    """The beginning of a PNG of any size, without its pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    told = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", told) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def bytes_of(picture: np.ndarray = NOISE, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


def animated(path: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


REFUSED: dict[str, tuple[str, bytes | Callable[[Path], Any], str]] = {
    "no bytes": ("1.png", b"", r"1\.png: the file is empty\. remove it"),
    "a huge picture": ("1.png", header(50_000, 50_000), r"larger than 67,108,864 pixels"),
    "a large picture": ("1.png", header(9_000, 9_000), r"it has 9,000 × 9,000 pixels"),
    "animated": ("1.gif", animated, r"1\.gif: the file holds 3 pictures"),
    "several pages": ("1.tif", animated, r"the file holds 3 pictures"),
    "cut": ("1.png", bytes_of(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))[:900], r"\(900 bytes\) is truncated"),
    "a cut JPEG": ("1.jpg", bytes_of(kind="JPEG")[:-200], r"truncated or damaged"),
    "no picture": ("1.png", b"<svg onload=alert(1)>", r"no picture that can be read.*it begins with b'<svg"),
    "a damaged header": ("1.png", bytes_of()[:20], r"its header is damaged|truncated or damaged"),
    "fractions": ("1.tif", lambda p: saved(p, Image.fromarray(NOISE[..., 0].astype(np.float32))), r"holds fractions"),
    "large numbers": ("1.tif", lambda p: saved(p, Image.fromarray(np.full((4, 4), 70_000, np.int32))), "70,000"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_broken_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    file, content, told = REFUSED[name]
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    else:
        content(tmp_path / file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=told) as caught:
        pellucid.read(tmp_path)
    assert file in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP"])
def test_a_cut_or_flipped_file_is_an_error_or_a_picture(kind: str, tmp_path: Path) -> None:
    content = bytes_of(kind=kind)
    for place in np.linspace(1, len(content) - 1, 20).astype(int):
        for damaged in (content[:place], content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]):
            (tmp_path / "1.png").write_bytes(damaged)
            try:
                assert pellucid.read(tmp_path).content.dtype == np.uint8
            except InputError as error:
                assert "1.png" in str(error)


def test_pictures_of_several_sizes(tmp_path: Path) -> None:
    saved(tmp_path / "1.png")
    saved(tmp_path / "2.png", RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"1.png has 6 × 8 pixels, 2.png 12 × 16.*size=\(6, 8\)"):
        pellucid.read(tmp_path)
    for size, shape in ((5, (5, 5)), ((6, 8), (6, 8)), ("4x3", (4, 3)), ("7", (7, 7))):
        assert pellucid.read(tmp_path, size=size).content.shape == (2, *shape, 3)
    assert (pellucid.read(tmp_path, size=(6, 8)).content[0] == NOISE).all()
    for size in (0, (1, 2, 3), "a", (4, -1), 10**6):
        with pytest.raises(InputError, match="no size of a picture"):
            pellucid.read(tmp_path, size=size)


def test_many_pictures_would_fill_the_memory(tmp_path: Path) -> None:
    saved(tmp_path / "1.png", np.zeros((4000, 4000), np.uint8))
    with pytest.raises(InputError, match=r"100 pictures of 4000 × 4000 take 4,800,000,000 bytes.*size="):
        pellucid.read([tmp_path / "1.png"] * 100)


def test_folders_that_cannot_be_walked(tmp_path: Path) -> None:
    folder = classes(tmp_path / "a", 4)
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / ".hidden.png").write_bytes(b"x")
    assert codes(pellucid.read(folder)) == {"image_passed": 1}
    os.symlink(folder, folder / "loop")
    with pytest.raises(InputError, match=r"loop: the link leads back"):
        pellucid.read(folder)
    (folder / "loop").unlink()
    os.symlink("circle", folder / "circle")
    with pytest.raises(InputError, match=r"the folder cannot be read.*[Ss]ymbolic links"):
        pellucid.read(folder)
    (folder / "circle").unlink()
    saved(folder / "top.png")
    with pytest.raises(InputError, match=r"top.png: some pictures lie in a folder of their class and some in none"):
        pellucid.read(folder)
    (folder / "top.png").unlink()
    saved(folder / "cat" / "black" / "1.png")
    with pytest.raises(InputError, match=r"1.png: a picture lies two folders deep.*train, validation or test"):
        pellucid.read(folder)
    saved(tmp_path / "b" / "1" / "2" / "3" / "1.png")
    with pytest.raises(InputError, match="nested too deeply"):
        pellucid.read(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="the folder holds no pictures"):
        pellucid.read(tmp_path / "c")


def test_files_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"gone.png: there is no such file"):
        pellucid.read([tmp_path / "gone.png"])
    path = saved(tmp_path / "1.png")

    def refused(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(InputError, match=r"1.png: the file cannot be opened.*Permission denied"):
        pellucid.read([path])


def test_a_network_of_pictures_is_explained_from_their_folder(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 6 * 8, 2))
    data = pellucid.read(classes(tmp_path))
    model = pellucid.wrap(net, encoding=ImageEncoding((6, 8, 3)))
    found = pellucid.explain(model, data.test, "occlusion")
    assert found.rows.shape[1:] == (6, 8, 3) and len(found) == len(data.test)
