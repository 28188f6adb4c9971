"""What no file of the source may do; each rule lists its exceptions with their reason."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable

import pytest
from tree import ROOT, File, dotted, files

FACES = ("faces", "compat", "testing", "front")
LONGEST_FUNCTION, LONGEST_FILE = 60, 500

READ_OR_WRITE = {
    "records/files.py",  # JSON, NPZ and hashes; every write goes through it
    "records/answer.py",  # a record's own NPZ, allow_pickle=False
    "records/messages.py",  # the package's catalogue of sentences
    "reports/html.py",  # the package's templates
    "data/archives.py",
    "data/conll.py",
    "data/csv_text.py",
    "data/image_files.py",
    "data/json_lines.py",
    "data/reading.py",
    "data/writing.py",
    "data/yaml_file.py",
    "backends/archive.py",  # the bounded reader of archives
    "backends/onnx_files.py",
    "backends/torch_files.py",
    "backends/transformers_files.py",  # descriptions in JSON, bounded
    "backends/keras_files.py",  # Keras is given a clean copy in a folder that is gone afterwards
    "backends/hdf5.py",  # and the program that makes it
    "backends/hdf5_copy.py",
    "store/folder.py",  # a run's folder: made, resumed, cleared
}
"""The only modules that open files. Others take bytes, records, or call these."""

KEEP_RANDOM_STATE = {
    "backends/function.py",  # the guards that put a random state back
    "backends/torch_module.py",
    "backends/torch_files.py",
    "training/fit.py",  # a fork of torch's state, seeded for one run and left again
    "training/networks.py",  # first weights, drawn as torch's own layers draw theirs, inside that fork
    "testing/laws.py",  # a law that moves the state to prove that it does not matter
}
"""The only modules that touch a global random state, to leave it as it was."""

READ_ENVIRONMENT = {
    "doors/endpoint.py",  # the variables that an endpoint's file names as its secrets, and no others
    "backends/keras_files.py",  # Keras takes its backend from there while it is imported; all of it is put back
}
"""The only modules below the faces that read the environment: a door hands down what it read."""

IMPORT_BY_NAME = {
    "__init__.py",  # its own written list of names
    "records/drawing.py",  # the late-bound door
    "records/room.py",  # the files of its own package
    "doors/wrap.py",  # package.module:function, typed by the user, never read from a file
    "backends/torch_files.py",  # the factory, likewise
}

GETATTR_BY_NAME = {
    "__init__.py",
    "doors/wrap.py",
    "backends/torch_files.py",
    "backends/exported_text.py",  # operators of torch.ops.aten, compared with a written list first
    "records/answer.py",  # the arrays that a record's class lists
    "records/joining.py",  # the arrays of a record, listed a few lines above
    "faces/showing.py",  # likewise
    "testing/laws.py",  # likewise
    "measures/classification.py",  # the names of its own figures
}
"""Modules that look up an attribute by a name which neither stands in the call nor is drawn from a list beside it.
In a door that name was typed by the user, as ``package.module:function``; it never comes from a file."""

Rule = Callable[[File], list[str]]


def offenders(rule: Rule, *, but: set[str] | tuple[str, ...] = (), below_faces: bool = False) -> list[str]:
    return [
        place
        for file in files()
        if file.name not in but and not (below_faces and file.room in FACES)
        for place in rule(file)
    ]


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def _first(module: str) -> str:
    return re.split(r"[.:]", module)[0]


# Text ------------------------------------------------------------------------------------


def test_the_first_line_says_what_the_file_is_for() -> None:
    def rule(file: File) -> list[str]:
        empty = not file.text.strip()
        told = ast.get_docstring(file.tree)
        starts = file.text.startswith('"""')
        return [] if empty or (told and starts) else [file.at(file.tree, "has no docstring on its first line")]

    assert not offenders(rule)


def test_functions_and_files_can_be_seen_at_once() -> None:
    def rule(file: File) -> list[str]:
        lines = len(file.text.splitlines())
        found = [file.at(file.tree, f"{lines} lines")] if lines > LONGEST_FILE else []
        for node in ast.walk(file.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                told = node.body[0] if ast.get_docstring(node) else None
                length = _lines(node) - (_lines(told) if told else 0)
                if length > LONGEST_FUNCTION:
                    found.append(file.at(node, f"{node.name}: {length} lines"))
        return found

    wrong = offenders(rule)
    assert not wrong, "\n".join(wrong)


def test_no_words_that_do_not_belong() -> None:
    """Notes to oneself and paths of one machine have no place in what others read."""
    words = "TO" + "DO", "FIX" + "ME", "/wo" + "rk/", "helper" + " agent"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    wrong = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.suffix not in (".py", ".md", ".toml", ".txt", ".yaml", ".j2", ".js", ".css", "") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        wrong += [f"{name}: {word}" for word in words if re.search(rf"(?<![\w.]){re.escape(word)}", text)]
    assert not wrong, "\n".join(wrong)


# What lies below the faces -----------------------------------------------------------------


def test_only_faces_print_or_log() -> None:
    def rule(file: File) -> list[str]:
        told = [node for name, node in file.calls() if name == "print" or re.match(r"sys\.std(out|err)\.", name)]
        told += [node for name, node in file.imports() if _first(name) in ("logging", "tqdm")]
        return [file.at(node, "prints") for node in told]

    assert not offenders(rule, below_faces=True)


def test_only_faces_read_the_environment() -> None:
    def rule(file: File) -> list[str]:
        names = ("os.environ", "os.getenv", "os.environb", "os.putenv")
        nodes = [node for node in ast.walk(file.tree) if isinstance(node, ast.Attribute) and dotted(node) in names]
        return [file.at(node, dotted(node)) for node in nodes]

    assert not offenders(rule, but=READ_ENVIRONMENT, below_faces=True)


GLOBAL_DRAWS = re.compile(
    r"(np|numpy)\.random\.(?!(default_rng|Generator|BitGenerator|SeedSequence|PCG64|SFC64|Philox)$)\w+"
    r"|random\.(?!(Random|SystemRandom)$)\w+"
    r"|torch\.(cuda\.|random\.|default_generator\.)?(manual_seed|seed|set_rng|fork_rng)\w*"
)
UNSEEDED_DRAWS = re.compile(
    r"torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial|rand_like|randn_like)"
    r"|.*\.(normal|uniform|bernoulli|random|exponential)_"
)


def _moves_global_state(file: File) -> list[str]:
    found = []
    for name, node in file.calls():
        seeded = any(keyword.arg == "generator" for keyword in node.keywords)
        if GLOBAL_DRAWS.fullmatch(name) or (UNSEEDED_DRAWS.fullmatch(name) and not seeded):
            found.append(file.at(node, name))
    return found


def test_no_global_random_state_is_touched() -> None:
    wrong = offenders(_moves_global_state, but=KEEP_RANDOM_STATE)
    assert not wrong, "\n".join(wrong)


def test_nothing_is_caught_without_a_name() -> None:
    def rule(file: File) -> list[str]:
        nodes = [node for node in ast.walk(file.tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
        return [file.at(node, "bare except") for node in nodes]

    assert not offenders(rule)


# Safety -----------------------------------------------------------------------------------

PICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "imp", "tarfile"}


RUNS_TEXT = re.compile(
    r"eval|exec|compile|__import__|os\.(system|popen)|torch\.(load|save)"
    r"|.*\.(read_pickle|to_pickle|extractall|unsafe_load|full_load|load_all)"
)


def _loads_code(file: File) -> list[str]:
    found = [file.at(node, f"imports {name}") for name, node in file.imports() if _first(name) in PICKLERS]
    for name, node in file.calls():
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        audited = file.name == "backends/torch_files.py" and name == "torch.load" and "weights_only" in keywords
        if RUNS_TEXT.fullmatch(name) and not audited:
            found.append(file.at(node, name))
        elif name in ("np.load", "numpy.load") and not _is(keywords.get("allow_pickle"), False):
            found.append(file.at(node, f"{name} without allow_pickle=False"))
        elif name == "yaml.load" and dotted(keywords.get("Loader", ast.Constant(0))) not in SAFE_LOADERS:
            found.append(file.at(node, "yaml.load without a safe loader"))
        elif not _is(keywords.get("shell", ast.Constant(False)), False):
            found.append(file.at(node, f"{name} with a shell"))
    return found


SAFE_LOADERS = ("yaml.SafeLoader", "yaml.CSafeLoader")


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_nothing_loads_code_from_data() -> None:
    wrong = offenders(_loads_code)
    assert not wrong, "\n".join(wrong)


def test_one_function_loads_a_pickle_that_the_user_vouches_for() -> None:
    holders = [
        function.name
        for file in files()
        for function in ast.walk(file.tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.keyword) and node.arg == "weights_only" and not _is(node.value, True)
    ]
    assert holders == ["_unpickled"]


OPENERS = r"open|io\.open|os\.(open|fdopen)|.*\.(open|read_text|read_bytes|write_text|write_bytes)"
WRITERS = r".*\.(to_csv|to_parquet|to_json|to_excel|savez|savez_compressed|tofile|fromfile|save_file|load_file|memmap)"
READERS = r".*\.(read_csv|read_parquet|read_json|read_excel|ZipFile)|tempfile\.\w+|(np|numpy)\.load|shutil\.\w+"


def _opens_files(file: File) -> list[str]:
    own = {node.name for node in file.tree.body if isinstance(node, ast.FunctionDef)}  # pellucid.open opens runs
    pattern = f"{OPENERS}|{WRITERS}|{READERS}"
    return [file.at(node, name) for name, node in file.calls() if re.fullmatch(pattern, name) and name not in own]


def test_files_are_opened_in_few_places() -> None:
    wrong = offenders(_opens_files, but=READ_OR_WRITE, below_faces=True)
    assert not wrong, "\n".join(wrong)


def test_modules_are_imported_by_name_in_few_places() -> None:
    def rule(file: File) -> list[str]:
        return [file.at(node, name) for name, node in file.calls() if name.endswith("import_module")]

    assert not offenders(rule, but=IMPORT_BY_NAME)


def _closed_names(file: File) -> set[str]:
    """Loop variables that run over constants written down, or over the fields of a dataclass."""
    names = set()
    constants = {
        target.id: node.value
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(file.tree):
        if isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
            over = constants.get(dotted(node.iter), node.iter)
            named = dotted(node.iter).rpartition(".")[2].isupper()  # a constant of another file
            listed = isinstance(over, (ast.Tuple, ast.List)) and all(isinstance(e, ast.Constant) for e in over.elts)
            if named or listed or (isinstance(over, ast.Call) and dotted(over.func) in ("fields", "described")):
                names.add(node.target.id)
    return names


def _looks_up_names(file: File) -> list[str]:
    found, closed = [], _closed_names(file)
    for name, node in file.calls():
        if name in ("getattr", "setattr", "delattr"):
            given = node.args[1]
            if not isinstance(given, ast.Constant) and dotted(given).split(".")[0] not in closed:
                found.append(file.at(node, ast.unparse(node)))
        elif name.rpartition(".")[2] in ("attrgetter", "methodcaller", "globals", "locals"):
            found.append(file.at(node, name))
    return found


def test_attributes_are_looked_up_by_written_names() -> None:
    """A string of a user or a file must never choose what is called."""
    wrong = offenders(_looks_up_names, but=GETATTR_BY_NAME)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "names",
    [READ_OR_WRITE, KEEP_RANDOM_STATE, READ_ENVIRONMENT, IMPORT_BY_NAME, GETATTR_BY_NAME],
    ids=lambda names: min(names),
)
def test_exceptions_are_files_that_exist(names: set[str]) -> None:
    assert names <= {file.name for file in files()}


# The rules themselves ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (_loads_code, "import pickle"),
        (_loads_code, "from joblib import load"),
        (_loads_code, "import numpy as np\nnp.load(p)"),
        (_loads_code, "import numpy as np\nnp.load(p, allow_pickle=True)"),
        (_loads_code, "import torch\ntorch.load(p, weights_only=True)"),
        (_loads_code, "eval('1')"),
        (_loads_code, "import yaml\nyaml.load(t, Loader=yaml.Loader)"),
        (_loads_code, "import subprocess\nsubprocess.run(t, shell=True)"),
        (_loads_code, "archive.extractall(p)"),
        (_opens_files, "open(p)"),
        (_opens_files, "p.read_text()"),
        (_opens_files, "Path(p).open()"),
        (_looks_up_names, "getattr(model, name)"),
        (_looks_up_names, "for name in names:\n    getattr(model, name)"),
        (_moves_global_state, "np.random.seed(1)"),
        (_moves_global_state, "np.random.rand(1)"),
        (_moves_global_state, "random.random()"),
        (_moves_global_state, "torch.manual_seed(1)"),
        (_moves_global_state, "torch.randn(3)"),
        (_moves_global_state, "x.normal_()"),
    ],
)
def test_a_rule_sees_what_it_forbids(rule: Rule, code: str) -> None:
    file = File(ROOT / "src" / "pellucid" / "invented.py")
    file.__dict__["text"] = code
    assert rule(file)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (_loads_code, "np.load(p, allow_pickle=False)"),
        (_loads_code, "yaml.load(t, Loader=yaml.SafeLoader)"),
        (_moves_global_state, "np.random.default_rng(1).random()"),
        (_moves_global_state, "torch.randn(3, generator=g)"),
        (_looks_up_names, "for name in ('mean', 'std'):\n    getattr(self, name)"),
        (_looks_up_names, "[getattr(self, f.name) for f in fields(self)]"),
        (_opens_files, "zip.namelist()"),
    ],
)
def test_a_rule_lets_the_safe_way_pass(rule: Rule, code: str) -> None:
    file = File(ROOT / "src" / "pellucid" / "invented.py")
    file.__dict__["text"] = code
    assert not rule(file)
