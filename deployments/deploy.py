"""Deploy the work pool, the automations and all deployments to the Prefect server of PREFECT_API_URL.

First it says what it is about to change, and what it keeps because people set it in Prefect:
docs/decisions/0070-a-deploy-keeps-what-people-set.md. Deployed twice, nothing changes.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings
from prefect.workers.process import ProcessWorker

from deployments.automations import left_over_automations, plan_automations
from deployments.comparison import under
from deployments.environment import base_job_template, missing, unsaid, without_secret
from deployments.estate import OF_INSTANCE, Estate, places, read_estate
from deployments.plan import Plan
from deployments.pools import plan_pool
from deployments.refused import Refused
from deployments.registration import Declared, declared, left_over, plan_deployment, refused_parameters

IMAGE = Path(__file__).parent / "image.sh"
CODE_IN_IMAGE = "/opt/archive"  # the same path as in the Dockerfile
EVERYTHING = "1"  # as in RESET=1
AUTOMATIONS = "automations"
NOT_SET = "These variables are not set:"
WHERE = "deployments/README.md says where they come from."


def plans(
    client: SyncPrefectClient, wanted: Sequence[Declared], estate: Estate | None, reset: Sequence[str], local: bool
) -> Iterator[Plan]:
    """What a deploy does, in the order in which it does it."""
    pool, given_back = os.environ["ARCHIVE_WORK_POOL"], _given_back(wanted, reset)
    kind = "process" if local else "ecs"
    template = ProcessWorker.get_default_base_job_template() if local else base_job_template(os.environ)
    silent = () if local else unsaid(os.environ)
    pool_plan = plan_pool(client, pool, kind, template, unsaid=silent, reset=given_back(pool))
    if not local and (lines := list(without_secret(_credentials(), under(pool_plan.result, "defaults")))):
        raise Refused("\n".join([NOT_SET, *lines, WHERE]))
    yield pool_plan
    yield from plan_automations(client, os.environ, places(estate, os.environ), reset=given_back(AUTOMATIONS))
    planned = {each.name: plan_deployment(client, each, reset=given_back(each.name)) for each in wanted}
    if lines := list(refused_parameters(planned)):
        sentence = "This release does not take these parameters as people set them. Correct them in Prefect,"
        raise Refused("\n".join([f"{sentence} or give them back to the release by RESET=<deployment>:", *lines]))
    yield from planned.values()


def _credentials() -> Mapping[str, Any]:
    """What this shell, or its profile of Prefect, shows to the server."""
    api = get_current_settings().api
    return {"PREFECT_API_KEY": api.key, "PREFECT_API_AUTH_STRING": api.auth_string}


def _given_back(wanted: Sequence[Declared], reset: Sequence[str]) -> Callable[[str], bool]:
    """Whether RESET names this thing."""
    known = [os.environ["ARCHIVE_WORK_POOL"], AUTOMATIONS, *(each.name for each in wanted)]
    if unknown := {*reset} - {EVERYTHING, *known}:
        raise Refused(
            f"RESET does not know {', '.join(sorted(unknown))}. It takes 1 for everything, {', '.join(known)}"
        )
    return lambda name: bool({EVERYTHING, name} & {*reset})


def deploy(
    client: SyncPrefectClient, estate: Estate | None, *, diff_only: bool, reset: Sequence[str], local: bool
) -> None:
    """Say what differs from this release, and make Prefect equal to it but for what people set."""
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        client.read_work_pools(limit=1)  # whether the server answers at all
    wanted = declared(estate, os.environ)
    planned = list(plans(client, wanted, estate, reset, local))
    lines = [line for each in planned for line in each.lines()]
    left = [*left_over(client, os.environ["ARCHIVE_WORK_POOL"], wanted), *left_over_automations(client, planned)]
    for line in [*lines, *left]:
        print(line)
    if any(line.startswith("  = ") for line in lines):
        print("= is kept as people set it; make deploy RESET=1, or RESET=<name>, gives it back to the release")
    changed = [each for each in planned if each.changed]
    print(f"{len(changed)} of {len(planned)} differ" if changed else "nothing to change", flush=True)
    if diff_only:
        return
    if not local:
        subprocess.run([IMAGE], check=True)  # noqa: S603 (our own script)
    for each in planned:
        try:
            each.carry_out()
        except (httpx.HTTPStatusError, PrefectException) as error:
            rest = "What was done stays; make deploy goes on with the rest."
            raise Refused(f"{each.thing}: {_words(error)}\n{rest}") from error
    if changed:
        print("done")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__)
    parser.add_argument("--diff", action="store_true", help="only say what would change")
    parser.add_argument(
        "--reset", nargs="+", default=[], help="what goes back to the release: 1 for everything, or names"
    )
    parser.add_argument("--local", action="store_true", help="to processes of this machine, as make ui does")
    options = parser.parse_args(arguments)
    try:
        estate = None if options.local else read_estate()
    except Refused as refused:
        sys.exit(str(refused))
    if not options.local:
        if lines := list(missing(os.environ, OF_INSTANCE if estate else ())):
            sys.exit("\n".join([NOT_SET, *lines, WHERE]))
        os.environ["ARCHIVE_CODE"] = CODE_IN_IMAGE
    url = os.environ["PREFECT_API_URL"]
    try:
        with get_client(sync_client=True) as client:
            deploy(client, estate, diff_only=options.diff, reset=options.reset, local=options.local)
    except Refused as refused:
        sys.exit(str(refused))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{IMAGE.name} failed ({error.returncode}): nothing was deployed")
    except httpx.TransportError as error:
        sys.exit(f"no Prefect server answers at PREFECT_API_URL={url}: {error or type(error).__name__}")
    except httpx.HTTPStatusError as error:
        sys.exit(f"the Prefect server at PREFECT_API_URL={url} refuses: {_words(error)}{_way_out(error)}")


def _words(error: Exception) -> str:
    """What the server says."""
    refused = getattr(error, "http_exc", error)
    if not isinstance(refused, httpx.HTTPStatusError):
        return str(error)
    try:
        answer = refused.response.json()
    except ValueError:
        answer = {}
    return f"{refused.response.status_code} {answer.get('detail') or answer.get('exception_message') or ''}".strip()


def _way_out(error: httpx.HTTPStatusError) -> str:
    if error.response.status_code in (401, 403):
        return ". Set PREFECT_API_KEY (Prefect Cloud), or PREFECT_API_AUTH_STRING=user:password (your own server)"
    return ". Does the address end in /api?" if error.response.status_code in (404, 405) else ""


if __name__ == "__main__":
    main(sys.argv[1:])
