"""Limits of a run: where it is to stop although something remains."""


def check_limits(*, max_hours: float | None, max_cost: float | None, price: float | None) -> None:
    """Refuse limits that cannot be kept.

    Raises:
        ValueError: a limit that is not above 0, or a limit of the cost without a price.
    """
    for name, limit in (("--max-hours", max_hours), ("--max-cost", max_cost)):
        if limit is not None and not 0 < limit < float("inf"):
            raise ValueError(f"{name} is {limit}; allowed: a finite number above 0")
    if max_cost is not None and price is None:
        raise ValueError(f"--max-cost is {max_cost} without a price; allowed: with resources.price, USD a device-hour")
