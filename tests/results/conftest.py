"""Where the store is tested: in a local folder with a name that needs care, and in a bucket through the S3 protocol."""

import uuid
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.s3 import s3_uri


@pytest.fixture(params=["local", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where nothing is yet."""
    name = "résults, 100% of [them] #1"
    if request.param == "local":
        return str(tmp_path / name)
    return s3_uri(request.getfixturevalue("s3"), f"{uuid.uuid4().hex}/{name}")


@pytest.fixture
def store(uri: str) -> Store:
    """A new one there."""
    return Store.create(uri)
