"""Keys in an address: they work, and stand in no text."""

import os

import pytest

from rdstudy.report.__main__ import main as report
from rdstudy.results.address import without_keys
from rdstudy.results.store import Store
from rdstudy.retrain import main as retrain
from rdstudy.run import main


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "before")


@pytest.mark.parametrize(
    "address",
    [
        "results",
        "/tmp/a@b:c/results",
        "s3://bucket/path@2?region=us-east-1&endpoint_override=127.0.0.1:9000",
        "gs://anonymous@bucket/path",
        "file:///tmp/results",
        "hdfs://me@host:8020/path",
    ],
)
def test_an_address_without_keys_stays_as_it_is(address):
    assert without_keys(address) == address
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "before"


@pytest.mark.parametrize("scheme", ["s3", "S3"])
@pytest.mark.parametrize(
    ("keys", "key", "secret"),
    [("KEY:SECRET", "KEY", "SECRET"), ("K%2BY:SE%2FCR%40T", "K+Y", "SE/CR@T"), (":S", "", "S")],
)
def test_keys_of_s3_go_to_the_environment_and_the_message_says_how_to_give_them(caplog, scheme, keys, key, secret):
    assert without_keys(f"{scheme}://{keys}@bucket/a@b?region=x") == f"{scheme}://bucket/a@b?region=x"
    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]) == (key, secret)
    assert "AWS_SESSION_TOKEN" not in os.environ
    (line,) = caplog.messages
    assert "give keys by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line
    assert keys not in line


HIDDEN = "hUsHhUsH"


@pytest.mark.parametrize("option", ["--out", "--figures"])
@pytest.mark.parametrize("address", [f"s3://KEY:{HIDDEN}@bucket/path", f"s3:/KEY:{HIDDEN}@bucket/path"])
def test_a_page_and_figures_go_to_no_address(tmp_path, monkeypatch, capfd, option, address):
    monkeypatch.chdir(tmp_path)
    assert report(["results", option, address]) == 2
    out, err = capfd.readouterr()
    assert HIDDEN not in out + err
    assert "allowed: a path" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "address",
    [
        f"s3://KEY:{HIDDEN}/{HIDDEN}@bucket/path",
        f"s3://bucket/path?secret_key={HIDDEN}",
        f"s3://bucket/path?region=x&AccessKeyId={HIDDEN}",
        f"gs://bucket/path?credential_token={HIDDEN}",
        f"hdfs://me:{HIDDEN}@host/path",
        f"nonsense://me:{HIDDEN}@host/path",
        f"s3:/KEY:{HIDDEN}@bucket/path",
        f"S3:KEY:{HIDDEN}@bucket/path",
    ],
)
@pytest.mark.parametrize("command", ["run", "report", "retrain"])
def test_keys_that_cannot_be_taken_out_are_refused_in_one_line_without_them(tmp_path, capfd, command, address):
    study = tmp_path / "study.py"
    study.write_text("from rdstudy.study import *")
    arguments = {
        "run": lambda: main([str(study), "--local", "--out", address]),
        "report": lambda: report([address]),
        "retrain": lambda: retrain([address, "abc"]),
    }
    assert arguments[command]() == 2
    out, err = capfd.readouterr()
    assert HIDDEN not in out + err
    (line,) = err.splitlines()
    assert line.startswith("error: an address ")
    for way in (Store.create, Store.open, Store.exists):
        with pytest.raises(ValueError, match="an address ") as raised:
            way(address)
        assert HIDDEN not in str(raised.value)
