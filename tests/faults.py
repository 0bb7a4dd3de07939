"""Proxies in front of an S3 server: failing networks, roles that lack an action, errors with unknown codes."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import ClientSession, ClientTimeout, web
from yarl import URL

from tests.s3_requests import S3Request, s3_request

FAULTS = ("slow-down", "internal", "reset", "lost", "truncated", "flipped", "timeout")
# Faults that are an answer of S3's own ("Error Responses" in the S3 API reference).
ANSWERS = {
    "slow-down": (503, "SlowDown"),
    "internal": (500, "InternalError"),
    "expired": (400, "ExpiredToken"),
    "skewed": (403, "RequestTimeTooSkewed"),
    "denied": (403, "AccessDenied"),
    "unknown-key": (403, "InvalidAccessKeyId"),
    "bad-signature": (403, "SignatureDoesNotMatch"),
}
LONGER_THAN_ANY_PATIENCE_S = 3600
# What belongs to a connection. The host does not: it is signed.
_OF_CONNECTION = ("transfer-encoding", "content-length", "connection", "expect")


class Proxy:
    """Passes requests on to ``upstream``, and its answers back, as they are."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self.session: ClientSession  # to the server; opened and closed by faulty_proxy

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; several are answered at once."""
        return await _answer(request, *await self._forward(request))

    async def _forward(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_CONNECTION}
        url = URL(self._upstream + request.raw_path, encoded=True)
        call = self.session.request(request.method, url, headers=headers, data=await request.read())
        async with call as answer:
            shown = {name.lower(): value for name, value in answer.headers.items()}
            size = {"content-length"} if request.method == "HEAD" else set()
            kept = {name: value for name, value in shown.items() if name not in _OF_CONNECTION or name in size}
            return answer.status, kept, await answer.read()


class FaultyProxy(Proxy):
    """Each of ``faults`` hits with ``probability``, drawn from ``seed``."""

    def __init__(self, upstream: str, *, probability: float, faults: tuple[str, ...] = FAULTS, seed: int = 1) -> None:
        super().__init__(upstream)
        self._probability = probability
        self._faults = faults
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self.injected: Counter[str] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        fault = self._draw()
        self.injected[fault] += 1
        if fault in ANSWERS:
            return _error(*ANSWERS[fault])
        if fault == "timeout":
            await asyncio.sleep(LONGER_THAN_ANY_PATIENCE_S)
        if fault == "reset":
            return _hang_up(request)
        status, headers, body = await self._forward(request)
        if fault == "lost":  # the server has acted; its answer never arrives
            return _hang_up(request)
        if fault == "flipped" and len(body) > 1000 and _has_checksum(headers):  # else TLS would notice it
            body = body[:500] + bytes([body[500] ^ 1]) + body[501:]
        return await _answer(request, status, headers, body, whole=fault != "truncated")

    def _draw(self) -> str:
        lot = self._random.random()
        index = int(lot / self._probability) if self._probability else len(self._faults)
        return self._faults[index] if index < len(self._faults) else "none"


EVENT_HOLD = {"x-amz-object-lock-event-hold": "ON", "x-amz-object-lock-event-hold-duration-days": "30"}


class AddingProxy(FaultyProxy):
    """Adds headers to each answer to a GET or HEAD of an object whose path has ``what`` in it."""

    def __init__(self, upstream: str, headers: dict[str, str], what: str = "") -> None:
        super().__init__(upstream, probability=0)
        self._headers, self._what = headers, what

    async def _forward(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = await super()._forward(request)
        is_met = request.method in ("GET", "HEAD") and self._what in request.path
        return status, {**headers, **(self._headers if is_met else {})}, body


_WHO = "arn:aws:sts::123456789012:assumed-role/archive/demo"
_KMS_KEY = "arn:aws:kms:us-east-1:123456789012:key/demo"


class HidingProxy(Proxy):
    """S3 as a role sees it that lacks some actions: their requests are refused, and what they show is left out.

    ``refused`` counts the requests refused and ``hidden`` the headers left out, each by the action that is missing.
    """

    def __init__(self, upstream: str, *, without: Iterable[str]) -> None:
        super().__init__(upstream)
        self._without = frozenset(without)
        self.refused: Counter[str] = Counter()
        self.hidden: Counter[str] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = s3_request(request.method, request.raw_path, request.headers)
        missing = next((action for action in asked.actions() if self._lacks(action, asked)), None)
        if missing:
            return self._refusal(asked, missing)
        status, headers, body = await self._forward(request)
        if missing := self._missing_by_answer(asked, status, headers):
            return self._refusal(asked, missing)
        return await _answer(request, status, self._shown(asked, headers), body)

    def _lacks(self, action: str, _: S3Request) -> bool:
        """Whether the role lacks the action on what the request asks for."""
        return action in self._without

    def _missing_by_answer(self, asked: S3Request, status: int, headers: Mapping[str, str]) -> str | None:
        """The missing action that only the answer shows to be needed."""
        if asked.operation not in ("GetObject", "HeadObject"):
            return None
        if status == 404 and self._lacks("s3:ListBucket", replace(asked, key="")):
            return "s3:ListBucket"  # who may not list is not told that a key does not exist
        decrypts = asked.operation == "GetObject" and _by_kms(headers)
        return "kms:Decrypt" if decrypts and self._lacks("kms:Decrypt", asked) else None

    def _shown(self, asked: S3Request, headers: Mapping[str, str]) -> dict[str, str]:
        hiding = {name: self._hiding(asked, name, headers) for name in headers}
        self.hidden.update(action for action in hiding.values() if action)
        return {name: value for name, value in headers.items() if not hiding[name]}

    def _hiding(self, asked: S3Request, name: str, headers: Mapping[str, str]) -> str | None:
        shows = asked.action_that_shows(name)
        if name.lower().startswith("x-amz-checksum-") and _by_kms(headers):
            shows = "kms:Decrypt"  # "HeadObject" in the S3 API reference, x-amz-checksum-mode
        return shows if shows and self._lacks(shows, asked) else None

    def _refusal(self, asked: S3Request, action: str) -> web.Response:
        self.refused[action] += 1
        resource = _KMS_KEY if action.startswith("kms:") else asked.resource
        what = f'{_WHO} is not authorized to perform: {action} on resource: "{resource}"'
        return _error(403, "AccessDenied", f"User: {what} because no identity-based policy allows the {action} action")


class PolicyProxy(HidingProxy):
    """S3 as a role sees it that may do what a policy's statements say, and nothing else."""

    def __init__(self, upstream: str, statements: Iterable[Mapping[str, Any]]) -> None:
        super().__init__(upstream, without=())
        self._statements = tuple(statements)

    def _lacks(self, action: str, asked: S3Request) -> bool:
        allowing = (each["Resource"] for each in self._statements if action in each["Action"])
        if action.startswith("kms:"):
            return not any(allowing)
        return not any(fnmatchcase(asked.resource, resource) for resource in allowing)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Error:
    """An error as S3 answers it. A HEAD has no body: there, only the status arrives."""

    status: int
    code: str
    message: str


# Errors that S3 is known to answer but few tables know.
RARE_ERRORS = (
    S3Error(
        status=400, code="KMS.DisabledException", message="arn:aws:kms:us-east-1:123456789012:key/demo is disabled."
    ),
    S3Error(status=400, code="KMS.KMSInvalidStateException", message="key/demo is pending deletion."),
    S3Error(status=400, code="InvalidTag", message="The TagKey you have provided is invalid"),
    S3Error(status=400, code="InvalidRequest", message="The copy request is illegal"),
)
_WORDS = ("Amber", "Basalt", "Cobalt", "Damask", "Ember", "Fathom", "Garnet", "Hollow", "Indigo", "Juniper")
# Neither 404, 405, 412 nor a 5xx: those mean something whatever their code is.
_STATUSES = (400, 402, 403, 409, 422)


def unknown_error(seed: int) -> S3Error:
    """An error drawn from ``seed``: no table knows its code, nor can one."""
    dice = random.Random(seed)  # noqa: S311 (no secret)
    code = "".join(dice.sample(_WORDS, 3)) + dice.choice(("", "Exception", "Error"))
    return S3Error(status=dice.choice(_STATUSES), code=code, message=f"The {' '.join(dice.sample(_WORDS, 4)).lower()}.")


class ErrorProxy(Proxy):
    """Answers requests that ``hits`` picks with one error.

    Of those, the first ``after`` are left in peace; then ``times`` are hit, or all. ``lost``: the server has acted all
    the same. ``seen`` names the operation of every request, ``hit`` the requests that were answered with the error.
    """

    def __init__(
        self,
        upstream: str,
        error: S3Error,
        hits: Callable[[S3Request], bool],
        *,
        after: int = 0,
        times: int | None = None,
        lost: bool = False,
    ) -> None:
        super().__init__(upstream)
        self._error, self._hits, self._lost = error, hits, lost
        self._peaceful, self._left = after, times
        self.seen: list[S3Request] = []
        self.hit: list[S3Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = s3_request(request.method, request.raw_path, request.headers)
        self.seen.append(asked)
        if not self._is_hit(asked):
            return await super().handle(request)
        self.hit.append(asked)
        if self._lost:
            await self._forward(request)
        return _error(self._error.status, self._error.code, self._error.message)

    def _is_hit(self, asked: S3Request) -> bool:
        if not self._hits(asked) or self._left == 0:
            return False
        if self._peaceful:
            self._peaceful -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True


def _by_kms(headers: Mapping[str, str]) -> bool:
    return headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")


def _has_checksum(headers: dict[str, str]) -> bool:
    return any(name.startswith("x-amz-checksum-") and name != "x-amz-checksum-type" for name in headers)


def _error(status: int, code: str, message: str = "") -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return web.Response(status=status, body=body, content_type="application/xml")


def _hang_up(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.abort()
    return web.Response()


async def _answer(
    request: web.Request, status: int, headers: dict[str, str], body: bytes, *, whole: bool = True
) -> web.StreamResponse:
    if request.method == "HEAD":
        return web.Response(status=status, headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body if whole else body[: len(body) // 2])
    if not whole:
        return _hang_up(request)
    await response.write_eof()
    return response


@contextmanager
def faulty_proxy(proxy: Proxy) -> Iterator[str]:
    """Serve it on loopback in a thread of its own; yields its address."""
    started: threading.Event = threading.Event()
    loop = asyncio.new_event_loop()
    address: list[str] = []

    async def serve() -> web.AppRunner:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        proxy.session = ClientSession(auto_decompress=False, timeout=ClientTimeout(total=60))
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append(runner.addresses[0][1])
        started.set()
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(proxy.session.close())
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield f"http://127.0.0.1:{address[0]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
