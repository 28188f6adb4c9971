"""The command line's parts: what is printed of hostile text, exit codes, and stopping in good order."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import click
import pytest

from pellucid.faces import printing, running
from pellucid.faces.printing import Page, visible
from pellucid.faces.progress import Bars, stoppable
from pellucid.records.errors import Cancelled, InputError, LoadError, ModelError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 名字 é", "plain 名字 é"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\nb\rc", "a\\nb\\rc"),
        ("\ud800", "\\ud800"),
        ("\u2068isolated\u2069", "isolated"),
        ("\u200bhidden\ufeff", "\\u200bhidden\\ufeff"),
    ],
)
def test_what_would_move_the_cursor_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_markup_in_names_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page()
    page.say("[red]x[/red] :smile:")
    page.table([{"[b]name": "[/]", "value": "1"}])
    page.error("[link=x]y")
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "[red]x[/red] :smile:"
    assert "[b]name" in out and "[/]" in out
    assert err == "error: [link=x]y\n"


@pytest.mark.parametrize("width", [30, 40, 71, 72, 200])
def test_tables_fit_and_lose_nothing(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    row = {"method": "integrated_gradients", "metric": "faithfulness_correlation", "value": "−0.123", "status": "很好"}
    Page().table([row, row], numbers=("value",))
    out = capsys.readouterr().out
    assert all(printing.cell_len(line) <= width for line in out.splitlines())
    flat = "".join(out.split())
    assert all(cell in flat for cell in row.values())


def test_json_is_json_whatever_the_data_say(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(json=True)
    page.say("not this")
    page.table([{"nor": "this"}])
    page.record({"name": "\ud800", "nan": float("nan"), "zh": "中"})
    assert json.loads(capsys.readouterr().out) == {"name": "\ud800", "nan": None, "zh": "中"}


def ran(action: Any, *words: str) -> int:
    @click.command()
    @click.option("--json", is_flag=True)
    @click.option("--debug", is_flag=True)
    @click.pass_obj
    def command(desk: running.Desk, **_: bool) -> Any:
        return action(desk)

    return running.run(command, words or ("--",))


def raising(error: BaseException) -> Any:
    def action(desk: running.Desk) -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad"), 2),
        (LoadError("bad"), 2),
        (ModelError("bad"), 1),
        (Cancelled("bad"), 1),
        (click.UsageError("bad"), 2),
        (KeyboardInterrupt(), 1),
        (OSError(28, "bad", "disk"), 1),
        (ZeroDivisionError("bad"), 1),
    ],
)
def test_exit_codes_and_no_traceback(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(raising(error)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip().startswith("error: ") and "Traceback" not in err
    assert ran(raising(error), "--json") == code
    assert json.loads(capsys.readouterr().out)["error"]["text"]


def test_debug_shows_where(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(raising(ZeroDivisionError("bad")), "--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_commands_own_code_is_returned() -> None:
    assert ran(lambda desk: 3) == 3
    assert ran(lambda desk: None) == 0


def test_ctrl_c_first_asks_and_then_stops(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    page = Page()
    bars = Bars(page)
    with pytest.raises(KeyboardInterrupt), stoppable(bars, page):
        assert not bars.cancelled()
        os.kill(os.getpid(), signal.SIGINT)
        assert bars.cancelled()
        assert "Ctrl-C again" in capsys.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_work_that_is_asked_to_stop_ends_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    def action(desk: running.Desk) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        if desk.listener.cancelled():
            raise Cancelled("stopped on request", fix="start the same run again to go on")

    assert ran(action) == 1
    assert "start the same run again" in capsys.readouterr().err


def test_bars_are_drawn_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work(bars: Bars) -> str:
        bars.started("outer [x]", 2)
        bars.started("inner", 1)
        bars.advanced()
        bars.finished()
        bars.advanced(2)
        bars.finished()
        return capsys.readouterr().err

    assert work(Bars(Page())) == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert work(Bars(Page(), quiet=True)) == ""
    assert "outer [x]" in work(Bars(Page()))
