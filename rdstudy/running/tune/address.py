"""Which Ray a run is to join: what `--address` or RAY_ADDRESS names, else one that this user started here."""

import logging
import os
import socket
from pathlib import Path

from ray._private import services
from ray._private.utils import get_ray_address_file

from rdstudy.running.ray_address import named_address, parse

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 5.0
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # of a gRPC client, with no settings
_SETTINGS_FRAME = b"\x04"  # the fourth byte of the first answer of any gRPC server


def find_head(address: str | None) -> str | None:
    """The address of the head to join, as Ray writes it; None where the run starts a Ray of its own.

    Args:
        address: of the command line; None where it names none.

    Raises:
        ValueError: it is no address, or no Ray head listens there.
    """
    where, value = named_address(address)
    if value is None:
        return _started_here()
    if value == "local":
        return None
    if value != "auto":
        return _check_head(value)
    head = _started_here()
    if head is None:
        raise ValueError(
            f"{where} is 'auto', and no Ray that could be joined was started here; allowed: HOST:PORT of a Ray head; "
            "local, for a private one"
        )
    return head


def _check_head(value: str) -> str:
    """Find out in a moment what Ray takes minutes to find out.

    Ray takes the machine's outer address for 127.0.0.1, and so does this.

    Raises:
        ValueError: nothing listens there, or something else than Ray.
    """
    try:
        head = str(services.canonicalize_bootstrap_address(value))
        connection = socket.create_connection(parse("the head", head), timeout=_ANSWER_SECONDS)
    except (OSError, UnicodeError) as error:  # a name can be one that no name may be
        raise ValueError(f"no Ray head listens at {value!r}: {error}") from None
    with connection:
        if os.environ.get("RAY_USE_TLS", "").lower() not in ("1", "true") and not _speaks_grpc(connection):
            raise ValueError(
                f"what listens at {value!r} does not answer as a Ray head; allowed: the port of `ray start --head`, "
                "6379 unless it was told otherwise, with RAY_USE_TLS=1 and certificates where the cluster uses TLS"
            )
    return head


def _speaks_grpc(connection: socket.socket) -> bool:
    """Whether the other end answers as a gRPC server without TLS does."""
    try:
        connection.sendall(_HELLO)
        return connection.recv(9)[3:4] == _SETTINGS_FRAME
    except OSError:
        return False


def _started_here() -> str | None:
    """The cluster of this user's `ray start` on this machine; None where there is none.

    Ray's own search would also join the private Ray of another run, which goes away when that run ends, and that of
    another user, to whom it would hand this user's rights.
    """
    path = Path(get_ray_address_file(None))
    try:
        owner, value = path.stat().st_uid, path.read_text().strip()
    except OSError:
        return None
    if owner != os.getuid():
        logger.warning("the Ray at %s was started by another user, and is not joined unless --address names it", value)
        return None
    try:
        parse(str(path), value)
        return _check_head(value)
    except ValueError as error:
        logger.warning("%s; it was started here once, and is not joined", error)
        return None
