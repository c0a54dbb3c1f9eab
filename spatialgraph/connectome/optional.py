"""Import of optional packages, with an error that says what to install."""

import importlib
from typing import Any

__all__ = ["imported"]


def imported(name: str) -> Any:  # noqa: ANN401 - a module
    """Import an optional package of the extra ``connectome``.

    Raises:
        ImportError: if it is not installed.

    Example:
        >>> imported("json").__name__
        'json'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is needed here; install it by: pip install 'spatialgraph[connectome]'") from error
