"""Files of every format cut short at 20 places, and with a bit turned at 20: an error that names the file, or none.

Where a format has checksums, what loads is what was written. Other formats cannot tell one number from another; then
what loads must still be a thing of its kind. No other exception, no flood of memory, no long wait.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from one_network import FILES, ROWS, loaded, network

import pellucid
from pellucid import PellucidError

PLACES = 20
LONGEST, LARGEST = 5.0, 400 * 2**20
"""Seconds for one file of a few kilobytes, and bytes that all of its versions may leave or need at once."""


def damaged(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The content cut short, and with a bit turned over: at its ends, and where the dice fall between."""
    dice = np.random.default_rng(len(content))
    ends = [0, 1, len(content) - 1]
    for place in sorted({*ends, *dice.integers(0, len(content), PLACES - len(ends)).tolist()}):
        yield f"cut at {place}", content[:place]
    for place in sorted({*ends, *dice.integers(0, len(content), PLACES - len(ends)).tolist()}):
        turned = bytearray(content)
        turned[place] ^= 1 << int(dice.integers(8))
        yield f"turned at {place}", bytes(turned)


def settle(path: Path, read: Callable[[Path], Any], same: Callable[[Any], bool] | None, names: str = "") -> list[str]:
    """Read every damaged version of the file at ``path``; what is not as it should be, in sentences."""
    good, wrong, told = path.read_bytes(), [], 0
    process = psutil.Process()
    before = process.memory_info().rss
    for what, content in damaged(good):
        path.write_bytes(content)
        began = time.perf_counter()
        try:
            found = read(path)
        except PellucidError as error:
            told += 1
            if (names or path.name) not in str(error):
                wrong.append(f"{what}: the file is not named: {error}")
        except Exception as error:  # noqa: BLE001 — any other is what this test looks for
            wrong.append(f"{what}: {type(error).__name__}: {error}")
        else:
            if same is not None and not same(found):
                wrong.append(f"{what}: other numbers")
        if time.perf_counter() - began > LONGEST:
            wrong.append(f"{what}: took {time.perf_counter() - began:.1f} s")
    path.write_bytes(good)
    if process.memory_info().rss - before > LARGEST:
        wrong.append("memory was not given back")
    if not told:
        wrong.append("no damage was told")
    return wrong


# Models ------------------------------------------------------------------------------------

CHECKED = (".pt2", "state_dict and factory", "TorchScript", ".skops", ".keras")
"""Formats whose archives have checksums."""


@pytest.mark.parametrize("name", FILES)
def test_damaged_models(name: str, tmp_path: Path) -> None:
    file, keep = FILES[name]
    keep(tmp_path / file)
    rows = {"inputs": torch.from_numpy(ROWS)}

    def answers(path: Path) -> np.ndarray:
        model = loaded(path)
        try:
            return model.outputs(model.place(rows)).detach().numpy()
        except PellucidError:
            raise
        except Exception as error:  # noqa: BLE001 — the network is another one, which the engine tells of
            assert name not in CHECKED, error
            return np.zeros(0)

    wanted = network()(torch.from_numpy(ROWS)).detach().numpy()
    right = lambda found: found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-6)  # noqa: E731
    assert right(answers(tmp_path / file))
    assert not (wrong := settle(tmp_path / file, answers, right if name in CHECKED else None)), "\n".join(wrong)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_damaged_folders_of_transformers(file: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from language_models import saved

    folder = saved("bert_classes", tmp_path / "reader-17")
    assert not (wrong := settle(folder / file, lambda path: pellucid.load(folder), None, names="reader-17")), "\n".join(
        wrong
    )


# Data --------------------------------------------------------------------------------------


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=30), "b": rng.choice(["x", "y"], 30), "label": rng.integers(0, 2, 30)})


def read_table(path: Path) -> Any:
    return pellucid.read(path, label="label")


def write_npz(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(0, 256, (12, 4, 4), dtype=np.uint8), labels=rng.integers(0, 2, 12))


def write_record(path: Path) -> None:
    pellucid.explain(network(), torch.from_numpy(ROWS), "occlusion").save(path)


def write_encoding(path: Path) -> None:
    pellucid.Encoding.fit(pellucid.read(frame(), label="label")).save(path)


def read_encoding(path: Path) -> Any:
    from pellucid.data.encoding import load_encoding

    return load_encoding(path)


def write_schema(path: Path) -> None:
    pytest.importorskip("yaml")
    path.write_text("columns:\n  a: {type: numeric, unit: kg}\n  b: {type: categorical, description: 'x or y'}\n")


def read_with_schema(path: Path) -> Any:
    return pellucid.read(frame(), label="label", schema=path)


DATA: dict[str, tuple[str, Callable[[Path], Any], Callable[[Path], Any]]] = {
    ".csv": ("rows.csv", lambda path: frame().to_csv(path, index=False), read_table),
    ".jsonl": ("rows.jsonl", lambda path: frame().to_json(path, orient="records", lines=True), read_table),
    ".parquet": ("rows.parquet", lambda path: frame().to_parquet(path), read_table),
    ".npz": ("rows.npz", write_npz, lambda path: pellucid.read(path, label="labels")),
    "record": ("record.npz", write_record, pellucid.Explanation.load),
    "encoding": ("encoding.json", write_encoding, read_encoding),
    "schema": ("schema.yaml", write_schema, read_with_schema),
}


@pytest.mark.parametrize("name", DATA)
def test_damaged_data(name: str, tmp_path: Path) -> None:
    file, write, read = DATA[name]
    write(tmp_path / file)
    good = read(tmp_path / file)
    same = (lambda found: np.array_equal(found.values, good.values)) if name == "record" else None
    if name == ".npz":
        same = lambda found: np.array_equal(found.content, good.content) and np.array_equal(found.labels, good.labels)  # noqa: E731
    if name in (".csv", ".jsonl"):  # any text is a table of some kind, so many a cut is one
        assert not (wrong := [one for one in settle(tmp_path / file, read, None) if "no damage" not in one]), wrong
    else:
        assert not (wrong := settle(tmp_path / file, read, same)), "\n".join(wrong)


def test_damaged_runs(tmp_path: Path) -> None:
    rows = pellucid.read(frame()[["a", "label"]].assign(c=1.5 * frame()["label"]), label="label")
    net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    run = tmp_path / "run"
    pellucid.audit(net, rows, methods=("occlusion",), metrics=("sparseness",), rows=4, out=run, timeout=30.0)
    whole = pellucid.open(run).explanations["occlusion"].values
    found: list[str] = []
    for file in sorted(run.rglob("*")):
        if not file.is_file() or file.suffix in (".html", ".svg", ".png", ".md", ".csv"):
            continue
        kept = tmp_path / "kept"
        shutil.copytree(run, kept)

        def read(path: Path) -> Any:
            study = pellucid.open(run)
            return study.explanations["occlusion"].values

        for wrong in settle(file, read, lambda values: np.array_equal(values, whole), names="run"):
            if "no damage" not in wrong:  # some files are not read to open a run
                found.append(f"{file.relative_to(run)}: {wrong}")
        shutil.rmtree(run)
        kept.rename(run)
    assert not found, "\n".join(found)
