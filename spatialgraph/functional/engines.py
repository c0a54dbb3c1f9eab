"""The choice of the engine for a projection."""

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.compressed_engine import CompressedEngine
from spatialgraph.functional.dense_engine import DenseEngine, MaskedEngine
from spatialgraph.functional.engine import Engine
from spatialgraph.functional.streamed_engine import StreamedEngine

__all__ = ["choose", "register", "unregister"]

_ENGINES: list[type[Engine]] = [StreamedEngine, DenseEngine, MaskedEngine, CompressedEngine]


def register(engine: type[Engine]) -> type[Engine]:
    """Register an engine for the projections for which its method ``serves`` returns true.

    It takes precedence over engines registered earlier, and applies to networks created or changed afterwards. Can be
    used as a decorator.

    Args:
        engine: a subclass of :class:`~spatialgraph.functional.engine.Engine`.

    Raises:
        TypeError: if ``engine`` is not a subclass of it.
    """
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise TypeError(f"engine must be a subclass of Engine, got {engine!r}")
    _ENGINES.insert(0, engine)
    return engine


def unregister(engine: type[Engine]) -> None:
    """Undo :func:`register`."""
    _ENGINES.remove(engine)


def choose(n_sources: int, n_targets: int, edges: CompressedEdges | None = None) -> Engine:
    """Return the engine for a projection.

    Args:
        n_sources: number of sources.
        n_targets: number of targets.
        edges: the synapses; None if every pair has one.

    Example:
        >>> type(choose(3, 2)).__name__
        'DenseEngine'
    """
    engine = next(engine for engine in _ENGINES if engine.serves(n_sources, n_targets, edges))
    return engine(n_sources, n_targets, edges)
