"""The cluster files: Ray's own validation, what Ray does not check, and `ray up` against an AWS on loopback."""

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

boto3 = pytest.importorskip("boto3")
validate = pytest.importorskip("botocore.validate")
pytest.importorskip("moto.server")

ROOT = Path(__file__).resolve().parents[1]
FILES = ("cluster.yaml", "cluster.local.yaml")
AWS = yaml.safe_load((ROOT / "cluster.yaml").read_text())

pytestmark = pytest.mark.cluster


def keys_of_providers(kind: str) -> set[str]:
    """The keys of `provider` that Ray's source reads for a kind of provider."""
    import ray

    folder = Path(ray.__file__).parent / "autoscaler/_private"
    text = "".join(path.read_text() for path in (*(folder / kind).glob("*.py"), folder / "updater.py"))
    read = r'(?:provider_config|\["provider"\])(?:\[|\.get\(\s*)"(\w+)"|"(\w+)" (?:not )?in (?:self\.)?provider_config'
    return {name for pair in re.findall(read, text) for name in pair if name} | {"type"}


def mistakes_in_node(settings: dict[str, Any]) -> str:
    """What EC2's own description of RunInstances says against a `node_config`; nothing where it is right."""
    model = boto3.client("ec2", region_name="us-east-1").meta.service_model
    shape = model.operation_model("RunInstances").input_shape
    report = validate.ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **settings}, shape)
    return str(report.generate_report())


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_the_file_and_refuses_a_misspelt_one(name):
    from ray.autoscaler._private.util import prepare_config, validate_config

    settings = yaml.safe_load((ROOT / name).read_text())
    validate_config(prepare_config(settings))
    with pytest.raises(Exception, match="idle_timeout"):
        validate_config(prepare_config({**settings, "idle_timeout": 3}))


@pytest.mark.parametrize("name", FILES)
def test_ray_reads_every_key_of_the_provider(name):
    provider = yaml.safe_load((ROOT / name).read_text())["provider"]
    known = keys_of_providers(provider["type"])
    assert set(provider) <= known
    assert "cache_stoped_nodes" not in known


@pytest.mark.parametrize("node", ["head", "worker"])
def test_ec2_knows_every_setting_of_a_machine(node):
    settings = AWS["available_node_types"][node]["node_config"]
    assert mistakes_in_node(settings) == ""
    assert "IamInstanceProfil" in mistakes_in_node({**settings, "IamInstanceProfil": {"Name": "x"}})
    assert "MarketTyp" in mistakes_in_node({**settings, "InstanceMarketOptions": {"MarketTyp": "spot"}})


def test_what_a_mistake_would_make_dear_or_open():
    """Decisions that a change of the file must not undo by accident."""
    head, worker = (AWS["available_node_types"][name] for name in ("head", "worker"))
    assert AWS["head_node_type"] == "head"
    assert worker["min_workers"] == 0
    assert worker["max_workers"] == AWS["max_workers"]
    assert AWS["idle_timeout_minutes"] <= 5
    assert AWS["provider"]["cache_stopped_nodes"] is False
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in head["node_config"]
    for node in (head["node_config"], worker["node_config"]):
        assert node["SecurityGroupIds"], "Ray makes a group that lets the world in where none is named"


@pytest.mark.parametrize("name", FILES)
def test_versions_are_pinned_and_only_the_code_travels(name):
    settings = yaml.safe_load((ROOT / name).read_text())
    for path in settings["file_mounts"].values():
        assert path.startswith("~") or (ROOT / path).exists()
    assert not {"results", ".venv", "."} & set(settings["file_mounts"].values())
    commands = " ".join(settings["setup_commands"])
    assert "--constraint constraints.txt" in commands
    assert "RAY_AUTH_MODE=token" in commands
    head = " ".join(settings["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto's AWS on loopback, and the variables by which boto3, here and in `ray up`, finds it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "moto.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        yield address
        server.terminate()


@pytest.fixture
def setup() -> Any:
    """`clusters/aws_setup.py` as a module."""
    spec = importlib.util.spec_from_file_location("aws_setup", ROOT / "clusters/aws_setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETUP = ("--region", "us-east-1", "--bucket", "mine", "--ssh-from", "203.0.113.7/32")


@pytest.mark.usefixtures("aws")
def test_setup_twice_makes_one_closed_group_and_two_small_roles(setup, capsys):
    assert setup.main(SETUP) == setup.main(SETUP) == 0
    said = set(capsys.readouterr().out.split("\n"))
    assert len(said - {""}) == 1
    (group,) = boto3.client("ec2").describe_security_groups(GroupNames=["rdstudy"])["SecurityGroups"]
    assert group["GroupId"] in said.pop() + said.pop()
    reach = [
        (rule.get("FromPort"), [ip["CidrIp"] for ip in rule["IpRanges"]], len(rule["UserIdGroupPairs"]))
        for rule in group["IpPermissions"]
    ]
    assert sorted(reach, key=str) == [(22, ["203.0.113.7/32"], 0), (None, [], 1)]
    iam = boto3.client("iam")
    for role, policies in {"rdstudy-worker": ["results"], "rdstudy-head": ["head", "results"]}.items():
        assert sorted(iam.list_role_policies(RoleName=role)["PolicyNames"]) == policies
        (held,) = iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]["Roles"]
        assert held["RoleName"] == role
        text = json.dumps(iam.get_role_policy(RoleName=role, PolicyName="results")["PolicyDocument"])
        assert "arn:aws:s3:::mine/rdstudy/*" in text
        assert "$" not in text
    assert setup.main([*SETUP[:-1], "0.0.0.0/0"]) == 2
    assert "--ssh-from is 0.0.0.0/0" in capsys.readouterr().err


def test_up_starts_the_head_that_the_file_asks_for_and_down_ends_it(aws, setup, tmp_path):
    """As far as AWS can be imitated: machines are rented, but nobody answers at port 22."""
    del aws
    setup.main(SETUP)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("0" * 64)
    ec2 = boto3.client("ec2")
    (group,) = ec2.describe_security_groups(GroupNames=["rdstudy"])["SecurityGroups"]
    path = tmp_path / "cluster.yaml"
    path.write_text((ROOT / "cluster.yaml").read_text().replace("sg-00000000000000000", group["GroupId"]))

    def ray(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", *words, "--yes", str(path)],
            cwd=ROOT,
            env={**os.environ, "AUTOSCALER_NODE_START_WAIT_S": "3", "RAY_USAGE_STATS_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def machines() -> list[dict[str, Any]]:
        return [one for booking in ec2.describe_instances()["Reservations"] for one in booking["Instances"]]

    up = ray("up", "--no-config-cache")
    assert up.returncode != 0, "nobody answers at port 22"
    assert "SSH" in up.stdout + up.stderr
    (head,) = machines()
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    wanted = AWS["available_node_types"]["head"]["node_config"]
    assert head["State"]["Name"] == "running"
    assert head["InstanceType"] == wanted["InstanceType"]
    assert (tags["ray-cluster-name"], tags["ray-node-type"]) == ("rdstudy", "head")
    assert head["IamInstanceProfile"]["Arn"].endswith("instance-profile/rdstudy-head")
    assert [one["GroupId"] for one in head["SecurityGroups"]] == [group["GroupId"]]
    for there in ec2.describe_security_groups()["SecurityGroups"]:
        assert "0.0.0.0/0" not in json.dumps(there["IpPermissions"]), f"{there['GroupName']} lets the world in"
    down = ray("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert [one["State"]["Name"] for one in machines()] == ["terminated"]
