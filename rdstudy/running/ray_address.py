"""What may be written where a Ray is named, in `--address` or RAY_ADDRESS: told apart before Ray is imported."""

import os
import re

from rdstudy.study.checks import fail

VARIABLE = "RAY_ADDRESS"
_ALLOWED = "HOST:PORT of a Ray head, such as 192.168.1.10:6379 or [fd00::1]:6379; auto; local"
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:/\s]+):(?P<port>\d{1,5})")
_NO_DRIVER = {"ray": "Ray Client", "http": "Ray's job server", "https": "Ray's job server"}


def named_address(address: str | None) -> tuple[str, str | None]:
    """Where a Ray is named, for messages, and what stands there: `auto`, `local`, `HOST:PORT`, or None for nothing.

    Args:
        address: of the command line, which counts before the environment; None where it names none.

    Raises:
        ValueError: what stands there is none of these.
    """
    where, value = ("--address", address) if address is not None else (VARIABLE, os.environ.get(VARIABLE) or None)
    if value is None or value in ("auto", "local"):
        return where, value
    scheme = value.partition("://")[0].lower()
    if scheme in _NO_DRIVER and "://" in value:
        server = value if scheme != "ray" else "http://HEAD:8265"
        raise ValueError(
            f"{where} is {value!r}, and no study runs through {_NO_DRIVER[scheme]}; allowed: --address HEAD:6379 on a "
            f"machine of the cluster, or from here: ray job submit --address {server} -- python -m rdstudy.run ..."
        )
    parse(where, value)
    return where, value


def parse(where: str, value: str) -> tuple[str, int]:
    """Host and port of an address.

    Raises:
        ValueError: it is none; names where it stands.
    """
    match = _ADDRESS.fullmatch(value)
    if match is None or not 0 < int(match["port"]) < 2**16:
        raise fail(where, value, _ALLOWED)
    return match["host"].strip("[]"), int(match["port"])
