"""An AWS account on this machine, for what is deployed to one."""

import os
from collections.abc import Iterator

import pytest

from demo.servers import Server, s3_server
from deployments.stack import install

SERVICES = "s3,iam,sts,ec2,ecr,ecs,sqs,logs,monitoring,cloudformation"
NAME = "recording-archive"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The account, and this process as its user, until the module ends."""
    before = dict(os.environ)
    with s3_server(tmp_path_factory.mktemp("aws"), services=SERVICES) as server:
        os.environ.update(server.env)
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
        **{"VpcId": table["VpcId"], "RouteTableIds": table["RouteTableId"]},
    }


@pytest.fixture(scope="module")
def outputs(parameters: dict[str, str]) -> dict[str, str]:
    """The stack, deployed: what it tells make deploy."""
    return install(NAME, parameters)
