"""Folders of transformers: a network and its tokenizer or image processor, read without running the folder's code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..problem.model import Model, Output
from ..records.errors import InputError, LoadError, ModelError, shorten
from .image_processor import ImageProcessor, is_image_processor
from .language import Continued, Masked, Spans, Tags
from .token_network import Reading, TokenModel
from .tokenizer import Tokenizer, is_tokenizer
from .torch_files import read_weights
from .torch_module import TorchModel

T = TypeVar("T")
TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
LARGEST = {
    "config.json": 2**22, "tokenizer.json": 2**28, "tokenizer_config.json": 2**24, "preprocessor_config.json": 2**20,
}  # fmt: skip
"""Bytes of a description that are read; weights may be as large as they are."""


class Task(NamedTuple):
    """One kind of network: how its answer is read (None: of pictures, as it is), and what of transformers opens it."""

    reading: Callable[[Output, Any], Reading] | None
    opener: Callable[[Any], Any]


TASKS: dict[str, Task] = {
    "ForSequenceClassification": Task(
        lambda output, config: Reading(output), lambda package: package.AutoModelForSequenceClassification
    ),
    "ForTokenClassification": Task(
        lambda output, config: Tags(output, _tags(config)), lambda package: package.AutoModelForTokenClassification
    ),
    "ForQuestionAnswering": Task(
        lambda output, config: Spans(output), lambda package: package.AutoModelForQuestionAnswering
    ),
    "ForMaskedLM": Task(lambda output, config: Masked(output), lambda package: package.AutoModelForMaskedLM),
    "LMHeadModel": Task(
        lambda output, config: Continued(output, _ends(config)), lambda package: package.AutoModelForCausalLM
    ),
    "ForCausalLM": Task(
        lambda output, config: Continued(output, _ends(config)), lambda package: package.AutoModelForCausalLM
    ),
    "ForImageClassification": Task(None, lambda package: package.AutoModelForImageClassification),
}
"""Kinds of networks by what the names of their classes end in."""
NUMBERED = re.compile(r"LABEL_\d+")


def is_folder(path: Path) -> bool:
    """Whether a path is a folder as ``save_pretrained`` writes it."""
    return path.is_dir() and (path / "config.json").is_file()


def open_folder(path: Path, *, output: str | int | None = None, name: str = "") -> Model:
    """The network in a folder, with its tokenizer or image processor.

    Weights are read from safetensors only; code in the folder is never run. Raises :class:`LoadError` naming the file
    that is missing, too large, damaged, or asks for code.
    """
    config = _described(path, "config.json")
    _refuse_code(path / "config.json", config)
    architecture = _architecture(path, config)
    for file in _weights(path):
        read_weights(file)  # a damaged one is told with its offset
    pictures = task_of(architecture).reading is None
    beside = "preprocessor_config.json" if pictures else "tokenizer.json"
    _refuse_code(path / beside, _described(path, beside))
    transformers = _package()
    with _quiet(transformers):
        kind = _opened(path, "config.json", lambda: transformers.AutoConfig.from_pretrained(str(path), **_LOCAL))
        network = _opened(path, "model.safetensors", lambda: _network(transformers, architecture, path, kind))
        read = _image_processor if pictures else _tokenizer
        encoding = _opened(path, beside, lambda: read(transformers, path))
    return of_transformers(network, encoding, output=output, name=name or path.name)


def open_tokenizer(path: Path) -> Any:
    """The tokenizer in a folder as ``save_pretrained`` writes it, or in a file ``tokenizer.json`` alone.

    Raises :class:`LoadError` where it is missing, too large, damaged, or asks for code.
    """
    folder = path if path.is_dir() else path.parent
    _refuse_code(folder / TOKENIZER, _described(folder, TOKENIZER))
    if path.is_dir() and (folder / SETTINGS).is_file():
        _refuse_code(folder / SETTINGS, _described(folder, SETTINGS))
        transformers = _package()
        with _quiet(transformers):
            return _opened(folder, TOKENIZER, lambda: _tokenizer(transformers, folder))
    return _opened(folder, TOKENIZER, lambda: _plain(folder / TOKENIZER))


def _plain(file: Path) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise LoadError("a tokenizer's file needs tokenizers", fix="pip install 'pellucid[transformers]'") from error
    return tokenizers.Tokenizer.from_file(str(file))


def _tokenizer(transformers: Any, path: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(path), **_LOCAL)


def _image_processor(transformers: Any, path: Path) -> Any:
    """The processor that resizes as Pillow does: the same everywhere, whatever else is installed."""
    return transformers.AutoImageProcessor.from_pretrained(str(path), backend="pil", **_LOCAL)


_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def of_transformers(network: Any, encoding: Any, *, output: str | int | None = None, name: str = "") -> TorchModel:
    """A network of transformers that is there already, with what prepares its inputs, as a model of texts or pictures.

    ``encoding`` is its tokenizer or image processor, or an encoding of ours. Raises :class:`ModelError` for a kind of
    network that is not known here.
    """
    name = name or type(network).__name__
    chosen = Output("logits" if output is None else output)
    reader = task_of(type(network).__name__).reading
    if reader is None:
        plain = encoding.processor if isinstance(encoding, ImageProcessor) else encoding
        own = getattr(network.config, "num_channels", 3)
        encoding = ImageProcessor(plain, own) if is_image_processor(plain) else encoding
        return TorchModel(network, name=name, labels=_labels(network.config), encoding=encoding, output=chosen)
    reading = reader(chosen, network.config)
    encoding = Tokenizer(encoding, _longest(network.config)) if is_tokenizer(encoding) else encoding
    return TokenModel(
        network,
        encoding,
        reading=reading,
        name=name,
        labels=reading.labels(_labels(network.config), encoding, getattr(network.config, "vocab_size", None)),
    )


def task_of(architecture: str) -> Task:
    """What a class of networks does. Raises :class:`ModelError` for one that is not known here."""
    for ending, task in TASKS.items():
        if architecture.endswith(ending):
            return task
    raise ModelError(
        f"networks of the class {shorten(architecture)} are not known here",
        why=f"known are those whose class ends in {', '.join(TASKS)}",
        fix="wrap a function from a list of texts or pictures to numbers",
    )


def with_tags(model: TokenModel, tags: tuple[str, ...]) -> TokenModel:
    """A network that tags words with names for its tags, where it came with none but numbers.

    Raises :class:`InputError` where it has names, or another number of tags.
    """
    own = model.network.reading
    assert isinstance(own, Tags)
    if not all(NUMBERED.fullmatch(tag) for tag in own.tags):
        raise InputError("this model already has names for its tags", why=f"they are {', '.join(own.tags[:5])}")
    if len(tags) != len(own.tags):
        raise InputError(f"{len(tags)} tags are named, and the network has {len(own.tags)}")
    reading = Tags(own.output, tags)
    return TokenModel(
        model.user, model.encoding, reading=reading, name=model.name, labels=reading.kinds,
        fixed_batch=model.fixed_batch,
    )  # fmt: skip


def is_of_transformers(model: Any) -> bool:
    """Whether a module is a network of transformers, told without importing that package."""
    return any(base.__module__.startswith("transformers.") for base in type(model).__mro__)


def _package() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise LoadError("this folder needs transformers", fix="pip install 'pellucid[transformers]'") from error
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Generator[None]:
    """Without the bars and remarks that transformers prints while it reads."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _described(path: Path, name: str) -> dict[str, Any]:
    """A description in JSON. Raises :class:`LoadError` where it is missing, too large or damaged."""
    file = path / name
    if not file.is_file():
        raise LoadError(f"the folder has no {name}", where=str(path), fix="save it with save_pretrained, both parts")
    if file.stat().st_size > LARGEST[name]:
        raise LoadError(f"{name} is larger than {LARGEST[name]:,} bytes", where=str(file))
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{name} is damaged", where=str(file), why=shorten(error, 200)) from error
    if not isinstance(found, dict):
        raise LoadError(f"{name} is damaged", where=str(file), why="it holds no object")
    return found


def _refuse_code(file: Path, config: dict[str, Any]) -> None:
    own = [name for name in ("auto_map", "custom_pipelines") if config.get(name)]
    if own:
        raise LoadError(
            "the folder asks to run code of its own", where=f"{file}: {own[0]}",
            why="code in a folder can do anything",
            fix="build the network in code of yours and wrap it: pellucid.wrap(network, encoding=tokenizer)",
        )  # fmt: skip


def _architecture(path: Path, config: dict[str, Any]) -> str:
    listed = config.get("architectures")
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], str):
        raise LoadError("config.json names no architecture", where=str(path), fix="save the network with its task")
    task_of(listed[0])
    return listed[0]


def _weights(path: Path) -> list[Path]:
    """The files of weights. Raises :class:`LoadError` where there are none that are safe to read."""
    found = sorted(path.glob("*.safetensors"))
    if not found:
        pickled = next((file.name for file in path.iterdir() if file.suffix in (".bin", ".pt", ".h5")), None)
        raise LoadError(
            "the folder has no weights as safetensors", where=str(path),
            why=f"{pickled} is not read: it can run any program" if pickled else "",
            fix="save the network again: save_pretrained writes safetensors",
        )  # fmt: skip
    return found


def _network(transformers: Any, architecture: str, path: Path, config: Any) -> Any:
    """The network by its class in transformers itself, all of whose weights must be in the file."""
    opener = task_of(architecture).opener(transformers)
    network, told = opener.from_pretrained(
        str(path), config=config, use_safetensors=True, output_loading_info=True, **_LOCAL
    )
    if type(network).__name__ != architecture:
        raise LoadError(
            f"transformers opens a {type(network).__name__}, and the folder holds a {shorten(architecture)}",
            where=str(path / "config.json"),
        )
    lacking = sorted(map(str, (*told["missing_keys"], *told.get("mismatched_keys", ()))))
    if lacking:
        raise LoadError(
            f"{len(lacking)} weights of the network are not in the file",
            where=str(path), why=f"it would be partly random: {shorten(', '.join(lacking), 200)}",
            fix="give the folder of the trained network",
        )  # fmt: skip
    return network.eval()


def _opened(path: Path, name: str, read: Callable[[], T]) -> T:
    """What transformers reads, its errors as sentences."""
    try:
        return read()
    except (LoadError, MemoryError):
        raise
    except Exception as error:
        raise LoadError(
            f"transformers could not read {name}", where=str(path),
            why=f"{type(error).__name__}: {shorten(str(error).strip().split(chr(10))[0], 200)}",
        ) from error  # fmt: skip


def _labels(config: Any) -> tuple[str, ...] | None:
    """The names of the outputs; None where the folder only numbers them."""
    named = getattr(config, "id2label", None) or {}
    labels = tuple(str(named[key]) for key in sorted(named))
    numbered = all(NUMBERED.fullmatch(label) for label in labels)
    return None if numbered or len(set(labels)) < len(labels) else labels


def _tags(config: Any) -> tuple[str, ...]:
    """The tags of a network that tags words, in the order of its outputs."""
    return tuple(str(config.id2label[key]) for key in sorted(config.id2label))


def _ends(config: Any) -> tuple[int, ...]:
    """The tokens by which a network says that it has written enough."""
    found = getattr(config, "eos_token_id", None)
    return () if found is None else tuple(found) if isinstance(found, (list, tuple)) else (int(found),)


def _longest(config: Any) -> int | None:
    """The number of tokens that the network has places for."""
    found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if not isinstance(found, int):
        return None
    before = getattr(config, "pad_token_id", None)
    return found - before - 1 if config.model_type in _SHIFTED and isinstance(before, int) else found


_SHIFTED = ("roberta", "xlm-roberta", "camembert", "longformer", "mpnet", "xlm-roberta-xl", "data2vec-text")
"""Networks whose places are counted from behind the padding token's number on."""
