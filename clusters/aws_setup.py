"""What `ray up cluster.yaml` needs in an AWS account, made once: roles with little right, and a closed security group.

    .venv/bin/python clusters/aws_setup.py --region us-east-1 --bucket BUCKET --ssh-from 203.0.113.7/32

Prints the security group's id, for `cluster.yaml`. The bucket must exist. Run again, it brings the policies up to date,
and the addresses that may come in: only those of this call may. The rights are in `clusters/aws/`: nodes read and write
below the prefix of the bucket; the head starts machines of the types that `cluster.yaml` names for workers, in the
group and its network, ends those of its own cluster, and hands them the workers' role and no other. How many it starts
is limited by a quota of the account alone. A bucket of its own is better still: S3 says that a file is missing only to
those who may list a bucket without naming a prefix, so nodes can learn the names, not the contents, of other files.
"""

import argparse
import ipaddress
import json
import string
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError

NAME = "rdstudy"
_POLICIES = Path(__file__).parent / "aws"
_CLUSTER = Path(__file__).parents[1] / "cluster.yaml"
_WIDEST = {4: 16, 6: 64}  # by version of IP: the shortest prefix that may be let in
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}

# what AWS says of something that is there already; the last of a service-linked role
_THERE = ("EntityAlreadyExists", "InvalidPermission.Duplicate", "InvalidInput")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing; print what `cluster.yaml` needs."""
    parser = argparse.ArgumentParser(description="Make the roles and the security group of cluster.yaml.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--bucket", required=True, help="where results go; it must exist")
    parser.add_argument("--prefix", default=NAME, help=f"what in the bucket the nodes may touch (default: {NAME})")
    parser.add_argument(
        "--ssh-from",
        required=True,
        metavar="CIDR",
        action="append",
        help="your own address, such as 203.0.113.7/32; may be given several times",
    )
    parser.add_argument("--cluster", metavar="FILE", default=_CLUSTER, help="the cluster file (default: cluster.yaml)")
    options = parser.parse_args(arguments)
    try:
        addresses = [_network(text) for text in options.ssh_from]
        cluster = _read_cluster(options.cluster)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    group = security_group(options.region, ssh_from=addresses)
    account = boto3.client("sts", region_name=options.region).get_caller_identity()["Account"]
    values = {
        "account": account,
        "region": options.region,
        "bucket": options.bucket,
        "prefix": options.prefix.strip("/"),
        "group": group.group_id,
        "vpc": group.vpc_id,
        "cluster": cluster.name,
        "worker_types": json.dumps(cluster.worker_types),
    }
    iam = boto3.client("iam")
    make_role(iam, f"{NAME}-worker", ("results",), values)
    make_role(iam, f"{NAME}-head", ("results", "head"), values)
    _unless_there(iam.create_service_linked_role, AWSServiceName="spot.amazonaws.com")
    print(f"in cluster.yaml: SecurityGroupIds: &groups [{group.group_id}]")
    return 0


@dataclass(frozen=True)
class Cluster:
    """What rights depend on: the name that machines are tagged with, and the types of those beside the head."""

    name: str
    worker_types: tuple[str, ...]


def _read_cluster(path: str) -> Cluster:
    """What a cluster file asks for.

    Raises:
        ValueError: no cluster file of AWS.
    """
    try:
        settings = yaml.safe_load(Path(path).read_text())
        types = settings["available_node_types"]
        workers = {
            name: types[name]["node_config"]["InstanceType"] for name in types if name != settings["head_node_type"]
        }
        return Cluster(settings["cluster_name"], tuple(sorted(set(workers.values()))))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"--cluster is {path}: {reason}; allowed: a file such as cluster.yaml") from None


@dataclass(frozen=True)
class Group:
    """A security group, and the network that it belongs to."""

    group_id: str
    vpc_id: str


def security_group(region: str, *, ssh_from: Sequence[_Network]) -> Group:
    """A group in the default VPC whose machines reach each other, and whom `ssh_from` alone reaches, at port 22."""
    ec2 = boto3.client("ec2", region_name=region)
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    vpc = vpcs[0]["VpcId"]
    chosen = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [NAME]}]
    found = ec2.describe_security_groups(Filters=chosen)["SecurityGroups"]
    made = {"GroupName": NAME, "VpcId": vpc, "Description": "Nodes of an rdstudy cluster"}
    group: str = found[0]["GroupId"] if found else ec2.create_security_group(**made)["GroupId"]
    rules = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}, *map(_ssh_rule, ssh_from)]
    for rule in rules:
        _unless_there(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
    _forget_old_addresses(ec2, group, {str(network) for network in ssh_from})
    return Group(group, vpc)


def _network(text: str) -> _Network:
    """The network of `--ssh-from`.

    Raises:
        ValueError: it is none, or one that lets half the world in.
    """
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"--ssh-from is {text}: {error}; allowed: a network such as 203.0.113.7/32") from None
    if network.prefixlen < _WIDEST[network.version]:
        raise ValueError(f"--ssh-from is {text}; allowed: /{_WIDEST[network.version]} and smaller networks")
    return network


def _ssh_rule(network: _Network) -> dict[str, Any]:
    ranges = (
        {"IpRanges": [{"CidrIp": str(network)}]}
        if network.version == 4
        else {"Ipv6Ranges": [{"CidrIpv6": str(network)}]}
    )
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}


def _forget_old_addresses(ec2: Any, group: str, wanted: Collection[str]) -> None:
    """Take back every rule by which addresses come in that are not wanted, at any port."""
    (state,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    for rule in state["IpPermissions"]:
        for kind, name in (("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")):
            old = [
                {name: one[name]} for one in rule.get(kind, ()) if one[name] not in wanted or rule.get("ToPort") != 22
            ]
            if old:
                ports = {key: rule[key] for key in ("IpProtocol", "FromPort", "ToPort") if key in rule}
                ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[{**ports, kind: old}])
                print(f"taken back: {', '.join(one[name] for one in old)}")


def make_role(iam: Any, name: str, policies: Sequence[str], values: dict[str, str]) -> None:
    """A role, with the profile by which machines take it, and these policies of `clusters/aws/`."""
    _unless_there(iam.create_role, RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))
    for policy in policies:
        text = string.Template((_POLICIES / f"{policy}.json").read_text()).substitute(values)
        iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(json.loads(text)))
    _unless_there(iam.create_instance_profile, InstanceProfileName=name)
    if not iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]:
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def _unless_there(make: Any, **what: Any) -> None:
    """Make something; that it is there already is no error."""
    try:
        make(**what)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _THERE:
            raise


if __name__ == "__main__":
    sys.exit(main())
