"""The address of a results folder as it may be printed and stored: without keys. Standard library alone.

What pyarrow accepts as `s3://KEY:SECRET@bucket` would stand on the page, in the declaration, in logs and in the command
that goes on. So keys are taken out where an address comes in, and given to the AWS client of this process, and of those
that it starts, through the environment.
"""

import logging
import os
import re
from collections.abc import Callable
from urllib.parse import unquote

_HOW = "give keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials or the role of a machine"
_SECRET_OPTION = re.compile(r"[?&]([^=&]*(?:key|secret|token|passw|credential|signature)[^=&]*)=", re.IGNORECASE)
_SLIP = re.compile(r"(s3|gs|gcs|file|hdfs):(?!//)/?", re.IGNORECASE)  # it would be a folder of that name

logger = logging.getLogger(__name__)


def without_keys(address: str, *, tell: Callable[[str], object] = logger.warning) -> str:
    """The same address without the keys in it, which are set in the environment instead.

    Args:
        address: a path or a URI.
        tell: told how keys are given instead, where there were any.

    Raises:
        ValueError: keys that cannot be told from the rest of it; the message does not contain them.
    """
    slip = _SLIP.match(address)
    if slip:
        raise ValueError(
            f"an address begins with {slip[0]} and not with {slip[1]}://; allowed: a path, {slip[1]}://..."
        )
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    option = _SECRET_OPTION.search(rest)
    if option:
        raise ValueError(f"an address of {scheme}:// has keys in its option {option[1]!r}; allowed: none, {_HOW}")
    before, at, after = rest.partition("/")[0].rpartition("@")
    if not at:
        if ":" in rest.partition("/")[0] and "@" in rest:  # a / in a secret that was not written as %2F
            raise ValueError(f"an address of {scheme}:// has keys in it that hold a /; allowed: none, {_HOW}")
        return address
    if scheme.lower() != "s3":
        if ":" in before:
            raise ValueError(f"an address of {scheme}:// has a password in it; allowed: none")
        return address  # gs://anonymous@bucket
    key, _, secret = before.partition(":")
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = unquote(key), unquote(secret)
    os.environ.pop("AWS_SESSION_TOKEN", None)  # of other keys
    tell(f"the keys in the address can be read in the process list and the shell's history: {_HOW}")
    path = rest.partition("/")[1] + rest.partition("/")[2]
    return f"{scheme}://{after}{path}"
