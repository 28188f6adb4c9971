"""Imports run downward only and never in a circle; imports in functions and for types count."""

from graphlib import CycleError, TopologicalSorter

from tree import File, files, room_of

BELOW: dict[str, tuple[str, ...]] = {
    "records": (),
    "measures": ("records",),
    "problem": ("measures",),
    "operations": ("problem",),
    "engine": ("operations",),
    "training": ("engine",),
    "methods": ("training",),
    "metrics": ("methods",),
    "checks": ("metrics",),
    "data": ("problem",),
    "modalities": ("data",),
    "backends": ("modalities",),
    "catalog": ("checks",),
    "doors": ("checks", "backends"),
    "reports": ("measures",),
    "store": ("records",),
    "studies": ("catalog", "doors", "reports", "store"),
    "testing": ("studies",),
    "compat": ("studies",),
    "faces": ("studies", "testing"),  # `pellucid selftest` runs the laws
    "__main__": ("faces",),
    "front": ("studies", "testing", "compat", "faces"),
}
"""Each room and those right below it. ``front`` is what users type: pellucid, pellucid.removals, .players, .targets."""

LATE_BOUND = {
    ("pellucid.records.drawing", "pellucid.reports.drawing"),  # records draw themselves by what reports registers
    ("pellucid.methods.method", "pellucid.methods.smoothed:Smoothed"),  # method.smoothed() returns a method
    (
        "pellucid.problem.model",
        "pellucid.studies.preflight:preflight",
    ),  # model.preflight(rows) is a study
}
"""The doors that are opened when they are gone through, against the order of imports."""

OPEN_TO_ALL = {"pellucid:__version__"}


def reachable(room: str) -> set[str]:
    found = {room}
    for below in BELOW[room]:
        found |= reachable(below)
    return found


def own_imports(file: File) -> list[tuple[str, object]]:
    return [
        (target, node)
        for target, node in file.imports()
        if target.split(":")[0].split(".")[0] == "pellucid"
        and target not in OPEN_TO_ALL
        and (file.module, target) not in LATE_BOUND
    ]


def test_every_room_has_its_place() -> None:
    unknown = {file.room for file in files()} - set(BELOW)
    assert not unknown, f"rooms without a place in the order of imports: {sorted(unknown)}"


def test_imports_run_downward() -> None:
    wrong = [
        file.at(node, f"a file of {file.room} imports {target}")
        for file in files()
        for target, node in own_imports(file)
        if room_of(target) not in reachable(file.room)
    ]
    assert not wrong, "\n".join(wrong)


def test_files_do_not_import_each_other_in_a_circle() -> None:
    graph = {file.module: {target.split(":")[0] for target, _ in own_imports(file)} - {file.module} for file in files()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" → ".join(error.args[1])) from None


def test_the_late_bound_doors_exist() -> None:
    seen = {(file.module, target) for file in files() for target, _ in file.imports()}
    assert seen >= LATE_BOUND, "an exception that nothing uses"
