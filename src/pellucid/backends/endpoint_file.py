"""What an endpoint's file may say: where the model is served, how rows are sent, where the answers stand in a reply.

::

    url: https://models.example.com/v1/credit
    headers: {Authorization: "Bearer ${CREDIT_KEY}"}   # read from the environment, never written here
    request: {instances: $rows}
    answer: predictions
    outputs: [bad, good]

The file is data. Unknown fields are refused, and a secret is named in it, never held.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..records.errors import LoadError, shorten

NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""How a header names the environment variable that holds its secret."""
SECRET_HEADERS = re.compile(r"(proxy-)?authorization|cookie|.*(api|access|auth).?(key|token).*", re.IGNORECASE)
OWN_HEADERS = (
    "host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "accept-encoding", "expect",
    "idempotency-key",
)  # fmt: skip
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _steps(value: Any) -> Any:
    """``"outputs.0.data"`` as steps; a list stands for itself, for keys with a dot in them."""
    return tuple(step for step in value.split(".") if step) if isinstance(value, str) else value


Path = Annotated[tuple[str | int, ...], BeforeValidator(_steps)]
"""Where something stands in a reply: keys, and places in lists."""
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Common(_Strict):
    """What every kind of endpoint has.

    Attributes
    ----------
    url, method, headers: where and how; ``${NAME}`` in a header stands for an environment variable.
    private: allow addresses of this machine and of private networks. allow_http: allow a URL without encryption.
    certificate: a file of authorities to trust, in place of the system's.
    timeout: seconds for one try. patience: seconds for one call with all its tries and waits.
    retries: further tries after failures; backoff: seconds before the second, doubled each time.
    rate: calls a second at most. concurrency: calls at once. rows: rows in one call.
    largest_reply: bytes. cache: a folder in which answers are kept, so that nothing is ever paid twice.
    remember: answers kept in memory. check_every: calls between two questions whether the model is still the same;
    0: never asked. tolerance: relative difference up to which its answer counts as the same.
    """

    url: str = Field(min_length=1, max_length=4096)
    method: Literal["POST", "PUT"] = "POST"
    headers: dict[str, str] = Field(default_factory=dict, max_length=50)
    private: bool = False
    allow_http: bool = False
    certificate: str = ""
    timeout: Seconds = 30.0
    patience: Seconds = 600.0
    retries: int = Field(6, ge=0, le=100)
    backoff: Seconds = 0.5
    rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    concurrency: int = Field(4, ge=1, le=256)
    rows: int = Field(64, ge=1, le=100_000)
    largest_reply: int = Field(2**24, ge=1, le=2**31)
    cache: str = ""
    remember: int = Field(200_000, ge=0)
    check_every: int = Field(100, ge=0)
    tolerance: float = Field(1e-4, ge=0, le=1, allow_inf_nan=False)

    @field_validator("headers")
    @classmethod
    def _headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, text in headers.items():
            if not HEADER.fullmatch(name):
                raise ValueError("a header's name has letters, digits and dashes only")
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"the header {name} is set by the call itself")
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"the header {name} holds characters that no header may hold")
            if SECRET_HEADERS.fullmatch(name) and not NAMED.search(text):
                raise ValueError(f"a secret does not belong in the file: write {name}: ${{NAME_OF_A_VARIABLE}}")
        return headers

    @property
    def secrets(self) -> tuple[str, ...]:
        """The environment variables that the headers name."""
        return tuple(dict.fromkeys(name for text in self.headers.values() for name in NAMED.findall(text)))


class JsonFile(Common):
    """An endpoint that takes rows in JSON of any form and answers with numbers somewhere in its own.

    Attributes
    ----------
    request: the JSON that is sent; the texts ``$rows``, ``$row``, ``$values``, ``$columns`` and ``$shape`` in it stand
        for the rows of a call, a single row, the rows as plain lists, the columns' names, and ``[rows, …]``.
    answer: where the answers stand in the reply: one for each row, or with ``$row`` that row's.
    outputs: names of the numbers in an answer, in order; or for each name where it stands in an answer.
    columns: names of a table's columns: rows are then sent as objects.
    send: ``encoded`` rows as the numbers of model space, or ``raw`` ones, taken back through the encoding.
    version: where a reply says which model answered.
    """

    kind: Literal["json"] = "json"
    request: Any
    answer: Path = ()
    outputs: tuple[str, ...] | dict[str, Path] = ()
    columns: tuple[str, ...] = ()
    send: Literal["encoded", "raw"] = "encoded"
    version: Path = ()

    @model_validator(mode="after")
    def _agree(self) -> JsonFile:
        for names in (tuple(self.outputs), self.columns):
            if len(set(names)) < len(names):
                raise ValueError("a name stands twice")
        return self


class LanguageFile(Common):
    """What endpoints of language models have in common: an output is the log-probability of an answer.

    Attributes
    ----------
    model: what the server calls the model.
    answers: output name → the answer's text, or several texts whose probabilities are added.
    before, after: what stands around a row's text in the prompt.
    top: how many likely tokens the server is asked for.
    extra: further fields of the request.
    """

    model: str
    answers: dict[str, str | tuple[str, ...]] = Field(min_length=1)
    before: str = ""
    after: str = ""
    top: int = Field(20, ge=1, le=1000)
    extra: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agree(self) -> LanguageFile:
        if not all(text and all(text) for text in self.answers.values()):
            raise ValueError("an answer is empty")
        return self


class CompletionsFile(LanguageFile):
    """``/v1/completions``: whole answers are scored by ``echo``, or the next token is looked at."""

    kind: Literal["openai-completions"]
    scoring: Literal["answer", "next"] = "answer"


class ChatFile(LanguageFile):
    """``/v1/chat/completions``: the first token of the reply is looked at; ``$text`` in messages stands for the row."""

    kind: Literal["openai-chat"]
    messages: tuple[dict[str, Any], ...] = ({"role": "user", "content": "$text"},)


EndpointFile = JsonFile | CompletionsFile | ChatFile
KINDS: dict[str, type[EndpointFile]] = {
    "json": JsonFile,
    "openai-completions": CompletionsFile,
    "openai-chat": ChatFile,
}

Checked = TypeVar("Checked", bound=BaseModel)


def endpoint_settings(content: Any, where: str = "") -> EndpointFile:
    """A file's content as settings. Raises :class:`LoadError` with the field that is wrong, never with its value."""
    if not isinstance(content, Mapping):
        raise LoadError("an endpoint's file is a list of fields", where=where, fix='begin with "url: https://…"')
    kind = content.get("kind", "json")
    if not isinstance(kind, str) or kind not in KINDS:
        raise LoadError(f"there is no kind {shorten(kind)!r} of endpoint", where=where, fix=f"kind: {', '.join(KINDS)}")
    model = KINDS[kind]
    try:
        return model.model_validate(dict(content))
    except ValidationError as error:
        raise _invalid(error, model, where) from None  # the cause would print what stands in the file


def _invalid(error: ValidationError, model: type[BaseModel], where: str) -> LoadError:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(shorten(part) for part in first["loc"]) or "the file"
    if first["type"] != "extra_forbidden":
        return LoadError(f"{field}: {first['msg'].removeprefix('Value error, ')}", where=where)
    close = get_close_matches(field, model.model_fields, n=1, cutoff=0.6)
    fix = f"did you mean {close[0]!r}?" if close else f"it may have: {', '.join(model.model_fields)}"
    return LoadError(f"an endpoint's file has no field {field!r}", where=where, fix=fix)
