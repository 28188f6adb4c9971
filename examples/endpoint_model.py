"""A network behind an HTTP endpoint, explained from outside: it is served in a thread here, as it would be elsewhere.

python examples/endpoint_model.py [--out runs/endpoint_model]
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.neural_network import MLPClassifier

import pellucid

COLUMNS = ("income", "debt", "years_at_home", "late_payments")


def loans(count: int, seed: int = 0) -> pd.DataFrame:
    """Applications that are granted where income is high, and debt and late payments are low."""
    dice = np.random.default_rng(seed)
    frame = pd.DataFrame(dice.normal(size=(count, 3)).round(2), columns=list(COLUMNS[:3]))
    frame["late_payments"] = dice.poisson(1.0, count)
    score = frame.income - frame.debt - 0.8 * frame.late_payments + dice.normal(0, 0.3, count)
    return frame.assign(granted=np.where(score > -0.8, "yes", "no"))


def served(network: MLPClassifier) -> tuple[ThreadingHTTPServer, str]:
    """The network behind an address of this machine; every fifth call is answered with an error, as happens."""

    class Handler(BaseHTTPRequestHandler):
        calls = 0

        def do_POST(self) -> None:
            rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            Handler.calls += 1
            status = 503 if Handler.calls % 5 == 0 else 200
            found = network.predict_proba([[row[name] for name in COLUMNS] for row in rows])
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": found.tolist()}).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}/v1/loans"


def main(out: Path) -> None:
    data = pellucid.read(loans(600), label="granted")
    network = MLPClassifier((16,), max_iter=400, tol=1e-3, random_state=0)
    network.fit(data.train.features.to_numpy(), np.array(data.classes)[data.train.labels])
    server, url = served(network)

    file = {
        "url": url,
        "private": True,  # an address of this machine
        "request": {"instances": "$rows"},
        "answer": "predictions",
        "columns": list(COLUMNS),
        "outputs": list(data.classes),
        "backoff": 0.01,
        "cache": "answers",  # kept beside the file: a second run asks nothing
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "loans.json").write_text(json.dumps(file, indent=1), encoding="utf-8")

    model = pellucid.load(out / "loans.json")
    e = pellucid.explain(model, data.test.features[:3], target="yes", background=data.train.features[:20])
    print(e)
    print(e.text())
    study = pellucid.audit(model, data, out=out / "audit", methods=["shapley", "occlusion"], rows=4)
    print(f"The report: {study.report}")
    server.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/endpoint_model"))
    main(parser.parse_args().out)
