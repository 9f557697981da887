"""When a page is made: the one thing about it that its tables do not say."""

import os
from datetime import UTC, datetime

from rdstudy.study.checks import fail

_VARIABLE = "SOURCE_DATE_EPOCH"
_MOST = 253_402_300_799  # the last second of the year 9999


def made_at() -> datetime:
    """Now; or the time that `SOURCE_DATE_EPOCH` fixes, so that the same tables make the same bytes.

    See https://reproducible-builds.org/specs/source-date-epoch.

    Raises:
        ValueError: the variable is no time.
    """
    given = os.environ.get(_VARIABLE, "")
    if not given:
        return datetime.now(UTC)
    if not (given.isascii() and given.isdigit() and int(given[:12]) <= _MOST):
        raise fail(_VARIABLE, given, "seconds since 1970, a whole number")
    return datetime.fromtimestamp(int(given), UTC)
