"""Members that are measured at the same time, and what is computed for all of them at once when one of them asks.

A measure is a function of one member, whatever is beside it. What costs most of it is asked of the member's group: the
same kernels then work for all members. What fails for members together is tried for halves of them, down to each by
itself: a member that fails takes none with it, and its error is its own.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from rdstudy.study.words import one_line

logger = logging.getLogger(__name__)

M = TypeVar("M")
T = TypeVar("T")


class Group(Generic[M]):
    """Members, and what was computed for them until it is forgotten.

    Args:
        members: of one pack, that read the same images.
    """

    def __init__(self, members: Sequence[M]) -> None:
        self._members = list(members)
        self._values: dict[str, dict[int, object]] = {}  # by key and member

    def shared(self, member: M, key: str, compute: Callable[[Sequence[M]], Sequence[T]]) -> T:
        """What is computed for a member, with all others of the group, once.

        Args:
            member: of the group.
            key: of the function.
            compute: of some members, something for each of them in their order; of one, as where it is alone.

        Raises:
            Exception: that of the member by itself.
        """
        if key not in self._values:
            values = of_each(self._members, compute)
            self._values[key] = dict(zip(map(id, self._members), values, strict=True))
        value = self._values[key][id(member)]
        if isinstance(value, Exception):
            raise value
        return value  # type: ignore[return-value]  # a key belongs to one function

    def forget(self) -> None:
        """Free what was computed."""
        self._values = {}


def of_each(members: Sequence[M], compute: Callable[[Sequence[M]], Sequence[T]]) -> list[T | Exception]:
    """What is computed for each of the members, or its error."""
    try:
        return list(compute(members))
    except Exception as error:
        if len(members) == 1:
            return [error]
        said = one_line(error)[:500]
        logger.warning("%d members are measured in halves: %s: %s", len(members), type(error).__name__, said)
    middle = len(members) // 2  # outside of the except clause, which would keep alive what has failed
    return of_each(members[:middle], compute) + of_each(members[middle:], compute)
