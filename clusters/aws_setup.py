"""What `ray up cluster.yaml` needs in an AWS account, made once: roles with little right, and a closed security group.

    .venv/bin/python clusters/aws_setup.py --region us-east-1 --bucket BUCKET --ssh-from 203.0.113.7/32

Prints the security group's id, for `cluster.yaml`. The bucket must exist. Run again, it brings the policies up to
date and lets one more address in. The rights are in `clusters/aws/`: nodes read and write below the prefix of the
bucket; the head starts machines, ends those of its own cluster, and hands them the workers' role and no other.
"""

import argparse
import ipaddress
import json
import string
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

NAME = "rdstudy"
_POLICIES = Path(__file__).parent / "aws"
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
    parser.add_argument("--ssh-from", required=True, metavar="CIDR", help="your own address, such as 203.0.113.7/32")
    options = parser.parse_args(arguments)
    try:
        address = ipaddress.ip_network(options.ssh_from)
        if address.prefixlen < 16:
            raise ValueError("allowed: networks of /16 and smaller")
    except ValueError as error:
        print(f"error: --ssh-from is {options.ssh_from}; {error}", file=sys.stderr)
        return 2
    group = security_group(options.region, ssh_from=str(address))
    account = boto3.client("sts", region_name=options.region).get_caller_identity()["Account"]
    values = {
        "account": account,
        "region": options.region,
        "bucket": options.bucket,
        "prefix": options.prefix.strip("/"),
    }
    iam = boto3.client("iam")
    make_role(iam, f"{NAME}-worker", ("results",), values)
    make_role(iam, f"{NAME}-head", ("results", "head"), values)
    _unless_there(iam.create_service_linked_role, AWSServiceName="spot.amazonaws.com")
    print(f"in cluster.yaml: SecurityGroupIds: &groups [{group}]")
    return 0


def security_group(region: str, *, ssh_from: str) -> str:
    """The id of a group in the default VPC whose machines reach each other, and whom `ssh_from` reaches at port 22."""
    ec2 = boto3.client("ec2", region_name=region)
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    vpc = vpcs[0]["VpcId"]
    chosen = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [NAME]}]
    found = ec2.describe_security_groups(Filters=chosen)["SecurityGroups"]
    made = {"GroupName": NAME, "VpcId": vpc, "Description": "Nodes of an rdstudy cluster"}
    group: str = found[0]["GroupId"] if found else ec2.create_security_group(**made)["GroupId"]
    for rule in (
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": ssh_from}]},
    ):
        _unless_there(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
    return group


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
