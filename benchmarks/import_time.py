"""How long ``import pellucid`` takes in a new interpreter, beside starting Python at all. The aim: below 0.3 s."""

import subprocess
import sys
import time

RUNS = 7


def seconds(code: str) -> float:
    """The median time of a new interpreter that runs ``code``."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - began)
    return sorted(times)[RUNS // 2]


if __name__ == "__main__":
    bare, whole = seconds("pass"), seconds("import pellucid")
    print(f"import pellucid: {whole - bare:.3f} s (the interpreter alone: {bare:.3f} s)")
