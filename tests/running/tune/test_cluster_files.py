"""The cluster files: Ray's own validation, what Ray does not check, and `ray up` against an AWS on loopback."""

import fnmatch
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdstudy.running.provenance import stated_version
from tests.waiting import PATIENCE_SECONDS, listens, wait_until

boto3 = pytest.importorskip("boto3")
validate = pytest.importorskip("botocore.validate")
pytest.importorskip("moto.server")

ROOT = Path(__file__).resolve().parents[3]
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
    """Not the history: its remotes may hold passwords, and its stashes what nobody meant to publish."""
    settings = yaml.safe_load((ROOT / name).read_text())
    for path in settings["file_mounts"].values():
        assert path.startswith("~") or (ROOT / path).exists()
    assert not {"results", ".venv", ".", ".git"} & set(settings["file_mounts"].values())
    commands = " ".join(settings["setup_commands"])
    assert "--constraint constraints.txt" in commands
    assert "RAY_AUTH_MODE=token" in commands
    head = " ".join(settings["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head


def test_submit_tells_the_head_which_commit_its_code_is(tmp_path):
    """The copy there has no history; what it is told holds for these very files."""
    for name, program in {"ray": "echo ray", "python": f"exec {sys.executable}"}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\n{program} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    command = ["make", "--silent", "submit", f"VENV={tmp_path}", "OUT=s3://mine/rdstudy/quick"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }  # of the make that tests
    copied, started = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert copied == "ray rsync-up cluster.yaml"
    assert started.rstrip() == (
        f"ray exec --tmux cluster.yaml cd ~/rdstudy && RDSTUDY_CODE_VERSION={stated_version()} "
        ".venv/bin/python -m rdstudy.run studies/quick.py --out s3://mine/rdstudy/quick"
    )


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """moto's AWS on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    path = tmp_path_factory.mktemp("moto") / "log"
    with path.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        wait_until(lambda: listens(port), path.read_text, process=server)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture
def aws(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS with nothing in it, and the variables by which boto3, here and in `ray up`, finds it."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()
    for name, value in {
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "HOME": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)


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
    assert who_reaches(group) == [(22, ["203.0.113.7/32"], 0), (None, [], 1)]
    iam = boto3.client("iam")
    for role, policies in {"rdstudy-worker": ["results"], "rdstudy-head": ["head", "results"]}.items():
        assert sorted(iam.list_role_policies(RoleName=role)["PolicyNames"]) == policies
        (held,) = iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]["Roles"]
        assert held["RoleName"] == role
        text = json.dumps(iam.get_role_policy(RoleName=role, PolicyName="results")["PolicyDocument"])
        assert "arn:aws:s3:::mine/rdstudy/*" in text
        assert "$" not in text


@pytest.mark.parametrize("address", ["0.0.0.0/0", "198.18.0.0/15", "::/0", "2001:db8::/63", "203.0.113.7/24", "home"])
def test_setup_lets_no_wide_network_in(setup, address, capsys):
    assert setup.main([*SETUP[:-1], address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --ssh-from is {address}")
    assert "allowed: " in line


@pytest.mark.parametrize("text", [None, "a: [", "cluster_name: x", "[]", "available_node_types: {worker: 3}"])
def test_setup_says_in_one_line_what_is_no_cluster_file(setup, text, tmp_path, capsys):
    path = tmp_path / "cluster.yaml"
    if text is not None:
        path.write_text(text)
    assert setup.main([*SETUP, "--cluster", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --cluster is {path}: ")


@pytest.mark.usefixtures("aws")
def test_setup_again_takes_back_the_addresses_of_before(setup, capsys):
    def rule_for_all(group: str) -> None:
        rule = {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        boto3.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])

    def group() -> dict[str, Any]:
        (group,) = boto3.client("ec2").describe_security_groups(GroupNames=["rdstudy"])["SecurityGroups"]
        return dict(group)

    assert setup.main(SETUP) == 0
    rule_for_all(group()["GroupId"])
    assert setup.main([*SETUP[:-1], "203.0.113.9/32", "--ssh-from", "2001:db8::7/128"]) == 0
    assert who_reaches(group()) == [(22, ["2001:db8::7/128", "203.0.113.9/32"], 0), (None, [], 1)]
    assert "taken back: 203.0.113.7/32" in capsys.readouterr().out
    assert setup.main(SETUP) == 0
    assert who_reaches(group()) == [(22, ["203.0.113.7/32"], 0), (None, [], 1)]


def who_reaches(group: dict[str, Any]) -> list[tuple[int | None, list[str], int]]:
    """Port, addresses and number of groups of each of a security group's rules; those of one port together."""
    reach: dict[int | None, tuple[list[str], int]] = {}
    for rule in group["IpPermissions"]:
        addresses, groups = reach.setdefault(rule.get("FromPort"), ([], 0))
        addresses += [ip["CidrIp"] for ip in rule["IpRanges"]] + [ip["CidrIpv6"] for ip in rule.get("Ipv6Ranges", [])]
        reach[rule.get("FromPort")] = (addresses, groups + len(rule["UserIdGroupPairs"]))
    return sorted(((port, sorted(who), groups) for port, (who, groups) in reach.items() if who or groups), key=str)


@pytest.fixture
def policy(aws, setup) -> Any:
    """Whether a role may do something, by its policies as they are made: `may(role, action, resource, **context)`."""
    del aws
    assert setup.main(SETUP) == 0
    iam = boto3.client("iam")

    def may(role: str, action: str, resource: str, **context: str) -> bool:
        names = iam.list_role_policies(RoleName=role)["PolicyNames"]
        documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
        rules = [rule for document in documents for rule in document["Statement"]]
        return any(
            allows(rule, action, resource, {key.replace("__", ":"): context[key] for key in context}) for rule in rules
        )

    return may


def allows(rule: dict[str, Any], action: str, resource: str, context: dict[str, str]) -> bool:
    """Whether one statement of a policy allows an action: as much of IAM as these policies use, and no more."""
    assert rule["Effect"] == "Allow"
    assert set(rule) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    tests = {
        (operator, key.lower()): as_list(allowed)
        for operator, keys in rule.get("Condition", {}).items()
        for key, allowed in keys.items()
    }
    assert {operator for operator, _ in tests} <= {"StringEquals", "ArnEquals", "StringLikeIfExists"}
    lower = {key.lower(): value for key, value in context.items()}
    return (
        action in as_list(rule["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in as_list(rule["Resource"]))
        and all(
            operator.endswith("IfExists")
            if key not in lower
            else any(fnmatch.fnmatchcase(lower[key], pattern) for pattern in allowed)
            for (operator, key), allowed in tests.items()
        )
    )


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_head_starts_workers_of_its_file_in_its_network_and_nothing_else(policy):
    """Ray asks for all of these resources at once; EC2 says no where one of them is refused."""
    (vpc,) = boto3.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    (group,) = boto3.client("ec2").describe_security_groups(GroupNames=["rdstudy"])["SecurityGroups"]
    mine, profile = "arn:aws:ec2:us-east-1:123456789012", "arn:aws:iam::123456789012:instance-profile/"
    network = {"ec2__Vpc": f"{mine}:vpc/{vpc['VpcId']}"}
    machine = {
        "ec2__InstanceType": AWS["available_node_types"]["worker"]["node_config"]["InstanceType"],
        "ec2__InstanceProfile": f"{profile}rdstudy-worker",
        "ec2__MetadataHttpTokens": "required",
        "aws__RequestTag/ray-cluster-name": AWS["cluster_name"],
    }
    asked = {
        f"{mine}:instance/*": machine,
        "arn:aws:ec2:us-east-1::image/ami-1": {"ec2__Owner": "amazon"},
        f"{mine}:subnet/subnet-1": network,
        f"{mine}:network-interface/*": network,
        f"{mine}:security-group/{group['GroupId']}": network,
        f"{mine}:volume/*": {},
        f"{mine}:key-pair/ray-autoscaler_us-east-1": {},
        f"{mine}:spot-instances-request/*": {},
    }

    def head_may_start(changed: dict[str, dict[str, str] | None]) -> bool:
        wanted = {resource: context for resource, context in {**asked, **changed}.items() if context is not None}
        return all(
            policy("rdstudy-head", "ec2:RunInstances", resource, **context) for resource, context in wanted.items()
        )

    assert head_may_start({})
    for key, other in {
        "ec2__InstanceType": "p5.48xlarge",
        "ec2__InstanceProfile": f"{profile}admin",
        "ec2__MetadataHttpTokens": "optional",
        "aws__RequestTag/ray-cluster-name": "production",
    }.items():
        assert not head_may_start({f"{mine}:instance/*": {**machine, key: other}})
        assert not head_may_start({f"{mine}:instance/*": {name: machine[name] for name in machine if name != key}})
    assert not head_may_start({"arn:aws:ec2:us-east-1::image/ami-1": {"ec2__Owner": "123456789012"}})
    assert not head_may_start({f"{mine}:subnet/subnet-1": {"ec2__Vpc": f"{mine}:vpc/vpc-production"}})
    assert not head_may_start({f"{mine}:security-group/sg-open": network})
    assert not head_may_start({f"{mine}:key-pair/production": {}})
    assert not policy("rdstudy-worker", "ec2:RunInstances", f"{mine}:volume/*")


def test_the_head_ends_and_names_machines_of_its_cluster_only(policy):
    mine = "arn:aws:ec2:us-east-1:123456789012:instance/i-1"
    for action in ("ec2:TerminateInstances", "ec2:CreateTags"):
        assert policy("rdstudy-head", action, mine, **{"ec2__ResourceTag/ray-cluster-name": "rdstudy"})
        assert not policy("rdstudy-head", action, mine, **{"ec2__ResourceTag/ray-cluster-name": "production"})
        assert not policy("rdstudy-head", action, mine)
    assert policy("rdstudy-head", "ec2:CreateTags", mine, ec2__CreateAction="RunInstances")
    assert not policy(
        "rdstudy-head", "ec2:CreateTags", mine.replace("instance/i", "volume/vol"), ec2__CreateAction="RunInstances"
    )
    assert policy("rdstudy-head", "ec2:DescribeInstances", "*", aws__RequestedRegion="us-east-1")
    assert not policy("rdstudy-head", "ec2:DescribeInstances", "*", aws__RequestedRegion="eu-west-1")


@pytest.mark.parametrize("role", ["rdstudy-head", "rdstudy-worker"])
def test_a_node_lists_and_reads_below_its_prefix_only(policy, role):
    bucket = "arn:aws:s3:::mine"
    assert policy(role, "s3:ListBucket", bucket, s3__prefix="rdstudy/quick/members/")
    assert not policy(role, "s3:ListBucket", bucket, s3__prefix="payroll/")
    assert not policy(role, "s3:ListBucket", bucket, s3__prefix="rdstudy-of-somebody-else/")
    assert policy(role, "s3:ListBucket", bucket), "else S3 says that a missing file is forbidden, and no store opens"
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert policy(role, action, f"{bucket}/rdstudy/quick/store.json")
        assert not policy(role, action, f"{bucket}/payroll/store.json")


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
            timeout=PATIENCE_SECONDS,
        )

    def machines() -> list[dict[str, Any]]:
        return [machine for booking in ec2.describe_instances()["Reservations"] for machine in booking["Instances"]]

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
    assert [each["GroupId"] for each in head["SecurityGroups"]] == [group["GroupId"]]
    for there in ec2.describe_security_groups()["SecurityGroups"]:
        assert "0.0.0.0/0" not in json.dumps(there["IpPermissions"]), f"{there['GroupName']} lets the world in"
    down = ray("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert [machine["State"]["Name"] for machine in machines()] == ["terminated"]
