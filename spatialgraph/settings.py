"""Settings: attributes that are checked whenever they are set."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, overload

__all__ = ["Setting"]

Value = TypeVar("Value")


class Setting(Generic[Value]):
    """An attribute whose value is checked each time it is set.

    Args:
        check: a function of the attribute's name and the new value; returns the value to store, or raises an error if
            it is invalid.

    Example:
        >>> from spatialgraph import checks
        >>> class Amplifier:
        ...     gain = Setting(checks.number)
        >>> amplifier = Amplifier()
        >>> amplifier.gain = 2
        >>> amplifier.gain
        2.0
    """

    def __init__(self, check: Callable[[str, Any], Value]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        """Store the attribute's name."""
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Setting[Value]": ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...

    def __get__(self, instance: object | None, owner: type) -> "Value | Setting[Value]":
        """Return the current value."""
        if instance is None:
            return self
        try:
            return cast(Value, instance.__dict__[self._name])
        except KeyError:
            raise AttributeError(f"{self._name} has not been set") from None

    def __set__(self, instance: object, value: Value) -> None:
        """Check a new value and store it."""
        instance.__dict__[self._name] = self._check(self._name, value)
