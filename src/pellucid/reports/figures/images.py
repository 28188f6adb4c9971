"""Figures of image explanations: the image beside its heat map, and the mean heat map over rows.

Pixels travel as small PNG data URIs that are written here with the standard library alone.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.answer import Answer
from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.explanation import Explanation
from pellucid.records.flow import Flow

from ..words import Words, fitted, is_attention
from .theme import DIVERGING, table, themed

if TYPE_CHECKING:
    import altair as alt

FADED = 190  # the grey of what a rule leaves out
SIDE, FINEST = 190, 224  # a panel in the figure; the most pixels kept of an image's side
VEIL, BORDER = 0.3, 0.72  # how much of a picture shows through its heat map; how dark a border is


def is_image(answer: Answer) -> bool:
    """Whether the players of this answer lie on a picture: pixels, patches, regions, or each element of one."""
    players = answer.players
    if players.kind == "element":
        return players.every_element and len(players.layout) == 3
    return players.kind in ("pixel", "patch", "region") and len(players.layout) in (2, 3)


def heat_map(explanation: Explanation | Flow, row: int = 0, output: int = 0) -> np.ndarray:
    """``Float64[H, W]``: at each pixel the contributions of all players that lie there, each counted once."""
    if not is_image(explanation):
        raise NotApplicable("the players of this explanation do not lie on a picture", fix="use contributions()")
    if not -len(explanation) <= row < len(explanation):
        raise InputError(f"row {row} of an explanation of {len(explanation)} rows")
    row %= len(explanation)
    labels = _channels_first(explanation.players.map_of(row))
    count = len(explanation.players.of(row))
    values = _channels_first(explanation.players.spread(explanation.attributions[row, :count, output], row))
    first = np.ones(labels.shape, dtype=bool)  # a patch owns its pixel in every channel, but counts once
    for channel in range(1, len(labels)):
        first[channel] = (labels[:channel] != labels[channel]).all(axis=0)
    known = np.isfinite(values) & first
    return np.where(known.any(axis=0), np.where(known, values, 0.0).sum(axis=0), np.nan)


def share_map(explanation: Explanation, row: int = 0, output: int = 0) -> np.ndarray:
    """``Float64[H, W]``: each player's contribution divided evenly among its pixels, so that parts of it add up."""
    values = explanation.attributions[row, : len(explanation.players.of(row)), output]
    labels = explanation.players.map_of(row)
    sizes = np.bincount(labels[labels >= 0], minlength=len(values))
    shares = _channels_first(explanation.players.spread(values / sizes, row))
    return np.nansum(shares, axis=0)


def image_overlay(explanation: Explanation, row: int = 0, *, output: int = 0, language: str = "en") -> alt.HConcatChart:
    """The image and, beside it, its contributions laid over it on a symmetrical scale.

    Orange raises the output, blue lowers it; the image lies below in grey, and regions have thin borders. Images are
    ``explanation.rows``: ``[N, H, W]``, ``[N, C, H, W]`` or ``[N, H, W, C]``; without them, or where they are of
    another size than what the model was given, the heat map stands on plain ground.
    """
    import altair as alt

    words = Words(language)
    heat = heat_map(explanation, row, output)
    panels, below = [], None
    if is_picture(explanation.rows):
        picture = shown_picture(explanation.rows[row])
        panels.append(_panel(picture).properties(title=words("panel_image")))
        below = picture if picture.shape[:2] == heat.shape else None
    borders = explanation.players.kind in ("patch", "region")
    regions = _channels_first(explanation.players.map_of(row % len(explanation)))[0] if borders else None
    title = words("panel_attention" if is_attention(explanation) else "panel_heat")
    panels.append(heat_panel(heat, title, below=below, regions=regions))
    name = fitted(explanation.outputs[row][output], 30)
    return themed(alt.hconcat(*panels, spacing=14), words("alt_image", output=name), "shrink")


def image_grid(explanation: Explanation, *, language: str = "en") -> alt.VConcatChart:
    """A line for each row: the image, and its contributions to every output, all on one scale."""
    import altair as alt

    words, lines = Words(language), []
    places = [(row, output) for row, names in enumerate(explanation.outputs) for output in range(len(names))]
    heats = {place: heat_map(explanation, *place) for place in places}
    largest = max((float(np.nanmax(np.abs(heat), initial=0.0)) for heat in heats.values()), default=0.0)
    for row, names in enumerate(explanation.outputs):
        picture = shown_picture(explanation.rows[row]) if is_picture(explanation.rows) else None
        panels: list[Any] = [] if picture is None else [_panel(picture).properties(title=words("panel_image"))]
        below = picture if picture is not None and picture.shape[:2] == heats[row, 0].shape else None
        for output, name in enumerate(names):
            panels.append(heat_panel(heats[row, output], fitted(name, 26), below=below, largest=largest))
        lines.append(alt.hconcat(*panels, spacing=14))
    listed = words.joined([fitted(name, 30) for name in dict.fromkeys(sum(explanation.outputs, ()))][:6])
    return themed(alt.vconcat(*lines, spacing=10), words("alt_image", output=listed), "shrink")


def importance_map(explanation: Explanation, *, output: int = 0, language: str = "en") -> alt.HConcatChart:
    """The mean size of the contributions at each pixel over all rows."""
    import altair as alt

    words = Words(language)
    mean = np.mean(
        [np.nan_to_num(np.abs(heat_map(explanation, row, output))) for row in range(len(explanation))], axis=0
    )
    return themed(alt.hconcat(heat_panel(mean, words("panel_mean"), one_sided=True)), words("alt_image_mean"), "shrink")


def is_picture(rows: Any) -> bool:
    """Whether a record's rows are images that can be shown."""
    return isinstance(rows, np.ndarray) and rows.ndim in (3, 4)


def picture_panel(image: np.ndarray, kept: np.ndarray | None = None) -> alt.Chart:
    """An image at a fixed size; ``kept`` (1 or 0, in the image's own layout) fades everything else to grey."""
    pixels = shown_picture(image)
    if kept is not None:
        shown = np.any(_channels_first(kept) > 0, axis=0)
        pixels = np.where(np.expand_dims(shown, -1), pixels, (FADED + 0.15 * pixels).astype(np.uint8))
    return _panel(pixels)


def heat_panel(
    heat: np.ndarray,
    title: str,
    one_sided: bool = False,
    below: np.ndarray | None = None,
    regions: np.ndarray | None = None,
    largest: float | None = None,
) -> Any:
    """A heat map with its legend; the scale is symmetrical around zero, and one-sided for sizes.

    ``below`` is a picture that shows through, ``regions`` a label map whose borders are drawn, ``largest`` the end of
    the scale where it is not this map's own.
    """
    import altair as alt

    largest = (largest or float(np.nanmax(np.abs(heat), initial=0.0))) or 1.0
    stops = np.linspace(0, 1, 3) if one_sided else np.linspace(-1, 1, 5)
    colours = DIVERGING[2:] if one_sided else DIVERGING
    ends = [0.0, largest] if one_sided else [-largest, 0.0, largest]
    scale = alt.Scale(domain=[float(stop * largest) for stop in stops], range=list(colours))
    bar = alt.Legend(
        orient="right", title=None, gradientLength=SIDE - 20, values=ends, format=".2~g", gradientThickness=10
    )
    legend = (  # drawn unseen: it only carries the colour scale
        alt.Chart(table([{"v": end} for end in ends]))
        .mark_point(opacity=0)
        .encode(x=alt.value(0), y=alt.value(0), color=alt.Color("v:Q", scale=scale, legend=bar))
    )
    painted = coloured(heat / largest, stops, colours)
    painted = painted if below is None else _laid_over(painted, below)
    return alt.layer(_panel(painted, regions), legend).properties(title=title)


def _laid_over(painted: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Colours darkened by a faded grey picture: their hue, which is read off the legend, stays."""
    grey = below @ np.array([0.299, 0.587, 0.114]) / 255  # the luminance of ITU-R BT.601
    return (painted * (1 - VEIL + VEIL * grey)[..., None]).astype(np.uint8)


def _panel(pixels: np.ndarray, regions: np.ndarray | None = None) -> alt.Chart:
    """One picture at a fixed size, its shorter side in proportion."""
    import altair as alt

    height, width = pixels.shape[:2]
    tall, wide = (round(SIDE * side / max(height, width)) for side in (height, width))
    enlarged = _enlarged(pixels)
    if regions is not None:
        enlarged = _bordered(enlarged, _enlarged(regions))
    chart = alt.Chart(table([{"url": png(enlarged)}])).mark_image(width=wide, height=tall)
    return chart.encode(url="url:N", x=alt.value(wide / 2), y=alt.value(tall / 2)).properties(width=wide, height=tall)


def map_url(values: np.ndarray) -> str:
    """A feature map ``[H, W]`` as a small picture: dark where it is low, between its own ends."""
    return png(shown_picture(_stretched(values)))


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0)


def _channels_first(array: np.ndarray) -> np.ndarray:
    """``[H, W]``, ``[C, H, W]`` or ``[H, W, C]`` as ``[C, H, W]``; at most four channels tell the last two apart."""
    if array.ndim == 2:
        return array[None]
    return np.moveaxis(array, -1, 0) if array.shape[0] > 4 and array.shape[-1] <= 4 else array


def shown_picture(image: np.ndarray) -> np.ndarray:
    """A row of the data as ``uint8[H, W, 3]``; anything but 0…1 or 0…255 is stretched between its own ends."""
    channels = np.nan_to_num(_channels_first(np.asarray(image)).astype(np.float64))
    low, high = float(channels.min(initial=0.0)), float(channels.max(initial=0.0))
    if image.dtype == np.uint8:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled = np.clip((channels - low) / ((high - low) or 1.0), 0, 1) * 255
    scaled = scaled[:3] if len(scaled) >= 3 else np.repeat(scaled[:1], 3, axis=0)
    return np.moveaxis(scaled, 0, -1).astype(np.uint8)


def coloured(heat: np.ndarray, stops: np.ndarray, colours: tuple[str, ...]) -> np.ndarray:
    """``heat`` (−1…1) as ``uint8[H, W, 3]``; what nobody owns is grey."""
    rgb = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours])
    known = np.nan_to_num(heat)
    painted = np.stack([np.interp(known, stops, rgb[:, channel]) for channel in range(3)], axis=-1)
    painted[~np.isfinite(heat)] = 200
    return painted.astype(np.uint8)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """Small pictures enlarged pixel by pixel (so that no viewer blurs them), large ones thinned out."""
    largest = max(pixels.shape[:2])
    if largest > FINEST:
        step = -(-largest // FINEST)
        return pixels[::step, ::step]
    times = max(1, -(-SIDE // largest))
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def _bordered(pixels: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Pixels with a thin dark line where one region meets the next."""
    edge = np.zeros(regions.shape, dtype=bool)
    edge[1:] |= regions[1:] != regions[:-1]
    edge[:, 1:] |= regions[:, 1:] != regions[:, :-1]
    return np.where(edge[..., None], (pixels * BORDER).astype(np.uint8), pixels)


def png(pixels: np.ndarray) -> str:
    """``uint8[H, W, 3]`` as a PNG data URI (PNG specification, colour type 2, filter 0)."""
    height, width, _ = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
