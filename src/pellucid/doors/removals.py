"""The door for what "absent" means: a word such as "mask" or "blur:sigma=2" becomes a removal that fits these rows."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..backends.proposals import Proposed
from ..data.text_encoding import TextEncoding
from ..modalities.image import Blur, Noise, RegionMean
from ..modalities.series import Interpolated, OtherSegment, SegmentMean, SeriesNoise
from ..modalities.tabular import Mode
from ..modalities.text import Hide, Replace
from ..problem.conditional import ConditionalGaussian, ConditionalNearest
from ..problem.removal import Constant, Marginal, OpaqueRemoval, Removal, TensorRemoval
from ..records.errors import RemovalError, UnknownName, shorten

KNOWN: tuple[type[Removal], ...] = (
    Blur,
    ConditionalGaussian,
    ConditionalNearest,
    Constant,
    Hide,
    Interpolated,
    Marginal,
    Mode,
    Noise,
    OtherSegment,
    Proposed,
    RegionMean,
    Replace,
    SegmentMean,
    SeriesNoise,
)
"""Everything that absent can mean: what ``pellucid.removals`` offers."""
MASK = "mask"
"""The word for the network's own mask token, which only the network's tokenizer knows."""
WHOLE = ("delete", MASK, "zeros")
"""Words that leave no field open."""
NOT_WRITTEN = ("rows", "given", "most", "network")
"""Fields that are no words or numbers, or that the house fills in."""
TEXTS = ("text", "words")
SEVERAL = {"table": "a table", "image": "images", "series": "series", "text": "texts", "words": "texts"}
"""How a kind of rows is called in a sentence; what is not listed are tensors."""


def name_of(kind: type[Removal]) -> str:
    """A removal's name in words: ``region_mean``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def words_of(kind: type[Removal]) -> tuple[str, ...]:
    """All words that stand for a removal, its name first."""
    return (name_of(kind), *kind.known_as, *((MASK,) if kind is Replace else ()))


def takes_rows(text: str, kind: str) -> bool:
    """Whether the removal that a word names for rows of a kind is made from background rows; False for no such word."""
    name = _name(text)
    found = [one for one in KNOWN if name in words_of(one) and (not one.kinds or kind in one.kinds)]
    return bool(found) and _of_rows(_closest(found))


def _name(text: str) -> str:
    return text.partition(":")[0].strip().lower().replace("-", "_").replace(" ", "_")


def _closest(found: list[type[Removal]]) -> type[Removal]:
    """Of those that a word names the one for fewest kinds: "noise" of series before noise of anything."""
    return max(found, key=lambda one: bool(one.kinds))


def _fields(kind: type[Removal]) -> list[str]:
    return [f.name for f in fields(kind) if f.init]  # pyright: ignore[reportArgumentType]  all of them are dataclasses


def _of_rows(kind: type[Removal]) -> bool:
    return "rows" in _fields(kind)


def spelled(text: str, background: Any, kind: str, encoding: Any, opaque: bool) -> tuple[Removal, Any]:
    """(removal, background): what ``"blur:sigma=2"`` means for rows of this kind; rows that it takes are its own then.

    Behind the colon stand fields as ``name=value``, with commas between; a value alone is that of the first field.
    Raises :class:`UnknownName` for no such word, :class:`RemovalError` where it does not fit the rows, or its fields.
    """
    name, (word, _, rest) = _name(text), text.partition(":")
    found = [one for one in KNOWN if name in words_of(one)]
    fitting = [one for one in found if fits(one, kind, opaque)]
    if not found:
        raise UnknownName.among("removal", word.strip(), _offered(kind, opaque))
    if not fitting:
        raise _unfit(name, found[0], kind, opaque)
    chosen = _closest(fitting)
    made: Any = chosen
    if name in WHOLE and rest.strip():
        raise RemovalError(f"{name!r} says all, and {shorten(rest.strip())!r} stands behind it", fix="leave that out")
    settings = {"mask": _own_mask(encoding)} if name == MASK else _read(chosen, rest)
    if chosen is Proposed:
        raise RemovalError(
            "'proposed' asks another network, which a word cannot name",
            fix="pellucid.removals.Proposed(masked_language_model) in Python",
        )
    if not _of_rows(chosen):
        if background is not None:
            raise RemovalError(f"{name!r} is made without background rows, and some were given", fix="leave them out")
        return made(**settings), None
    if background is None and chosen is not OtherSegment:
        raise RemovalError(f"{name!r} is made from background rows, and none were given", fix="give background=rows")
    return made(**settings, rows=background), None


def fits(kind: type[Removal], rows: str, opaque: bool) -> bool:
    """Whether a removal makes sense for rows of a kind, as they reach the model (``opaque``: not as numbers)."""
    if opaque:
        return issubclass(kind, OpaqueRemoval)
    if rows in TEXTS:
        return rows in kind.kinds
    return issubclass(kind, TensorRemoval) and (not kind.kinds or rows in kind.kinds)


def refuse_unfit(removal: Removal, kind: str, opaque: bool) -> None:
    """Raise :class:`RemovalError` where one of the removals known here does not fit these rows, with those that do."""
    if type(removal) in KNOWN and not fits(type(removal), kind, opaque):
        raise _unfit(type(removal).__name__, type(removal), kind, opaque)


def _unfit(said: str, removal: type[Removal], kind: str, opaque: bool) -> RemovalError:
    these = SEVERAL.get(kind, "tensors")
    if opaque and kind in removal.kinds:
        what = f"{said!r} is for networks of tokens, and this function is given the {these} themselves"
    elif removal.kinds:
        meant = " and ".join(sorted({SEVERAL[one] for one in removal.kinds}))
        what = f"{said!r} is for {meant}, and these rows are {these}"
    else:
        what = f"{said!r} puts numbers in the place of what is absent, and these rows are {these}"
    return RemovalError(what, fix=f"for {these}: {', '.join(_offered(kind, opaque))}")


def _offered(kind: str, opaque: bool) -> list[str]:
    """The words that fit rows of a kind."""
    words = {word for one in KNOWN if fits(one, kind, opaque) for word in words_of(one)}
    return sorted(words - {MASK} if opaque else words)


def _own_mask(encoding: Any) -> str:
    if isinstance(encoding, TextEncoding) and encoding.mask is not None:
        return encoding.mask
    told = "the network's tokenizer has" if isinstance(encoding, TextEncoding) else "a function of texts has"
    raise RemovalError(
        f"{told} no mask of its own",
        fix="say 'delete' or 'hide', or name a token: 'replace:[MASK]'"
        if isinstance(encoding, TextEncoding)
        else "say 'delete', or name a word: 'replace:[MASK]'",
    )


def _read(kind: type[Removal], text: str) -> dict[str, Any]:
    """The fields of a removal as they were written behind its name."""
    hints = get_type_hints(kind)
    known = [name for name in _fields(kind) if name not in NOT_WRITTEN]
    settings: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        field, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and known and not settings:
            field, value = known[0], part
        if field not in known or field in settings:
            raise RemovalError(
                f"{name_of(kind)!r} has no field to take {shorten(part)!r}",
                fix=f"it has {', '.join(known)}: {name_of(kind)}:{known[0]}=…" if known else "say it without a colon",
            )
        settings[field] = _value(kind, field, value, hints[field])
    return settings


def _value(kind: type[Removal], field: str, text: str, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if text in get_args(hint):
            return text
        raise RemovalError(f"{name_of(kind)}:{field}={text} is none of {', '.join(get_args(hint))}")
    if str in (hint, *get_args(hint)):
        return text
    try:
        return int(text) if hint is int else float(text)
    except ValueError as error:
        number = "whole number" if hint is int else "number"
        raise RemovalError(f"{name_of(kind)}:{field}={shorten(text)} is no {number}") from error
