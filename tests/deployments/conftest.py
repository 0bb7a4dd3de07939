"""An AWS account on this machine, for what is deployed to one."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from demo.servers import Server, s3_server
from deployments.stack import install
from deployments.template import template

SERVICES = "s3,iam,sts,ec2,ecr,ecs,sqs,events,logs,monitoring,cloudformation"
NAME = "recording-archive"
NOT_HERE = ("NoSuccess", "NoSuccessFor26Hours")  # this account's CloudFormation knows neither formulas nor composites


def known_here() -> dict[str, Any]:
    """The template, but for what this account's CloudFormation refuses."""
    whole = template()
    return {**whole, "Resources": {name: each for name, each in whole["Resources"].items() if name not in NOT_HERE}}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The account, and this process as its user, until the module ends."""
    before = dict(os.environ)
    with (
        s3_server(tmp_path_factory.mktemp("aws"), services=SERVICES) as server,
        pytest.MonkeyPatch.context() as patched,
    ):
        os.environ.update(server.env)
        for module in ("stack", "retained"):
            patched.setattr(f"deployments.{module}.template", known_here)
        try:
            yield server
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="module")
def parameters(aws: Server) -> dict[str, str]:
    """The stack's parameters, in the account's default network."""
    import boto3

    (table,) = boto3.client("ec2").describe_route_tables()["RouteTables"]
    return {
        **{"RecordingsBucket": "calls", "AuditBucket": "calls-audit", "ApiKeySecretArn": "arn:aws:secretsmanager:key"},
        **{"AuthStringSecretArn": "arn:aws:secretsmanager:auth"},
        **{"VpcId": table["VpcId"], "RouteTableIds": table["RouteTableId"]},
    }


@pytest.fixture(scope="module")
def outputs(parameters: dict[str, str]) -> dict[str, str]:
    """The stack, deployed: what it tells make deploy."""
    return install(NAME, parameters)
