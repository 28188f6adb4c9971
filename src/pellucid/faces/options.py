"""The options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from ..records.errors import PellucidError
from ..records.messages import LANGUAGES

AUDIENCES = ("expert", "professional", "person")

_LANGUAGE = click.Choice(LANGUAGES)

ARGUMENTS = {
    "model": "A network's file, an endpoint's .yaml, or package.module:factory with --weights.",
    "data": "A .csv, .tsv, .jsonl, .parquet or .npz file, or a folder of pictures.",
    "explanation": "An explanation (.npz), or values made elsewhere (.npy).",
    "first": "A run's folder, or a folder of runs.",
    "second": "Another one.",
    "runs": "Folders of runs; a folder of runs stands for all of them.",
    "name": "One of them, to see its settings.",
}
"""What the arguments are. They are not told to typer: of what it is told, click 8.5 forgets an argument's help."""

Model = Annotated[str, typer.Argument()]
Data = Annotated[str, typer.Argument()]
Label = Annotated[str | None, typer.Option(help="The column (or array) to predict.")]
Encoding = Annotated[
    str | None, typer.Option(help="How raw rows become the network's inputs: a .json file, or package.module:function.")
]
Weights = Annotated[str | None, typer.Option(help="The file of weights for a factory.")]
Arguments = Annotated[str, typer.Option(help="The factory's named arguments, as a JSON object.")]
Outputs = Annotated[str, typer.Option(help="Names of the network's outputs, with commas between.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Unpickle this model file, which can run any program that it holds.")
]
Recording = Annotated[Path | None, typer.Option(help="What a Recorder kept of the training, for the report.")]
Draws = Annotated[
    int, typer.Option(min=0, help="Keep dropout on, and explain the mean of so many thinned networks (30 is usual).")
]
Missing = Annotated[
    str,
    typer.Option(
        help="What becomes of missing cells: impute-median, or model-handles. They are refused unless one is said."
    ),
]
Read = Annotated[
    list[str] | None,
    typer.Option("--read", help="How DATA is written, e.g. --read 'delimiter=;'; see docs/command_line.md."),
]
Schema = Annotated[Path | None, typer.Option(help="A YAML file that says what the columns are.")]
Protected = Annotated[str, typer.Option(help="Columns that may not decide, with commas between.")]
Rows = Annotated[str, typer.Option(help="Which rows of DATA: 0:5, 3,7, test, train, all, or a file of rows.")]
Target = Annotated[
    str, typer.Option(help="What is explained: predicted, all, top:3, an output, or two: 'A,B' asks why A and not B.")
]
Background = Annotated[
    str | None,
    typer.Option(
        help="Rows that stand for what is absent: train, 0:50, a file, or zeros. By default 50 training rows, for "
        "images a blur."
    ),
]
Removal = Annotated[
    str | None,
    typer.Option(
        help="What absent means, e.g. mask, delete or hide for texts, mean or blur for images, line for series, mean "
        "for tables; with a field: blur:sigma=2. See docs/command_line.md."
    ),
]
Evaluations = Annotated[int | None, typer.Option("--budget", min=1, help="Evaluations per explained number.")]
Seconds = Annotated[float | None, typer.Option(help="How long the work may take; what is left is skipped.")]
Methods = Annotated[str, typer.Option(help="Names with commas between; see pellucid methods.")]
Metrics = Annotated[str, typer.Option(help="Names with commas between; see pellucid metrics.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")]
Language = Annotated[str, typer.Option(click_type=_LANGUAGE, help="The language of sentences and of the report.")]
Audience = Annotated[str, typer.Option(click_type=click.Choice(AUDIENCES), help="For whom the sentences are written.")]
Out = Annotated[Path, typer.Option(help="The folder that everything is written to.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over in a folder that holds another run.")]


TYPED = (
    (
        "pass it: pellucid.wrap(model, encoding=…) or load(…, encoding='encoding.json')",
        "pass it: --encoding encoding.json; and name the label, where it stands among the columns: --label",
    ),
    ("say removal='mask' or removal='delete'", "give --removal mask or --removal delete"),
    (
        "raw columns need encoding=",
        "raw columns need --encoding, and a label left among them is named by --label",
    ),
    ("give background=rows", "give --background, e.g. --background train"),
    ("pellucid.wrap(model, encoding=…)", "--encoding encoding.json"),
    ("pellucid.read(path, text='review')", "--read text=review"),
    (
        "are these rows what it takes? A single row needs a leading dimension: row[None]",
        "are these rows what it takes? Raw columns need --encoding, and a label left among them is named by --label",
    ),
)
"""How advice for those who write Python reads for those who type."""


def as_typed(error: PellucidError) -> PellucidError:
    """The same error with its advice in options of the command line."""
    for written, typed in TYPED:
        if written in error.fix:
            advice = error.fix.replace(written, typed)
            return type(error)(error.what, where=error.where, why=error.why, fix=advice)
    return error


def listed(text: str) -> list[str]:
    """``"a, b"`` as a list; empty text is an empty list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def chosen(text: str) -> Any:
    """``"default"``, or a list of names."""
    names = listed(text)
    if not names:
        raise typer.BadParameter("no name was given")
    return "default" if names == ["default"] else names


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """``["steps=50"]`` as a dict of texts."""
    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{text!r} is not name=value", param_hint=f"'{option}'")
        found[name.strip().replace("-", "_")] = value
    return found


def json_object(text: str, option: str) -> dict[str, Any] | None:
    """A JSON object; empty text is none."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}", param_hint=f"'{option}'") from error
    if not isinstance(value, dict):
        raise typer.BadParameter('give an object such as {"inputs": 8}', param_hint=f"'{option}'")
    return value
