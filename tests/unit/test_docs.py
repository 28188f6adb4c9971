"""The documentation keeps its word: its examples run, its links lead somewhere, every method and metric has a card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pellucid.catalog import everything
from pellucid.records.settings import described

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md")])
BLOCK = re.compile(r"^```python\n(# runs\n.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def examples() -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        name = str(page.relative_to(ROOT))
        for place, block in enumerate(BLOCK.findall(text)):
            found.append(pytest.param(block, name, id=f"{name}:{place}"))
    return found


@pytest.mark.parametrize(("block", "page"), examples())
def test_example_runs(block: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for extra in ("sklearn", "pydantic") if "data.books" in block or "Encoding" in block else ():
        pytest.importorskip(extra)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, page, "exec", dont_inherit=True), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    missing = [link for link in targets if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("room", ["methods", "metrics"])
def test_every_member_has_a_card(room: str) -> None:
    overview = (ROOT / "docs" / room / "index.md").read_text(encoding="utf-8")
    for name, kind in everything(room).items():
        if not kind.__module__.startswith("pellucid."):
            continue
        card = ROOT / "docs" / room / f"{name}.md"
        assert card.exists(), f"{name} has no card"
        text = card.read_text(encoding="utf-8")
        assert f"`{name}`" in text.partition("\n")[0], f"the card of {name} does not begin with its name"
        assert BLOCK.search(text), f"the card of {name} has no example that runs"
        assert f"({name}.md)" in overview, f"{name} is missing in the overview"
        for setting in described(kind):
            assert f"`{setting.name}`" in text or f"`{setting.name}=" in text, f"{name} does not explain {setting.name}"


def test_navigation_names_every_page() -> None:
    import yaml

    listed = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = set(re.findall(r"[\w/]+\.md", str(listed)))
    for page in pages:
        assert (ROOT / "docs" / page).exists(), page
    top = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert top <= pages, f"not in mkdocs.yml: {sorted(top - pages)}"


def test_both_readmes_say_the_same() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))

    def skeleton(text: str) -> list[str]:
        links = [link for link in LINK.findall(text) if not link.startswith("README")]
        return [*links, *re.findall(r"^pellucid .*|^make \w+", text, re.MULTILINE)]

    assert skeleton(english) == skeleton(chinese)
    assert english.count("\n## ") == chinese.count("\n## ")
    assert len(BLOCK.findall(english)) == len(BLOCK.findall(chinese)) > 0
