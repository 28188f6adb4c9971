"""Answers of an endpoint that are kept in a folder: a run that was killed pays nothing twice."""

from __future__ import annotations

import _thread
import json
import math
import multiprocessing
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from serving import Gone, Said, Served
from test_endpoint import X, answers, endpoint, outputs, true

import pellucid
from pellucid.backends import endpoint_answers
from pellucid.records.errors import ModelError, StoreError
from pellucid.removals import Constant

ROWS = torch.randn(60, 4, generator=torch.Generator().manual_seed(5))


def test_a_run_that_failed_goes_on_where_it_stopped(tmp_path):
    with Served(answers) as served:
        served.misbehave = lambda call: Said("", 404) if call.number >= 12 else None
        fields = {"cache": str(tmp_path), "rows": 3, "concurrency": 2}
        with pytest.raises(ModelError, match="status 404"):
            outputs(endpoint(served, **fields), ROWS)
        before = len(served.paid)
        assert 20 < before < 60
        served.misbehave = lambda call: None
        torch.testing.assert_close(outputs(endpoint(served, **fields), ROWS), true(ROWS), atol=1e-6, rtol=0)
        assert len(served.paid) == 60 and set(served.twice) == {json.dumps(ROWS[0].tolist())}


def test_what_is_all_known_costs_one_question_to_the_canary(tmp_path):
    with Served(answers) as served:
        first = pellucid.explain(endpoint(served, cache=str(tmp_path)), X, "kernel_shapley", background=X)
        paid = served.paid.total()
        again = pellucid.explain(endpoint(served, cache=str(tmp_path)), X, "kernel_shapley", background=X)
        assert served.paid.total() == paid
        np.testing.assert_array_equal(first.values, again.values)


def _asks(file, folder) -> None:
    from pellucid.backends.endpoint import Endpoint
    from pellucid.backends.endpoint_file import endpoint_settings

    Endpoint(endpoint_settings({**file, "cache": folder})).outputs({"inputs": ROWS})


def test_a_process_that_is_killed_leaves_its_answers(tmp_path):
    with Served(answers) as served:
        process = multiprocessing.get_context("fork").Process(
            target=_asks, args=(served.file(rows=2, concurrency=1), str(tmp_path))
        )
        served.misbehave = lambda call: process.kill() if call.number == 15 else None
        process.start()
        process.join()
        assert process.exitcode == -9 and len(served.paid) < 40
        torch.testing.assert_close(
            outputs(endpoint(served, rows=2, cache=str(tmp_path)), ROWS), true(ROWS), atol=1e-6, rtol=0
        )
        keys = [call.headers["idempotency-key"] for call in served.calls]
        assert keys[15] in keys[16:]  # what was under way is asked for in the same words, and is not paid again
        assert set(served.twice) <= {json.dumps(ROWS[0].tolist())}


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """What runs in the background may have been started deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_what_was_paid_before_ctrl_c_is_kept(tmp_path):
    with Served(answers) as served:
        served.misbehave = lambda call: _thread.interrupt_main() if call.number == 12 else None
        model = endpoint(served, rows=2, concurrency=2, cache=str(tmp_path), timeout=1.0)
        with pytest.raises(KeyboardInterrupt):
            outputs(model, ROWS)
            time.sleep(1)  # where the last call was answered first
        served.misbehave = lambda call: None
        torch.testing.assert_close(outputs(model, ROWS), true(ROWS), atol=1e-6, rtol=0)
        assert set(served.twice) <= {json.dumps(ROWS[0].tolist())} and len(served.calls) < 45
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("endpoint")]


def test_several_processes_share_a_folder(tmp_path):
    with Served(answers) as served:
        file = served.file(rows=5)
        processes = [
            multiprocessing.get_context("fork").Process(target=_asks, args=(file, str(tmp_path))) for _ in range(3)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0, 0]
        torch.testing.assert_close(outputs(endpoint(served, cache=str(tmp_path)), ROWS), true(ROWS), atol=1e-6, rtol=0)


def test_another_question_does_not_take_these_answers(tmp_path):
    with Served(lambda rows: [[1.0]] * len(rows)) as served:
        outputs(endpoint(served, cache=str(tmp_path)))
        with Served(lambda rows: [[2.0]] * len(rows)) as other:
            assert outputs(endpoint(other, cache=str(tmp_path))).tolist() == [[2.0]] * 5
        model = endpoint(served, cache=str(tmp_path), headers={"X-Tenant": "b"})
        outputs(model)
        assert len(served.calls) == 8
        outputs(endpoint(served, cache=str(tmp_path), retries=9, concurrency=2, timeout=3.0))
        assert len(served.calls) == 8


def test_a_folder_of_another_model_is_told(tmp_path):
    with Served(answers) as served:
        outputs(endpoint(served, cache=str(tmp_path)), X[:2])
        served.answer = lambda rows: [[0.0, 9.0]] * len(rows)
        fresh = endpoint(served, cache=str(tmp_path))
        with pytest.raises(
            ModelError, match=r"changed during the run.*answers of the former model lie in .*another folder"
        ):
            outputs(fresh)
        with pytest.raises(ModelError, match="changed during the run"):
            outputs(endpoint(served, cache=str(tmp_path)))


def test_answers_that_came_before_a_change_was_noticed_are_dropped_on_disk(tmp_path):
    with Served(answers) as served:
        served.misbehave = lambda call: (
            Said({"predictions": [[1.0, 2.0]] * len(call.rows)}) if call.number >= 18 else None
        )
        with pytest.raises(ModelError, match="changed during the run"):
            outputs(endpoint(served, rows=1, concurrency=1, check_every=10, cache=str(tmp_path)), ROWS)
        with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
            kept = [np.frombuffer(value).tolist() for (value,) in connection.execute("SELECT value FROM answer")]
        assert len(kept) == 11 and [1.0, 2.0] not in kept


def test_a_turned_bit_is_noticed(tmp_path):
    with Served(answers) as served:
        outputs(endpoint(served, cache=str(tmp_path)))
        with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
            connection.execute("UPDATE answer SET value = ? WHERE rowid = 3", (np.array([1.0, 2.0]).tobytes(),))
        with pytest.raises(StoreError, match=r"answers.sqlite: a kept answer of the endpoint is damaged.*asked again"):
            outputs(endpoint(served, cache=str(tmp_path)))


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"nonsense" * 1000)
    with Served(answers) as served, pytest.raises(StoreError, match=r"kept answers cannot be used.*not a database"):
        outputs(endpoint(served, cache=str(tmp_path)))


def test_what_is_kept_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint_answers, "MOST_ON_DISK", 20)
    with Served(answers) as served:
        model = endpoint(served, remember=7, cache=str(tmp_path))
        pellucid.explain(model, ROWS, "occlusion", removal=Constant(0.0))
        assert len(model._memory._known) == 7
        with sqlite3.connect(tmp_path / "answers.sqlite") as connection:
            assert connection.execute("SELECT count(*) FROM answer").fetchone() == (20,)


def test_no_row_stands_in_the_folder_but_the_canary(tmp_path):
    with Served(lambda rows: [float(len(text)) for text in rows]) as served:
        model = endpoint(served, cache=str(tmp_path))
        pellucid.explain(model, [["Alice", "owes", "9999"], ["Bob", "pays"]], "occlusion")
        kept = b"".join(one.read_bytes() for one in tmp_path.iterdir())
        assert kept.count(b"Alice") + kept.count(b"Bob") == 1


def exact(rows):
    """Numbers that do not depend on how many rows are asked at once, to the last bit."""
    return [[math.tanh(a * b - c), math.sin(a + d)] for a, b, c, d in rows]


@pytest.mark.parametrize("seed", [0, 1])
def test_five_thousand_rows_through_a_bad_line(seed, tmp_path):
    """Failing calls, cut connections and limits: finished, equal to the healthy run, and no row paid twice."""
    rows = torch.randn(5_000, 4, generator=torch.Generator().manual_seed(seed))
    chance = np.random.default_rng(seed)

    def bad(call):
        if len(served.calls) % 40 == 39:
            return Said("slow down", 429, {"Retry-After": "0"})
        faults = (Said("", 500), Gone(), Gone(paid=True), Said(b"<html>", kind="text/html"), Said(b'{"predictions": ['))
        return faults[chance.integers(len(faults))] if chance.random() < 0.05 else None

    with Served(exact, bad) as served:
        model = endpoint(served, rows=20, concurrency=8, check_every=50, cache=str(tmp_path))
        found = torch.cat([outputs(model, part) for part in rows.split(1_000)])
        assert len(served.paid) == 5_000 and set(served.twice) == {json.dumps(rows[0].tolist())}
        assert len(served.calls) > 262
    with Served(exact) as healthy:
        wanted = outputs(endpoint(healthy, rows=20, check_every=0), rows)
    np.testing.assert_array_equal(found.numpy(), wanted.numpy())
