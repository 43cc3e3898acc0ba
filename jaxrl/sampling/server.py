"""An engine behind OpenAI's endpoint: /v1/models, /v1/chat/completions.

    with Driver(engine) as driver:                       # engine.load(params) before
        uvicorn.run(server.app(driver, tokenizer, model, ServerConfig("policy")), port=8000)

Keys are not asked for: bind it to loopback. A client that leaves cancels what it asked for.
"""

import asyncio
import contextlib
import dataclasses

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jaxrl.chat import templates, tool_calls
from jaxrl.models import rotary
from jaxrl.sampling import openai_answer, openai_asked
from jaxrl.sampling.requests import Request
from jaxrl.tools import ToolError


@dataclasses.dataclass(frozen=True)
class ServerConfig:
    """What the server calls its model, and its limits."""

    name: str
    max_new: int = 512  # tokens of an answer where a client does not say
    concurrent: int = 64  # answers under way at once; more are told to come again
    body: int = 4_000_000  # bytes of a request

    def __post_init__(self):
        for key in ("max_new", "concurrent", "body"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: give at least 1")


class Refused(Exception):
    """An answer with a status from 400 on; `how` goes to openai_answer.error."""

    def __init__(self, status, message, **how):
        super().__init__(message)
        self.status, self.how = status, how


def app(driver, tokenizer, model, c):
    """The ASGI application."""
    server = _Server(driver, tokenizer, model, c)
    routes = [
        Route("/v1/models", server.models),
        Route("/v1/models/{name:path}", server.model),
        Route("/v1/chat/completions", server.complete, methods=["POST"]),
    ]
    told = {HTTPException: _http, Refused: _refused, ClientDisconnect: _left, Exception: _broken}
    return Starlette(routes=routes, exception_handlers=told)


class _Server:
    def __init__(self, driver, tokenizer, model, c):
        self._driver, self._tokenizer, self._model, self._c = driver, tokenizer, model, c
        self._under_way = 0
        self._card = {"id": c.name, "object": "model", "created": 0, "owned_by": "jaxrl"}

    async def models(self, request):
        return JSONResponse({"object": "list", "data": [self._card]})

    async def model(self, request):
        self._known(request.path_params["name"])
        return JSONResponse(self._card)

    async def complete(self, request):
        try:
            asked = openai_asked.read(await self._body(request))
        except ToolError as error:
            raise Refused(400, str(error), param=error.key) from None
        self._known(asked.model)
        requests = await asyncio.to_thread(self._requests, asked)
        with contextlib.ExitStack() as stack:
            self._enter(asked.n, stack)
            answer = _Answer(self._driver, requests, asked.stream)
            stack.callback(answer.cancel)
            respond = self._stream if asked.stream else self._whole
            return await respond(request, asked, answer, stack)

    async def _body(self, request):
        """The parsed body, which is read no further than it may be long."""
        raw = bytearray()
        async for part in request.stream():
            raw += part
            if len(raw) > self._c.body:
                raise Refused(413, f"the body is longer than {self._c.body} bytes: send less")
        try:
            return tool_calls.loads(raw.decode())
        except ValueError as error:  # no UTF-8, no JSON, or nested too deep
            raise Refused(400, f"the body is no JSON that can be read: {error}") from None

    def _known(self, name):
        if name != self._c.name:
            message = f"model = {name!r} is not here: the one model is {self._c.name!r}"
            raise Refused(404, message, param="model", code="model_not_found")

    def _requests(self, asked):
        try:
            tokens = tuple(templates.render(self._tokenizer, asked.messages, tools=asked.tools))
        except Exception as error:  # whatever a template makes of what it was given
            raise Refused(400, f"messages: {error}", param="messages") from error
        room = rotary.longest(self._model) - len(tokens)
        max_new = asked.max_new or max(1, min(self._c.max_new, room))
        return [
            Request(tokens, max_new, asked.law, asked.stop, seed, asked.constraint)
            for seed in openai_asked.seeds(asked, tokens)
        ]

    def _enter(self, n, stack):
        """Takes room for n answers until the stack closes."""
        if self._under_way + n > self._c.concurrent:
            message = f"{self._under_way} answers are under way, of {self._c.concurrent} at most"
            raise Refused(429, f"{message}: come again", kind="rate_limit_error")
        self._under_way += n
        stack.callback(self._leave, n)

    def _leave(self, n):
        self._under_way -= n

    async def _whole(self, request, asked, answer, stack):
        jobs = await _unless_gone(request, answer.jobs())
        head = openai_answer.about(self._c.name)
        return JSONResponse(openai_answer.completion(head, asked, jobs, self._tokenizer))

    async def _stream(self, request, asked, answer, stack):
        """Starts with the first piece, so that what is refused gets its status."""
        pieces = answer.pieces()
        first = await _unless_gone(request, anext(pieces))
        return _Events(self._events(asked, first, pieces), stack.pop_all())

    async def _events(self, asked, first, pieces):
        head, jobs = openai_answer.about(self._c.name), []
        if asked.usage:
            head["usage"] = None
        speakers = [openai_answer.Speaker(asked, self._tokenizer) for _ in range(asked.n)]
        for i in range(asked.n):
            yield openai_answer.chunk(head, i, {"role": "assistant", "content": ""})
        try:
            async for i, piece in _again(first, pieces):
                speaker, over = speakers[i], not isinstance(piece, list)
                jobs += [piece] * over
                for delta, finish in speaker.end(piece) if over else speaker.hear(piece):
                    yield openai_answer.chunk(head, i, delta, finish)
        except Exception as error:  # the status is sent: what remains is an event
            refused = _told(error)
            yield openai_answer.event(openai_answer.error(str(refused), **refused.how))
            return
        if asked.usage:
            yield openai_answer.total(head, jobs)
        yield "data: [DONE]\n\n"


class _Answer:
    """The jobs of one client's request."""

    def __init__(self, driver, requests, heard):
        loop, self._heard = asyncio.get_running_loop(), asyncio.Queue()
        put = lambda i, tokens: loop.call_soon_threadsafe(self._heard.put_nowait, (i, tokens))
        hear = lambda i: (lambda tokens: put(i, tokens)) if heard else None
        self._futures = [driver.submit(request, hear(i)) for i, request in enumerate(requests)]
        for i, future in enumerate(self._futures if heard else ()):
            future.add_done_callback(lambda _, i=i: put(i, None))

    async def jobs(self):
        """All of them, at their ends."""
        return await asyncio.gather(*map(asyncio.wrap_future, self._futures))

    async def pieces(self):
        """(number, tokens it has drawn), and (number, Job) at each end."""
        left = len(self._futures)
        while left:
            i, tokens = await self._heard.get()
            left -= tokens is None
            yield i, self._futures[i].result() if tokens is None else tokens

    def cancel(self):
        """Ends what has not ended."""
        for future in self._futures:
            future.cancel()


class _Events(StreamingResponse):
    """Server-sent events; closes `stack` at their end, even if not one of them was sent."""

    def __init__(self, events, stack):
        super().__init__(events, media_type="text/event-stream")
        self._stack = stack

    async def __call__(self, scope, receive, send):
        with self._stack:
            await super().__call__(scope, receive, send)


async def _again(first, rest):
    yield first
    async for piece in rest:
        yield piece


async def _unless_gone(request, wanted):
    """What is awaited; a client that leaves meanwhile cancels it."""
    work, gone = asyncio.ensure_future(wanted), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    except (ClientDisconnect, Refused):
        raise
    except Exception as error:
        raise _told(error) from error
    finally:
        work.cancel()
        gone.cancel()


async def _gone(request):
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(error):
    """What befell a job, as a client is told of it."""
    if isinstance(error, ValueError):  # one that the engine refuses
        return Refused(400, str(error))
    return Refused(500, f"the engine failed: {error}", kind="server_error")


async def _refused(request, error):
    return JSONResponse(openai_answer.error(str(error), **error.how), error.status)


async def _broken(request, error):
    """A mistake of ours; the server goes on, and the log has the rest."""
    return JSONResponse(openai_answer.error(repr(error), kind="server_error"), 500)


async def _http(request, error):
    """A wrong path or method."""
    message = f"{request.method} {request.url.path}: {error.detail}"
    return JSONResponse(openai_answer.error(message), error.status_code, error.headers)


async def _left(request, error):
    return Response(status_code=499)  # nobody reads it
