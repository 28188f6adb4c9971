"""The door for endpoints: a file that says where a model is served becomes a Model; here alone secrets are read.

A file names environment variables and never holds what is in them. Only the named ones are read, once, so that nothing
below needs to know that there is an environment.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..backends.endpoint import Endpoint
from ..backends.endpoint_file import endpoint_settings
from ..data.yaml_file import read_yaml
from ..records.errors import LoadError, StoreError
from ..records.files import read_json


def open_endpoint(path: Path, name: str = "") -> Endpoint:
    """The model that an endpoint's file (YAML or JSON) speaks of. Nothing is sent yet.

    Paths in the file are seen from its folder. Raises :class:`LoadError` with the field that is wrong, or with the
    environment variable that is missing.
    """
    if path.suffix.lower() == ".json":
        try:
            content = read_json(path)
        except StoreError as error:
            raise LoadError(error.what, where=error.where, why=error.why) from error
    else:
        content = read_yaml(path, "endpoint's file", LoadError)
    file = endpoint_settings(content, path.name)
    placed = {
        field: str(path.parent / given) for field in ("cache", "certificate") if (given := file.model_dump()[field])
    }
    secrets = {variable: os.environ.get(variable, "") for variable in file.secrets}
    try:
        return Endpoint(file.model_copy(update=placed), secrets, name=name or path.stem)
    except LoadError as error:
        raise LoadError(error.what, where=error.where or path.name, why=error.why, fix=error.fix) from error
