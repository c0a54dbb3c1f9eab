"""Aggregations of messages in graph convolutions, checked."""

from typing import Any

from spatialgraph.pyg import Aggregation, MessagePassing, MultiAggregation, SumAggregation

__all__ = ["check_aggregation", "check_one_aggregation", "is_sum"]


def check_aggregation(aggr: Any) -> None:  # noqa: ANN401 - any value is checked
    """Check that an operator has an aggregation; PyG takes None for operators that aggregate by themselves.

    Example:
        >>> check_aggregation(None)
        Traceback (most recent call last):
        ValueError: aggr must be an aggregation or its name, got None
    """
    if aggr is None:
        raise ValueError("aggr must be an aggregation or its name, got None")


def check_one_aggregation(aggr: Any) -> None:  # noqa: ANN401
    """Check that the aggregation is a single one, so that there is one result for each channel.

    Example:
        >>> check_one_aggregation(["add", "max"])
        Traceback (most recent call last):
        ValueError: aggr must be a single aggregation or its name, got ['add', 'max']
    """
    if not isinstance(aggr, str | Aggregation) or isinstance(aggr, MultiAggregation):
        raise ValueError(f"aggr must be a single aggregation or its name, got {aggr!r}")


def is_sum(operator: MessagePassing) -> bool:
    """Tell whether an operator sums its messages, by whatever name or object it was told to.

    Example:
        >>> is_sum(MessagePassing(aggr="add")), is_sum(MessagePassing(aggr="max"))
        (True, False)
    """
    return type(operator.aggr_module) is SumAggregation
