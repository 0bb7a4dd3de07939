"""A change of a stack, followed to its end: its events as they happen, and the reasons if it fails."""

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from botocore.exceptions import ClientError

SUCCEEDED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
_LOOK_EVERY_S = 2


class StackFailed(Exception):
    """CloudFormation did not do what was asked for; the message says why, in its own words."""


def read_stack(client: Any, name: str) -> dict[str, Any] | None:
    """The stack as CloudFormation describes it; None if there is none of this name."""
    try:
        (stack,) = client.describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return dict(stack)


def body(document: Mapping[str, Any]) -> str:
    """The template without spaces: CloudFormation takes 51,200 bytes."""
    return json.dumps(document, separators=(",", ":"))


def newest_event(client: Any, stack: str) -> str | None:
    """The id of the stack's newest event."""
    return next((each["EventId"] for each in _events(client, stack)), None)


def follow(client: Any, stack: str, wanted: Sequence[str] = SUCCEEDED, *, after: str | None = None) -> None:
    """Show the events that follow ``after`` until nothing is in progress.

    Raises StackFailed unless the stack ends in a ``wanted`` state.
    """
    last = after
    while True:
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]  # before the events: its last one is among them
        new = _events_after(client, stack, last)
        for event in reversed(new):
            say(_line(event))
        last = new[0]["EventId"] if new else last
        if not found["StackStatus"].endswith("_IN_PROGRESS"):
            break
        time.sleep(_LOOK_EVERY_S)
    if found["StackStatus"] not in wanted:
        why = _reasons(_events_after(client, stack, after))
        raise StackFailed("\n  ".join([f"stack {found['StackName']} is {found['StackStatus']}:", *why]))


def why_it_failed(client: Any, stack: str) -> list[str]:
    """What failed in all of the stack's life, the first cause first."""
    return _reasons(_events(client, stack))


def _events(client: Any, stack: str) -> Iterator[dict[str, Any]]:
    """The stack's events, the newest first."""
    for page in client.get_paginator("describe_stack_events").paginate(StackName=stack):
        yield from page["StackEvents"]


def _events_after(client: Any, stack: str, last: str | None) -> list[dict[str, Any]]:
    return list(takewhile(lambda event: event["EventId"] != last, _events(client, stack)))


def _reasons(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """The failures among the events, but for what was only cancelled because of them."""
    failed = [each for each in events if each["ResourceStatus"].endswith("_FAILED")]
    return [_line(each) for each in reversed(failed) if "cancelled" not in each.get("ResourceStatusReason", "")]


def _line(event: Mapping[str, Any]) -> str:
    reason = event.get("ResourceStatusReason")
    return f"{event['ResourceStatus']} {event['LogicalResourceId']}{f': {reason}' if reason else ''}"


def say(line: str) -> None:
    """Print the line to standard error: standard output is for the shell."""
    print(line, file=sys.stderr, flush=True)
