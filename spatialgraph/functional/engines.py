"""Which engine computes a projection: the only place that chooses one."""

from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.functional.compressed_engine import CompressedEngine
from spatialgraph.functional.dense_engine import DenseEngine, MaskedEngine
from spatialgraph.functional.engine import Engine

__all__ = ["choose", "register", "unregister"]

_ENGINES: list[type[Engine]] = [DenseEngine, MaskedEngine, CompressedEngine]


def register(engine: type[Engine]) -> type[Engine]:
    """Let an engine compute the projections that it serves, from networks made or changed later on.

    It is asked before those that were registered earlier. Use it as a decorator.

    Args:
        engine: a subclass of :class:`~spatialgraph.functional.engine.Engine`.

    Raises:
        TypeError: if it is none.
    """
    if not (isinstance(engine, type) and issubclass(engine, Engine)):
        raise TypeError(f"engine must be a subclass of Engine, got {engine!r}")
    _ENGINES.insert(0, engine)
    return engine


def unregister(engine: type[Engine]) -> None:
    """Take back what :func:`register` did."""
    _ENGINES.remove(engine)


def choose(n_sources: int, n_targets: int, edges: CompressedEdges | None = None) -> Engine:
    """Return the engine for a projection.

    Args:
        n_sources: number of sources.
        n_targets: number of targets.
        edges: its synapses; None where every pair has one.

    Example:
        >>> type(choose(3, 2)).__name__
        'DenseEngine'
    """
    engine = next(engine for engine in _ENGINES if engine.serves(n_sources, n_targets, edges))
    return engine(n_sources, n_targets, edges)
