"""Seeds: a pure function of an identity and a purpose, whatever the order in which they are asked for.

Nothing here keeps state, and nothing anywhere in this project seeds a global generator.
"""

import hashlib


def derive_seed(identity: int | str, purpose: str, index: int = 0) -> int:
    """Derive an independent 63-bit seed.

    Args:
        identity: whose randomness this is: a member's seed, a study's seed, a data set's name.
        purpose: what it is for, in words; another purpose gives an unrelated seed.
        index: a step, an epoch, a chunk: which piece of that stream.
    """
    text = f"{identity!r}\x1f{purpose}\x1f{index}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
