"""Writing tables that are safe to open in a spreadsheet, and reading them back exactly.

A spreadsheet runs a text cell that begins with ``= + - @`` (also full-width, also after a space)
as a formula. Such cells, and column names, get one ``'`` in front; a cell that would look like an
escaped one gets one more, so that taking one away undoes it exactly. Numbers are never touched:
-0.3 stays -0.3. Texts are always quoted and numbers never, so the file itself says which is which;
an empty cell without quotes is missing.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import InputError
from ..records.files import write_bytes

if TYPE_CHECKING:
    import pandas as pd

FORMULA = re.compile(r"'*\s*[=+\-@＝＋－＠\t\r\n]")
CELL = re.compile(r'"((?:[^"]|"")*)"|([^",\n]*)')


def escaped(text: str) -> str:
    """The text as a spreadsheet may see it."""
    return "'" + text if FORMULA.match(text) else text


def unescaped(text: str) -> str:
    """What :func:`escaped` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def write_csv(path: str | os.PathLike[str], frame: pd.DataFrame) -> None:
    """Write the columns of a table (not its index) as UTF-8 CSV without live formulas.

    Raises StoreError when the file cannot be written.
    """
    lines = [",".join(_quoted(str(name)) for name in frame.columns)]
    columns = [frame.iloc[:, place].to_numpy(dtype=object) for place in range(frame.shape[1])]
    lines += [",".join(_cell(cell) for cell in row) for row in zip(*columns, strict=True)]
    write_bytes(path, ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))


def read_csv_back(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a file of :func:`write_csv`: texts without their escapes, numbers, truth values, NaN where missing.

    Raises InputError, with the line, for a file that was written otherwise.
    """
    import pandas as pd

    path = Path(path)
    text = path.read_bytes().decode("utf-8", "surrogatepass").removeprefix("\ufeff")
    rows = list(_rows(text, path.name))
    if not rows:
        raise InputError("the file is empty", where=path.name)
    header, *body = rows
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            what = f"expected {len(header)} fields, found {len(row)}"
            raise InputError(what, where=f"{path.name}: row {number - 1}")
    columns = [_typed([row[place] for row in body]) for place in range(len(header))]
    frame = pd.DataFrame({place: pd.Series(column, dtype=column.dtype) for place, column in enumerate(columns)})
    return frame.set_axis(pd.Index([str(name) for name in header], dtype=object), axis=1)


def _quoted(text: str) -> str:
    return '"' + escaped(text).replace('"', '""') + '"'


def _cell(cell: Any) -> str:
    if cell is None or (isinstance(cell, (float, np.floating)) and math.isnan(cell)):
        return ""
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell))
    if isinstance(cell, (int, np.integer)):
        return str(int(cell))
    if isinstance(cell, (float, np.floating)):
        return repr(float(cell))
    text = str(cell)
    return "" if text in ("<NA>", "NaT") and not isinstance(cell, str) else _quoted(text)


def _rows(text: str, where: str) -> Iterator[list[Any]]:
    """Cells row by row: str where quoted, else None, bool, int or float."""
    at, row = 0, []
    while at < len(text):
        found = CELL.match(text, at)
        assert found is not None, "the pattern matches the empty text"
        row.append(_value(found, text, where))
        at = found.end()
        mark = text[at] if at < len(text) else "\n"
        if mark not in ",\n":
            raise _not_ours(text, at, where)
        at += 1
        if mark == "\n":
            yield row
            row = []
    if row:
        yield [*row, None]


def _value(found: re.Match[str], text: str, where: str) -> Any:
    if found.group(1) is not None:
        return unescaped(found.group(1).replace('""', '"'))
    bare = found.group(2)
    if bare in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[bare]
    try:
        return int(bare) if bare.lstrip("-").isdigit() else float(bare)
    except ValueError:
        raise _not_ours(text, found.start(), where) from None


def _not_ours(text: str, at: int, where: str) -> InputError:
    line = text.count("\n", 0, at) + 1
    return InputError("the cell was not written by write_csv", where=f"{where}:{line}", fix="read the file with read()")


def _typed(column: list[Any]) -> np.ndarray:
    """The cells in the narrowest type that holds them exactly; texts stay Python's own."""
    kinds = {type(cell) for cell in column}
    if not column or kinds <= {float, type(None)} or kinds == {int, type(None)}:
        return np.array([math.nan if cell is None else cell for cell in column], dtype=np.float64)
    if kinds == {int} and all(-(2**63) <= cell < 2**63 for cell in column):
        return np.array(column, dtype=np.int64)
    if kinds == {bool}:
        return np.array(column, dtype=bool)
    return np.array([*column, None], dtype=object)[:-1]
