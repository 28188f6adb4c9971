"""The command line: a command for each study, and lists of what there is.

A command reads its words, calls one study and shows what it returned. What is dear to import is imported inside the
commands, so that help comes at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from .. import __version__
from . import options, showing
from .options import chosen, json_object, listed, pairs
from .running import Command, Desk, module_path, run

app = typer.Typer(
    add_completion=False,
    suggest_commands=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def front(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Opens up trained neural networks and says how far each explanation can be trusted."""


# The main job --------------------------------------------------------------------------------


@app.command(cls=Command)
def demo(
    context: typer.Context,
    out: options.Out = Path("runs/demo"),
    data: Annotated[str | None, typer.Option(help="A table of your own instead of the three at hand.")] = None,
    label: options.Label = None,
    seed: options.Seed = 0,
    language: options.Language = "en",
    fresh: options.Fresh = False,
) -> int:
    """Train small networks, save them, audit them from their files, and write a report: about a minute each."""
    from ..studies.demo import demo as demonstrate

    if data is not None and label is None:
        raise typer.BadParameter("say which column of the table is to be predicted", param_hint="'--label'")
    desk = _desk(context)
    asked: dict[str, Any] = {"data": data, "label": label, "seed": seed, "language": language, "fresh": fresh}
    studies = demonstrate(out, command=desk.typed, listener=desk.listener, **asked)
    return showing.studies(desk, studies, out / "report.html", language)


@app.command(cls=Command)
def audit(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    label: options.Label = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    arguments: options.Arguments = "",
    outputs: options.Outputs = "",
    out: options.Out = Path("runs/audit"),
    methods: options.Methods = "default",
    metrics: options.Metrics = "default",
    rows: Annotated[int, typer.Option(min=1, help="How many rows of the test split are explained.")] = 24,
    target: options.Target = "predicted",
    removal: options.Removal = None,
    budget: options.Evaluations = None,
    seconds: options.Seconds = None,
    protected: options.Protected = "",
    schema: options.Schema = None,
    read: options.Read = None,
    seed: options.Seed = 0,
    recording: options.Recording = None,
    name: Annotated[str, typer.Option(help="What the study is called; by default the model's name.")] = "",
    language: options.Language = "en",
    timeout: Annotated[float, typer.Option(help="Seconds per unit of work; 0: as long as it takes.")] = 600.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Units at once; by default one per core, up to 4.")] = None,
    fresh: options.Fresh = False,
    trust: options.Trust = False,
    draws: options.Draws = 0,
    missing: options.Missing = "",
) -> int:
    """Explain, grade and check a network on held-out rows, kept in a folder with a report; the same command goes on."""
    from ..engine.budget import Budget
    from ..studies.auditing import audit as study

    desk = _desk(context)
    sources = _sources(
        model, data, label, encoding, weights, arguments, outputs, trust, draws, missing, protected, schema, read, seed
    )
    found = study(
        sources.network,
        sources.dataset,
        out=out,
        methods=chosen(methods),
        metrics=chosen(metrics),
        rows=rows,
        target=sources.target(target),
        removal=removal,
        budget=Budget(evaluations=budget, seconds=seconds),
        seed=seed,
        recording=recording,
        name=name,
        language=language,
        timeout=timeout or None,
        workers=workers,
        fresh=fresh,
        command=desk.typed,
        listener=desk.listener,
    )
    return showing.studies(desk, [found], found.report, language)


@app.command(cls=Command)
def preflight(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    rows: options.Rows = "0:8",
    label: options.Label = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    arguments: options.Arguments = "",
    outputs: options.Outputs = "",
    schema: options.Schema = None,
    read: options.Read = None,
    seed: options.Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Keep what was found in this .json file.")] = None,
    language: options.Language = "en",
    trust: options.Trust = False,
    draws: options.Draws = 0,
    missing: options.Missing = "",
) -> None:
    """What is this model? Its outputs, steadiness, costs and capabilities, and the methods that apply to it."""
    from ..studies.asking import preflight_files

    desk = _desk(context)
    sources = _sources(
        model, data, label, encoding, weights, arguments, outputs, trust, draws, missing, "", schema, read, seed
    )
    found = preflight_files(sources, rows=rows, listener=desk.listener)
    showing.preflight(desk, found, language, None if out is None else found.save(out))


# One question --------------------------------------------------------------------------------


@app.command(cls=Command)
def explain(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    method: Annotated[str, typer.Option(help="A name from pellucid methods, or auto.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting of the method, e.g. steps=50.")] = None,
    rows: options.Rows = "0:5",
    target: options.Target = "predicted",
    background: options.Background = None,
    removal: options.Removal = None,
    label: options.Label = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    arguments: options.Arguments = "",
    outputs: options.Outputs = "",
    budget: options.Evaluations = None,
    schema: options.Schema = None,
    read: options.Read = None,
    seed: options.Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Keep the explanation in this .npz file, or as a page (.html).")
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(help="How a network that writes goes on: explained token by token; '' lets it write an answer."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many players of a row are shown.")] = 10,
    language: options.Language = "en",
    audience: options.Audience = "expert",
    trust: options.Trust = False,
    draws: options.Draws = 0,
    missing: options.Missing = "",
) -> None:
    """Why did it decide so? Explain rows of data by one method, in sentences and a table."""
    from ..studies.asking import explain_files
    from ..studies.publishing import write_page

    desk = _desk(context)
    sources = _sources(
        model, data, label, encoding, weights, arguments, outputs, trust, draws, missing, "", schema, read, seed
    )
    asked: dict[str, Any] = {"rows": rows, "target": target, "budget": budget}
    asked |= {"background": background, "removal": removal, "answer": answer}
    found = explain_files(
        sources, method=method, settings=pairs(set_, "--set"), listener=desk.listener, **asked
    )  # fmt: skip
    columns, kept = sources.dataset.schema, None
    if out is not None:
        page = out.suffix.lower() == ".html"
        kept = write_page(found, out, language, columns) if page else found.save(out)
    numbers = sources.rows(rows).row_numbers
    showing.answer(desk, found, columns, language, audience, top, kept, numbers)


@app.command(cls=Command)
def inspect(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    rows: options.Rows = "test",
    target: options.Target = "predicted",
    label: options.Label = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    before: Annotated[str | None, typer.Option(help="Weights of another checkpoint, to stand beside.")] = None,
    arguments: options.Arguments = "",
    outputs: options.Outputs = "",
    schema: options.Schema = None,
    read: options.Read = None,
    seed: options.Seed = 0,
    out: Annotated[Path | None, typer.Option(help="Keep the inspection in this .npz file.")] = None,
    language: options.Language = "en",
    trust: options.Trust = False,
    missing: options.Missing = "",
) -> None:
    """What do its layers and units do? Watch a network over rows of data: idle units, gradients, weights."""
    from ..studies.asking import inspect_files

    desk = _desk(context)
    sources = _sources(
        model, data, label, encoding, weights, arguments, outputs, trust, 0, missing, "", schema, read, seed
    )
    found = inspect_files(sources, rows=rows, target=target, before=before, listener=desk.listener)
    showing.inspection(desk, found, language, None if out is None else found.save(out))


@app.command(cls=Command)
def evaluate(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    explanation: Annotated[str, typer.Argument()],
    metrics: options.Metrics = "default",
    rows: Annotated[str | None, typer.Option(help="Rows of DATA that .npy values explain, e.g. 0:24 or test.")] = None,
    target: Annotated[str | None, typer.Option(help="What .npy values explain; predicted unless said.")] = None,
    background: options.Background = None,
    removal: options.Removal = None,
    pooling: Annotated[
        str, typer.Option(click_type=click.Choice(("sum", "norm")), help="How .npy element values become a player's.")
    ] = "sum",
    label: options.Label = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    arguments: options.Arguments = "",
    outputs: options.Outputs = "",
    schema: options.Schema = None,
    read: options.Read = None,
    seed: options.Seed = 0,
    trust: options.Trust = False,
    draws: options.Draws = 0,
    missing: options.Missing = "",
) -> int:
    """Is the explanation any good? Grade it by metrics, each beside attributions that know nothing."""
    from ..studies.asking import evaluate_files

    desk = _desk(context)
    sources = _sources(
        model, data, label, encoding, weights, arguments, outputs, trust, draws, missing, "", schema, read, seed
    )
    asked: dict[str, Any] = {"rows": rows, "target": target, "pooling": pooling}
    asked |= {"background": background, "removal": removal}
    found = evaluate_files(sources, explanation, metrics=chosen(metrics), listener=desk.listener, **asked)
    return showing.scores(desk, found)


@app.command(cls=Command)
def compare(
    context: typer.Context,
    model: options.Model,
    data: options.Data,
    methods: options.Methods = "default",
    metrics: options.Metrics = "default",
    rows: options.Rows = "0:24",
    target: options.Target = "predicted",
    background: options.Background = None,
    removal: options.Removal = None,
    label: options.Label = None,
    encoding: options.Encoding = None,
    weights: options.Weights = None,
    arguments: options.Arguments = "",
    outputs: options.Outputs = "",
    budget: options.Evaluations = None,
    schema: options.Schema = None,
    read: options.Read = None,
    seed: options.Seed = 0,
    language: options.Language = "en",
    trust: options.Trust = False,
    draws: options.Draws = 0,
    missing: options.Missing = "",
) -> int:
    """Which method is best here? Explain the same rows by several methods, grade and rank them."""
    from ..studies.asking import compare_files

    desk = _desk(context)
    sources = _sources(
        model, data, label, encoding, weights, arguments, outputs, trust, draws, missing, "", schema, read, seed
    )
    asked: dict[str, Any] = {"rows": rows, "target": target, "budget": budget}
    asked |= {"background": background, "removal": removal}
    names = {"methods": chosen(methods), "metrics": chosen(metrics)}
    return showing.comparison(desk, compare_files(sources, listener=desk.listener, **names, **asked), language)


# Runs that are done ----------------------------------------------------------------------------


@app.command(cls=Command)
def diff(
    context: typer.Context,
    first: Annotated[Path, typer.Argument()],
    second: Annotated[Path, typer.Argument()],
    language: options.Language = "en",
) -> None:
    """Are two runs the same? Compare them number by number; dates and durations do not count."""
    from ..studies.comparing import diff as compared

    showing.difference(_desk(context), compared(first, second), language)


@app.command(cls=Command)
def report(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument()],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="The page's title.")] = None,
    language: options.Language = "en",
    format: Annotated[str, typer.Option(click_type=click.Choice(("html",)), help="What kind of file.")] = "html",
) -> None:
    """Write one report about runs that are done."""
    from ..studies.opening import open_all
    from ..studies.publishing import write_report

    studies = [study for run in runs for study in open_all(run)]
    written = write_report(studies, out, language, title)
    showing.written(_desk(context), written, language)


@app.command(cls=Command)
def methods(context: typer.Context, name: Annotated[str | None, typer.Argument()] = None) -> None:
    """The methods that explain, or one of them with its settings, promises and source."""
    showing.cards(_desk(context), "methods", name)


@app.command(cls=Command)
def metrics(context: typer.Context, name: Annotated[str | None, typer.Argument()] = None) -> None:
    """The metrics that grade explanations, or one of them with its settings and source."""
    showing.cards(_desk(context), "metrics", name)


# ---------------------------------------------------------------------------------------------


def _desk(context: typer.Context) -> Desk:
    return context.obj


def _sources(
    model: str,
    data: str,
    label: str | None,
    encoding: str | None,
    weights: str | None,
    arguments: str,
    outputs: str,
    trust: bool,
    draws: int,
    missing: str,
    protected: str,
    schema: Path | None,
    read: list[str] | None,
    seed: int,
) -> Any:
    """What the words about model and data say, as one object."""
    from ..studies.asking import Sources

    module_path()
    return Sources(
        model,
        data,
        label=label,
        encoding=encoding,
        weights=weights,
        arguments=json_object(arguments, "--arguments"),
        outputs=listed(outputs),
        trust=trust,
        draws=draws,
        missing=missing,
        protected=listed(protected),
        schema=schema,
        seed=seed,
        reading=pairs(read, "--read"),
    )


def main() -> None:
    """The program ``pellucid``."""
    sys.exit(run(typer.main.get_command(app), sys.argv[1:]))


if __name__ == "__main__":
    main()
