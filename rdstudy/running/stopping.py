"""What tells trials to end, outside of the room of Ray: the process of this actor loads neither PyTorch nor Tune."""


class StopSignal:
    """An actor, asked by every trial every few seconds: whether it is to save and end. Goes away with the driver."""

    def __init__(self) -> None:
        self._given = False

    def give(self) -> None:
        """From now on, trials are to end."""
        self._given = True

    def given(self) -> bool:
        """Whether trials are to end."""
        return self._given
