"""A proxy in front of an S3 server that lets requests fail in the ways that networks and S3 do."""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import ClientSession, ClientTimeout, web
from yarl import URL

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
_PASSED_ON = ("Host", "Transfer-Encoding", "Content-Length", "Connection")


class FaultyProxy:
    """Passes requests on to ``upstream``; each of ``faults`` hits with ``probability``, drawn from ``seed``."""

    def __init__(self, upstream: str, *, probability: float, faults: tuple[str, ...] = FAULTS, seed: int = 1) -> None:
        self._upstream = upstream
        self._probability = probability
        self._faults = faults
        self._random = random.Random(seed)  # noqa: S311 (no secret)
        self.injected: Counter[str] = Counter()
        self.session: ClientSession  # to the server; opened and closed by faulty_proxy

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

    async def _forward(self, request: web.Request) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name not in (*_PASSED_ON, "Expect")}
        url = URL(self._upstream + request.raw_path, encoded=True)
        call = self.session.request(request.method, url, headers=headers, data=await request.read())
        async with call as answer:
            kept = {name: value for name, value in answer.headers.items() if name not in _PASSED_ON}
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept["Content-Length"] = answer.headers["Content-Length"]
            return answer.status, kept, await answer.read()


def _has_checksum(headers: dict[str, str]) -> bool:
    return any(name.startswith("x-amz-checksum-") and name != "x-amz-checksum-type" for name in headers)


def _error(status: int, code: str) -> web.Response:
    return web.Response(status=status, body=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")


def _hang_up(request: web.Request) -> web.Response:
    if request.transport:
        request.transport.abort()
    return web.Response()


async def _answer(
    request: web.Request, status: int, headers: dict[str, str], body: bytes, *, whole: bool
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
def faulty_proxy(proxy: FaultyProxy) -> Iterator[str]:
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
        address.append(site._server.sockets[0].getsockname()[1])
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
