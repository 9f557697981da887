"""What a run uses: device-hours, how busy the devices are, and when a limit is reached. Keeps no clock."""

from dataclasses import dataclass

from rdstudy.planning.limits import check_limits


@dataclass
class TotalUsage:
    """Device-hours of a run, added up interval by interval. A device is a GPU, or a CPU core where no GPU is used."""

    _device_seconds: float = 0.0
    _busy_seconds: float = 0.0

    def add(self, *, seconds: float, devices: float, busy: float) -> None:
        """Add an interval: devices that were up, which is what is paid, and the sum of shares with a trial at work.

        Raises:
            ValueError: a negative number, or more devices busy than up.
        """
        if not (seconds >= 0 and 0 <= busy <= devices * (1 + 1e-9)):
            raise ValueError(
                f"an interval is {seconds} s with {busy} of {devices} devices busy; allowed: 0 s or more, "
                "with no more devices busy than there are"
            )
        self._device_seconds += seconds * devices
        self._busy_seconds += seconds * busy

    @property
    def device_hours(self) -> float:
        """Of devices that were up, busy or not."""
        return self._device_seconds / 3600

    @property
    def utilization(self) -> float | None:
        """Busy device-hours over all device-hours, in [0, 1]; None before there are any."""
        return min(1.0, self._busy_seconds / self._device_seconds) if self._device_seconds else None

    def cost(self, price: float) -> float:
        """USD, at a price for one device and hour."""
        return self.device_hours * price


def limit_reached(
    total: TotalUsage, *, max_hours: float | None, max_cost: float | None, price: float | None, elapsed: float
) -> str | None:
    """The line that says which limit a run has reached; None while it has reached none.

    Args:
        total: of the run.
        max_hours: of wall time, from its start.
        max_cost: USD.
        price: USD of one device for one hour.
        elapsed: seconds since its start.

    Raises:
        ValueError: see `check_limits`.
    """
    check_limits(max_hours=max_hours, max_cost=max_cost, price=price)
    if max_hours is not None and elapsed >= max_hours * 3600:
        return f"--max-hours {max_hours:g} is reached: {elapsed / 3600:.2f} h"
    if max_cost is not None and price is not None and total.cost(price) >= max_cost:
        hours = f"{total.device_hours:.2f} device-hours at ${price:.2f}"
        return f"--max-cost {max_cost:g} is reached: ${total.cost(price):.2f}, {hours}"
    return None
