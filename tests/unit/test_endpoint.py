"""Models behind HTTP endpoints: right numbers, nothing paid twice, and a sentence for everything that can go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from serving import Dripping, Gone, Said, Served
from torch import nn

import pellucid
from pellucid.backends.endpoint import Endpoint
from pellucid.backends.endpoint_file import endpoint_settings
from pellucid.data.series_encoding import SeriesEncoding
from pellucid.records.errors import LoadError, ModelError, PellucidError
from pellucid.removals import Constant

NAMES = ("bad", "good")
X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def network() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    with torch.no_grad():
        for weights in net.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator))
    return net


NET = network()


def answers(rows):
    with torch.no_grad():
        return NET(torch.tensor(rows, dtype=torch.float32)).tolist()


def endpoint(served: Served, secrets=None, **fields) -> Endpoint:
    return Endpoint(endpoint_settings(served.file(**fields)), secrets, name="credit")


def outputs(model: Endpoint, rows=X):
    return model.outputs({"inputs": rows})


def true(rows=X):
    with torch.no_grad():
        return NET(rows).double()


def once(said) -> Callable:
    """Misbehaves on the fourth call, when the canary is settled, and only then."""
    return lambda call: said if call.number == 3 else None


# The same numbers, and each row once --------------------------------------------------------


def test_an_endpoint_explains_as_its_network_does():
    with Served(answers) as served:
        model = endpoint(served, outputs=NAMES, rows=3)
        for method, settings in (("exact_shapley", {}), ("occlusion", {}), ("lime", {"samples": 40})):
            ours, theirs = (
                pellucid.explain(one, X, method, target=1, removal=Constant(0.0), **settings) for one in (NET, model)
            )
            np.testing.assert_allclose(theirs.values, ours.values, atol=1e-5 * np.abs(ours.values).max())
            assert theirs.outputs[0] == ("good",)
            assert theirs.model == "credit"


def test_every_distinct_row_is_paid_once_besides_the_canary():
    with Served(answers) as served:
        model = endpoint(served)
        pellucid.explain(model, X, "kernel_shapley", target=0, background=X)
        pellucid.explain(model, X, "kernel_shapley", target=1, background=X)
        canary = json.dumps(served.calls[0].rows[0])
        assert set(served.twice) == {canary}
        assert served.paid[canary] <= 4
        assert len(served.paid) > 25


def test_a_model_without_a_canary_pays_nothing_twice():
    with Served(answers) as served:
        model = endpoint(served, check_every=0, rows=2)
        for rows in (X, X[:2], torch.cat([X, X])):
            torch.testing.assert_close(outputs(model, rows), true(rows), atol=1e-6, rtol=0)
        assert len(served.paid) == 5 and not served.twice and len(served.calls) == 3


def test_a_preflight_asks_anew_and_little():
    with Served(answers) as served:
        model = endpoint(served)
        found = pellucid.preflight(model, X)
        assert found.unstable == found.coupled == 0 and not found.warnings
        assert [pace.batch for pace in found.costs] == [1, 5]
        assert 20 < served.paid.total() <= 40 and len(served.paid) == 5


def test_afresh_asks_again():
    with Served(answers) as served:
        model = endpoint(served, check_every=0)
        outputs(model)
        with model.afresh():
            outputs(model)
        outputs(model)
        assert set(served.paid.values()) == {2}


# What another try mends -----------------------------------------------------------------------


def in_a_second(call):
    moment = datetime.now(UTC).replace(microsecond=0)
    return {"Retry-After": format_datetime(moment + timedelta(seconds=1), usegmt=True), "Date": format_datetime(moment)}


MENDED = {
    "500": lambda call: Said("oops", 500),
    "502 with a page": lambda call: Said(b"<html>bad gateway</html>", 502, kind="text/html"),
    "429 with seconds": lambda call: Said("slow down", 429, {"Retry-After": "0"}),
    "429 with a date": lambda call: Said("slow down", 429, in_a_second(call)),
    "429 without a word": lambda call: Said("slow down", 429),
    "503 with seconds": lambda call: Said("busy", 503, {"Retry-After": "0"}),
    "a connection cut": lambda call: Gone(),
    "a connection cut after the work": lambda call: Gone(paid=True),
    "a page with status 200": lambda call: Said(b"<html>maintenance</html>", kind="text/html"),
    "half a reply": lambda call: Said(b'{"predictions": [[0.1, 0', headers={"Content-Length": "400"}),
    "half of its JSON": lambda call: Said(b'{"predictions": [[0.1, 0'),
    "no HTTP": lambda call: Said(b"hello\r\n", raw=True),
    "an answer too few": lambda call: Said({"predictions": answers(call.rows)[1:]}),
    "an answer too many": lambda call: Said({"predictions": [*answers(call.rows), [0.0, 0.0]]}),
    "null for a row": lambda call: Said({"predictions": [None, *answers(call.rows)[1:]]}),
    "NaN for a row": lambda call: Said({"predictions": [*answers(call.rows)[:-1], [float("nan"), 1.0]]}),
    "an error for a row": lambda call: Said({"predictions": [{"error": "x"}, *answers(call.rows)[1:]]}),
    "null for all rows": lambda call: Said({"predictions": [None] * len(call.rows)}),
    "a number too large": lambda call: Said({"predictions": [[10**400, 1.0]] * len(call.rows)}),
    "truth values": lambda call: Said({"predictions": [[True, False]] * len(call.rows)}),
    "compressed": lambda call: Said({"predictions": []}, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("kind", MENDED)
def test_a_passing_fault_is_mended_by_another_try(kind):
    with Served(answers) as served:
        served.misbehave = lambda call: MENDED[kind](call) if call.number == 3 else None
        model = endpoint(served, rows=3, timeout=0.5)
        began = time.monotonic()
        torch.testing.assert_close(outputs(model), true(), atol=1e-6, rtol=0)
        assert time.monotonic() - began > (0.5 if kind == "429 with a date" else 0)
        assert set(served.twice) <= {json.dumps(X[0].tolist())}
        keys = [call.headers["idempotency-key"] for call in served.calls]
        assert keys[3] in keys[4:] or "row" in kind or kind in ("truth values", "a number too large")


def test_a_stale_connection_is_replaced_without_a_word():
    with Served(answers) as served:
        served.misbehave = lambda call: Said({"predictions": answers(call.rows)}, headers={"Connection": "close"})
        torch.testing.assert_close(outputs(endpoint(served, rows=1, retries=0)), true(), atol=1e-6, rtol=0)


def test_the_pace_is_kept():
    with Served(answers) as served:
        model = endpoint(served, check_every=0, rows=1, rate=20)
        began = time.monotonic()
        outputs(model)
        assert time.monotonic() - began >= 4 / 20


# What no other try mends ------------------------------------------------------------------------

FINAL = {
    "redirect": (
        lambda call: Said("", 302, {"Location": "http://169.254.169.254/"}),
        {},
        "redirect .status 302., which is not followed.*final address into url:",
    ),
    "not let in": (lambda call: Said("", 401), {}, "does not let us in .status 401.*name it: headers:"),
    "wrong secret": (
        lambda call: Said("", 403),
        {"headers": {"Authorization": "Bearer ${KEY}"}},
        "is the secret in KEY right",
    ),
    "not found": (lambda call: Said("", 404), {}, "answers with status 404.*are url: and method: right"),
    "for ever busy": (
        lambda call: Said("", 429, {"Retry-After": "5000"}),
        {"patience": 60.0},
        r"more patience than it is given.*429; the next try would be in 5000 s.*patience: is 60 seconds",
    ),
    "for ever broken": (
        lambda call: Said("", 500),
        {"retries": 2},
        "the endpoint failed 3 times.*the last time: status 500",
    ),
    "for ever a page": (
        lambda call: Said(b"<html>", kind="text/html"),
        {"retries": 1},
        "failed 2 times.*status 200, but no JSON .a page for people",
    ),
    "text for JSON": (lambda call: Said(b"[1]", kind="text/plain"), {"retries": 0}, "status 200, but no JSON"),
    "another path": (
        lambda call: Said({"secret": [1]}),
        {},
        r"cannot be read.*the reply has no 'predictions': it is an object of 1 fields.*do answer: and outputs: say",
    ),
    "no list": (
        lambda call: Said({"predictions": 3}),
        {},
        "there should be a list of 1 answers, and there is a number",
    ),
    "too large": (
        lambda call: Said({"predictions": [[1.0] * 5000]}),
        {"largest_reply": 2000},
        "the reply is larger than 2,000 bytes.*largest_reply:",
    ),
}


@pytest.mark.parametrize("kind", FINAL)
def test_a_fault_that_stays_is_told_in_a_sentence(kind):
    said, fields, message = FINAL[kind]
    with Served(answers, said) as served:
        model = endpoint(served, {"KEY": "sesame"}, **fields)
        with pytest.raises(ModelError, match=f"(?s){message}") as caught:
            outputs(model)
        assert caught.value.where.startswith("credit (127.0.0.1)") or "larger" in message
        assert "sesame" not in str(caught.value) and "169.254" not in str(caught.value)
        assert len(served.calls) <= 3


def test_an_endpoint_that_is_down_is_told_soon():
    with Served(answers) as served:
        file = served.file(retries=2)
    model = Endpoint(endpoint_settings(file), name="credit")
    with pytest.raises(ModelError, match=r"credit .127.0.0.1.: the endpoint failed 3 times.*no connection: .*refused"):
        pellucid.explain(model, X, "occlusion")


def test_an_endpoint_that_goes_down_is_not_asked_for_each_row():
    with Served(answers) as served:
        served.misbehave = lambda call: Said("", 500) if call.number >= 3 else None
        model = endpoint(served, rows=64, retries=1)
        with pytest.raises(ModelError, match="the endpoint failed 2 times"):
            outputs(model, torch.randn(50, 4))
        assert len(served.calls) <= 3 + 2 * 3


GUILTY = {"refused": (400, "refuses the rows .status 400."), "broken": (500, "failed 2 times.*status 500")}


@pytest.mark.parametrize("kind", GUILTY)
def test_a_failing_call_is_halved_to_the_guilty_row(kind):
    status, message = GUILTY[kind]
    rows = torch.arange(80, dtype=torch.float32).reshape(20, 4) / 80
    with Served(answers) as served:
        served.misbehave = lambda call: Said("", status) if rows[13].tolist() in call.rows else None
        model = endpoint(served, retries=1)
        with pytest.raises(ModelError, match=message) as caught:
            outputs(model, rows)
        assert "row [0.65" in caught.value.where
        answered = len(served.paid)
        outputs(model, rows[:13])
        assert answered >= 10 and set(served.twice) <= {json.dumps(rows[0].tolist())}


def test_calls_that_are_too_large_become_smaller():
    rows = torch.randn(300, 4, generator=torch.Generator().manual_seed(2))
    with Served(answers) as served:
        served.misbehave = lambda call: Said("too large", 413) if len(call.rows) > 20 else None
        torch.testing.assert_close(outputs(endpoint(served), rows), true(rows), atol=1e-6, rtol=0)
        assert len(served.calls) < 80
        assert outputs(endpoint(served), rows).shape == (300, 2)


def test_other_numbers_in_the_middle_of_a_run():
    with Served(answers) as served:
        served.misbehave = lambda call: Said({"predictions": [[0.5] * 3] * len(call.rows)}) if call.number > 2 else None
        with pytest.raises(ModelError, match=r"changed their form.*3 numbers for a row, 2 before.*outputs:"):
            outputs(endpoint(served, rows=2))
        with pytest.raises(ModelError, match=r"does not hold the 2 finite numbers for the row"):
            outputs(endpoint(served, rows=1, retries=1, outputs=NAMES))


# Is it still the same model? -----------------------------------------------------------------


def test_a_model_that_changes_is_noticed_and_what_came_since_is_dropped():
    rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))
    with Served(answers) as served:
        changed = lambda call: Said({"predictions": [[1.0, 2.0]] * len(call.rows)}) if call.number >= 23 else None  # noqa: E731
        served.misbehave = changed
        model = endpoint(served, rows=1, check_every=10)
        with pytest.raises(ModelError, match=r"endpoint changed during the run.*answered otherwise.*are forgotten"):
            outputs(model, rows)
        assert 23 < len(served.calls) <= 34
        assert outputs(model, rows).tolist() == [[1.0, 2.0]] * 60
        assert model.version == (1,)


def test_a_service_that_remembers_calls_does_not_hide_a_change():
    with Served(answers) as served:
        model = endpoint(served)
        outputs(model)
        served.answer = lambda rows: [[1.0, 2.0]] * len(rows)
        with pytest.raises(ModelError, match="endpoint changed during the run"):
            pellucid.explain(model, X + 1, "exact_shapley")


def test_a_model_that_changes_before_the_end_spoils_the_explanation():
    with Served(answers) as served:
        served.misbehave = lambda call: (
            Said({"predictions": [[1.0, 2.0]]}) if call.number > 3 and len(call.rows) == 1 else None
        )
        with pytest.raises(ModelError, match="endpoint changed during the run"):
            pellucid.explain(endpoint(served), X, "exact_shapley")


def test_a_version_in_the_reply_is_watched():
    with Served(answers) as served:
        served.misbehave = lambda call: Said({"predictions": answers(call.rows), "model": {"v": call.number // 4}})
        with pytest.raises(ModelError, match=r"changed during the run.*name another version of the model"):
            outputs(endpoint(served, rows=1, version="model.v"))


def test_an_endpoint_that_does_not_repeat_itself_gets_a_caution():
    draw = np.random.default_rng(0)
    with Served(lambda rows: (np.array(answers(rows)) + draw.normal(0, 0.01, (len(rows), 2))).tolist()) as served:
        e = pellucid.explain(endpoint(served), X, "exact_shapley")
        assert "not_repeatable" in {caution.code for caution in e.warnings}


def test_an_endpoint_whose_rows_depend_on_their_neighbours_is_asked_row_by_row():
    def coupled(rows):
        return (np.array(answers(rows)) - np.mean(answers(rows), axis=0)).tolist()

    with Served(coupled) as served:
        model = endpoint(served)
        e = pellucid.explain(model, X, "occlusion", removal=Constant(0.0))
        assert "batch_coupled" in {caution.code for caution in e.warnings}
        assert {len(call.rows) for call in served.calls[3:]} == {1}
        assert e.cost.batch > 100
        assert "batch_coupled" in {caution.code for caution in pellucid.preflight(model, X).warnings}
    with Served(coupled) as served:
        model = endpoint(served)
        pellucid.explain(model, X[:1], "occlusion", removal=Constant(0.0))
        assert {len(call.rows) for call in served.calls} == {1, 2} and model.manners[1] > 0.1


def test_a_steady_endpoint_gets_no_caution():
    with Served(answers) as served:
        e = pellucid.explain(endpoint(served), X, "exact_shapley", removal=Constant(0.0))
        assert not {"not_repeatable", "batch_coupled"} & {caution.code for caution in e.warnings}


# Bounds on time and size -----------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS = {
    "headers byte by byte": Dripping(b"HTTP/1.1 200 OK\r\n", b"x", 0.02),
    "a body byte by byte": Dripping(HEAD + b"Content-Length: 100000\r\n\r\n", b"1", 0.02),
    "interim replies for ever": Dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_trickles_in_wins_no_time(kind):
    with Served(answers, lambda call: ENDLESS[kind]) as served:
        model = endpoint(served, timeout=0.3, retries=1)
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"failed 2 times.*no answer in time"):
            outputs(model)
        assert time.monotonic() - began < 3


LARGE = {
    "announced": Dripping(HEAD + b"Content-Length: 10737418240\r\n\r\n", b" " * 65536, 0),
    "in pieces": Dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65536 + b"\r\n", 0),
    "until the end": Dripping(HEAD + b"Connection: close\r\n\r\n", b" " * 65536, 0),
}


@pytest.mark.parametrize("kind", LARGE)
def test_ten_gigabytes_are_left_alone(kind):
    with Served(answers, lambda call: LARGE[kind]) as served:
        with pytest.raises(ModelError, match="the reply is larger than 1,000,000 bytes"):
            outputs(endpoint(served, largest_reply=1_000_000))
        time.sleep(0.1)
        assert served.sent < 40_000_000


# Files, forms and secrets ---------------------------------------------------------------------


def test_a_file_beside_its_data(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDIT_KEY", "open sesame")
    with Served(answers) as served:
        file = served.file(headers={"Authorization": "Bearer ${CREDIT_KEY}"}, outputs=list(NAMES), cache="kept")
        for ending, text in (
            (".yaml", yaml.safe_dump(file)),
            (".yml", yaml.safe_dump(file)),
            (".json", json.dumps(file)),
        ):
            path = tmp_path / f"credit{ending}"
            path.write_text(text)
            model = pellucid.load(path)
            assert model.labels == NAMES and model.name == "credit"
            e = pellucid.explain(model, X, "exact_shapley", target="good")
        assert {call.headers["authorization"] for call in served.calls} == {"Bearer open sesame"}
        assert (tmp_path / "kept" / "answers.sqlite").exists()
        kept = b"".join(one.read_bytes() for one in (tmp_path / "kept").iterdir())
        shown = repr(model) + repr(vars(model)) + repr(model.file) + str(e) + json.dumps(e.to_frame().to_dict())
        assert "sesame" not in shown and b"sesame" not in kept


def test_a_secret_that_is_not_there(tmp_path, monkeypatch):
    path = tmp_path / "credit.yaml"
    path.write_text('{url: "https://example.com", request: $rows, headers: {X-Api-Key: "${NOT_THERE}"}}')
    with pytest.raises(LoadError, match=r"the environment has no NOT_THERE.*export NOT_THERE"):
        pellucid.load(path)
    monkeypatch.setenv("NOT_THERE", "two\nlines")
    with pytest.raises(LoadError, match="NOT_THERE holds characters that no header may hold") as caught:
        pellucid.load(path)
    assert "lines" not in str(caught.value)


WRONG = {
    "no url": ({"request": "$rows"}, "credit.yaml: url: Field required"),
    "a slip": ({"url": "https://e.com", "request": "$rows", "timeot": 3}, "no field 'timeot'.*did you mean 'timeout'"),
    "a range": ({"url": "https://e.com", "request": "$rows", "rows": 0}, "rows: Input should be greater than"),
    "a kind": ({"kind": "grpc", "url": "https://e.com"}, "no kind 'grpc' of endpoint.*json, openai-completions"),
    "a secret": (
        {"url": "https://e.com", "request": "$rows", "headers": {"X-Api-Key": "hunter2"}},
        "a secret does not belong in the file: write X-Api-Key: ",
    ),
    "a header": (
        {"url": "https://e.com", "request": "$rows", "headers": {"Host": "x"}},
        "the header Host is set by the call itself",
    ),
    "two lines": (
        {"url": "https://e.com", "request": "$rows", "headers": {"X": "a\r\nY: b"}},
        "characters that no header may hold",
    ),
    "no rows": ({"url": "https://e.com", "request": {"a": 1}}, "the rows must stand in it once"),
    "both": ({"url": "https://e.com", "request": ["$row", "$rows"]}, "the rows must stand in it once"),
    "a placeholder": ({"url": "https://e.com", "request": ["$rwos"]}, "no placeholder '.rwos'"),
    "twice": ({"url": "https://e.com", "request": "$rows", "outputs": ["a", "a"]}, "a name stands twice"),
    "http": ({"url": "http://e.com", "request": "$rows"}, "the url is http, so .*allow_http: true"),
    "a user": ({"url": "https://me:hunter2@e.com", "request": "$rows"}, "holds a user's name or password"),
    "a scheme": ({"url": "file:///etc/passwd", "request": "$rows"}, "must begin with https://"),
    "a fragment": ({"url": "https://e.com/#x", "request": "$rows"}, "a part behind #"),
    "blanks": ({"url": "https://e.com/a b", "request": "$rows"}, "blanks or characters"),
    "a port": ({"url": "https://e.com:99999", "request": "$rows"}, "the url cannot be read"),
    "no certificate": (
        {"url": "https://e.com", "request": "$rows", "certificate": "none.pem"},
        "file of certificates cannot be read",
    ),
    "messages": (
        {
            "kind": "openai-chat",
            "url": "https://e.com",
            "model": "m",
            "answers": {"a": "a"},
            "messages": [{"content": "x"}],
        },
        "messages: the row must stand in one of them",
    ),
    "a list": ([1], "an endpoint's file is a list of fields"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_is_wrong_names_the_field(kind, tmp_path):
    content, message = WRONG[kind]
    path = tmp_path / "credit.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(LoadError, match=message) as caught:
        pellucid.load(path)
    assert "hunter2" not in str(caught.value)


def test_damaged_and_absent_files_are_told_with_their_line(tmp_path):
    (tmp_path / "a.yaml").write_text("url: x\n  bad: [")
    (tmp_path / "a.json").write_text('{"url": ')
    for name, message in (
        ("a.yaml", "a.yaml:2.*not valid YAML"),
        ("a.json", "a.json:1:9.*not valid JSON"),
        ("b.yaml", "could not read"),
    ):
        with pytest.raises(LoadError, match=message):
            pellucid.load(tmp_path / name)
    with pytest.raises(LoadError, match="output='x' is said in the endpoint's file"):
        pellucid.load(tmp_path / "a.yaml", output="x")


def test_columns_are_sent_by_name_and_outputs_taken_by_name():
    frame = pd.DataFrame(X.numpy(), columns=list("abcd"))

    def by_name(rows):
        found = answers([[row[name] for name in "abcd"] for row in rows])
        return [{"scores": {"bad": bad, "good": good}} for bad, good in found]

    with Served(by_name) as served:
        paths = {"good": "scores.good", "bad": ["scores", "bad"]}
        model = endpoint(served, columns=list("abcd"), outputs=paths)
        e = pellucid.explain(model, frame[list("dcba")], "exact_shapley", target="good", removal=Constant(0.0))
        assert e.players.of(0) == tuple("abcd")
        wanted = pellucid.explain(NET, X, "exact_shapley", target=1, removal=Constant(0.0)).values
        np.testing.assert_allclose(e.values, wanted, atol=1e-5)
        with pytest.raises(PellucidError, match="a row has 3 cells, the endpoint's file names 4"):
            outputs(model, X[:, :3])


TEMPLATES = {
    "split": ({"dataframe_split": {"columns": "$columns", "data": "$values"}}, lambda c: c["dataframe_split"]["data"]),
    "shape": ({"inputs": [{"name": "$$x", "shape": "$shape", "data": "$values"}]}, lambda c: c["inputs"][0]["data"]),
    "plain": ("$rows", lambda c: [list(row.values()) for row in c]),
    "single": ({"row": "$row", "n": 1}, lambda c: [list(c["row"].values())]),
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_holds_rows_as_data(kind):
    template, rows = TEMPLATES[kind]
    with Served(answers, rows=rows) as served:
        answer = ["predictions", 0] if kind == "single" else "predictions"
        model = endpoint(served, request=template, answer=answer, columns=list("abcd"), check_every=0)
        torch.testing.assert_close(outputs(model), true(), atol=1e-6, rtol=0)
        sent = served.calls[0].content
        assert kind != "split" or sent["dataframe_split"]["columns"] == list("abcd")
        assert kind != "shape" or (sent["inputs"][0]["shape"] == [5, 4] and sent["inputs"][0]["name"] == "$x")
        assert kind != "single" or len(served.calls) == 5


def test_raw_rows_are_sent_through_the_encoding():
    frame = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "home": ["rents", "owns", "rents", "owns"]})
    encoding = pellucid.Encoding.fit(pellucid.read(frame.assign(y=[0, 1, 0, 1]), label="y"))

    def score(rows):
        return [[row["age"] / 10 + 5 * (row["home"] == "owns")] for row in rows]

    with Served(score) as served:
        model = pellucid.wrap(endpoint(served, send="raw"), encoding=encoding)
        e = pellucid.explain(model, frame, "exact_shapley", background=frame.iloc[[0]])
        assert e.players.of(0) == ("age", "home")
        np.testing.assert_allclose(e.values, [[0, 0], [1, 5], [2, 0], [3, 5]], atol=1e-4)
        with pytest.raises(PellucidError, match="takes raw rows, and how the numbers become them is not known"):
            outputs(endpoint(served, send="raw"))


def test_raw_series_are_sent_in_their_own_units():
    raw = 300 + 5 * np.random.default_rng(0).normal(size=(4, 2, 6))
    encoding = SeriesEncoding.fit(pellucid.Series(raw, ("heat", "load")), dtype="float64")
    with Served(lambda rows: [row[0][-1] for row in rows]) as served:
        model = pellucid.wrap(endpoint(served, send="raw"), encoding=encoding)
        e = pellucid.explain(model, raw, "occlusion", players=pellucid.players.Channels(), background=raw[:1])
        np.testing.assert_allclose(e.full[:, 0], raw[:, 0, -1], atol=1e-4)
        np.testing.assert_allclose(e.values, [[row[0, -1] - raw[0, 0, -1], 0] for row in raw], atol=1e-4)


def test_several_inputs_are_sent_by_name():
    with Served(lambda rows: [sum(row["left"]) - sum(row["right"]) for row in rows]) as served:
        rows = {"left": torch.ones(3, 2), "right": torch.ones(3, 3)}
        e = pellucid.explain(endpoint(served), rows, "exact_shapley", removal=Constant(0.0))
        np.testing.assert_allclose(e.values, [[1, 1, -1, -1, -1]] * 3, atol=1e-6)


def test_words_are_sent_as_text():
    with Served(lambda rows: [float("good" in text.split()) for text in rows]) as served:
        e = pellucid.explain(endpoint(served), [["a", "good", "film"], ["bad"]], "occlusion")
        assert e.values[0].tolist() == [0, 1, 0]
        assert "a good film" in served.calls[0].rows or "bad" in served.calls[0].rows


def test_an_endpoint_on_the_command_line(tmp_path, capsys, monkeypatch):
    import typer

    from pellucid.faces import cli, running

    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(torch.randn(40, 4).numpy().round(3), columns=list("abcd"))
    frame.assign(label=["yes", "no"] * 20).to_csv("table.csv", index=False)
    with Served(lambda rows: answers([[row[name] for name in "abcd"] for row in rows])) as served:
        (tmp_path / "credit.yaml").write_text(yaml.safe_dump(served.file(columns=list("abcd"), outputs=["no", "yes"])))
        words = ["explain", "credit.yaml", "table.csv", "--label", "label", "--method", "exact_shapley", "--json"]
        assert running.run(typer.main.get_command(cli.app), words) == 0
        found = json.loads(capsys.readouterr().out)
        assert "exact_shapley" in json.dumps(found) and served.paid
    assert running.run(typer.main.get_command(cli.app), [*words, "--rows", "7"]) == 1
    assert "the endpoint failed" in capsys.readouterr().out


def test_a_row_that_json_has_no_word_for():
    with (
        Served(answers) as served,
        pytest.raises(PellucidError, match="holds NaN or infinity, which JSON has no word for"),
    ):
        outputs(endpoint(served), torch.full((1, 4), float("nan")))
