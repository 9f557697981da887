"""GPUs by their data sheets, in one place: what a plan assumes of them, and what a bound is taken from.

Standard library alone. The rates are peaks; what is reached of them is a factor beside them, assumed until measured.
"""

import re
from dataclasses import dataclass

from rdstudy.study.settings import GPU_MODELS

FLOAT32_REACHED, TF32_REACHED, BANDWIDTH_REACHED = 0.72, 0.45, 0.85
"""Parts of the peaks that batched products of a step's size, and copies, are taken to reach. Assumed, not measured."""


@dataclass(frozen=True)
class Card:
    """A GPU."""

    name: str  # as `resources.gpu_model` has it
    memory_gb: float  # of 10^9 bytes
    float32: float  # operations a second outside the tensor cores
    tf32: float  # the same of the tensor cores, dense
    bandwidth: float  # bytes a second of its memory

    def rate(self, precision: str) -> float:
        """Peak operations a second of products in a precision."""
        return self.tf32 if precision == "tf32" else self.float32

    @property
    def reached(self) -> "Card":
        """The same card at the rates that steps are taken to reach."""
        return Card(
            self.name,
            self.memory_gb,
            self.float32 * FLOAT32_REACHED,
            max(self.tf32 * TF32_REACHED, self.float32 * FLOAT32_REACHED),  # a library may take either
            self.bandwidth * BANDWIDTH_REACHED,
        )


# NVIDIA's data sheets: A10G (with AWS, 2022), L4, A100 80GB SXM, H100 SXM, H200 SXM. The sheets of L4, H100 and H200
# give TF32 with sparsity: half of that here.
CARDS = {
    card.name: card
    for card in (
        Card("A10G", 24, 35e12, 35e12, 600e9),
        Card("L4", 24, 30.3e12, 60e12, 300e9),
        Card("A100", 80, 19.5e12, 156e12, 2_039e9),
        Card("H100", 80, 67e12, 494.5e12, 3_350e9),
        Card("H200", 141, 67e12, 494.5e12, 4_800e9),
    )
}
assert tuple(CARDS) == GPU_MODELS, "a study can name each of them"

ASSUMED_CARD = CARDS["A10G"]
"""Where none is named and none is there: that of `cluster.yaml`."""


def card_called(device_name: str) -> Card | None:
    """The card that CUDA calls so, such as `NVIDIA A100-SXM4-80GB`; None of one that is not in the table."""
    words = re.split(r"[^A-Za-z0-9]+", device_name)
    return next((card for name, card in CARDS.items() if name in words), None)
