"""SeaweedFS, a second S3 server by other authors, so that no quirk of the first passes for S3's behaviour."""

import json
import platform
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from demo.servers import CREDENTIALS, HOST, Server, child, wait_until_healthy

HAS_WHEEL = sys.platform == "linux" or (sys.platform, platform.machine()) == ("darwin", "arm64")
_PROGRAM = Path(sysconfig.get_path("scripts")) / "weed"
_PARTS = ("master", "volume", "filer", "s3")  # one process; each part has a port for HTTP and one for gRPC
_WHO = {
    "name": "demo",
    "credentials": [{"accessKey": CREDENTIALS["AWS_ACCESS_KEY_ID"], "secretKey": CREDENTIALS["AWS_SECRET_ACCESS_KEY"]}],
    "actions": ["Admin", "Read", "List", "Tagging", "Write"],
}


@contextmanager
def seaweed_server(folder: Path) -> Iterator[Server]:
    """An S3 server whose data lies under ``folder``. It is killed with its block: nobody reads its data again."""
    folder.mkdir(parents=True, exist_ok=True)
    identities = folder / "identities.json"
    identities.write_text(json.dumps({"identities": [_WHO]}))
    ports = dict(zip([f"-{part}.port{kind}" for part in _PARTS for kind in ("", ".grpc")], _free_ports(8), strict=True))
    serve = [
        *(str(_PROGRAM), "-logtostderr", "server", "-filer", "-s3", f"-dir={folder}", f"-s3.config={identities}"),
        *(f"-ip={HOST}", f"-ip.bind={HOST}", *(f"{flag}={port}" for flag, port in ports.items())),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        *("-volume.max=0", "-master.volumeSizeLimitMB=64"),  # each bucket has volumes of its own: small ones, no limit
        *(f"-{part}.localSocket={folder / part}.sock" for part in ("filer", "s3")),
    ]
    url = f"http://{HOST}:{ports['-s3.port']}"
    with child(serve, {}, folder / "server.log") as process:
        wait_until_healthy(f"{url}/healthz", process)
        yield Server(url=url, env={"AWS_ENDPOINT_URL": url, **CREDENTIALS})
        process.kill()  # asked to stop, it takes a quarter of a minute to say goodbye


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now, all different: each is held until all are found."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]
