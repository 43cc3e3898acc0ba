r"""Puts a model behind an OpenAI-compatible endpoint, for programs on this machine alone.

    python -m launch.serve --model=runs/quickstart --port=8000
    python -m launch.serve --model=DIR --slots=16 --pages=2048 --dtype=bfloat16

The model is a Hugging Face directory, a .gguf file, "package:NAME/FILE.gguf", or a run directory,
whose newest saved parameters are taken. Without --port a free one is taken; the address is printed.
/v1/chat/completions streams if asked to, and takes temperature, top_p, top_k, max_tokens, stop,
seed, n, tools, logprobs and response_format. Ctrl-C ends it.
"""

import contextlib
import os
import socket
import sys

import jax
import jax.numpy as jnp
import uvicorn
from absl import app, flags, logging
from starlette.middleware.trustedhost import TrustedHostMiddleware

from jaxrl.chat import templates
from jaxrl.messages import Message
from jaxrl.sampling import server
from jaxrl.sampling.driver import Driver
from jaxrl.sampling.engine import Engine, EngineConfig
from jaxrl.training import runs

MODEL = flags.DEFINE_string("model", None, "The model.", required=True)
PORT = flags.DEFINE_integer("port", 0, "Of 127.0.0.1; 0 = a free one.", lower_bound=0)
NAME = flags.DEFINE_string("name", None, "What clients call the model. Default: its last folder.")
SLOTS = flags.DEFINE_integer("slots", 8, "Answers that are drawn at once.")
PAGES = flags.DEFINE_integer("pages", 512, "Pages of keys and values.")
PAGE = flags.DEFINE_integer("page", 16, "Tokens of a page.")
MAX_NEW = flags.DEFINE_integer("max_new", 512, "Longest answer where a client does not say.")
CONCURRENT = flags.DEFINE_integer("concurrent", 64, "Answers under way, those that wait included.")
DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of weights and caches.")

HOSTS = ("127.0.0.1", "localhost")


def main(argv):
    """Refuses in one line what cannot work; then serves until it is told to stop."""
    logging.set_verbosity(logging.ERROR)  # Orbax warns of what is meant: it may only read
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        name = NAME.value or os.path.basename(MODEL.value.rstrip("/"))
        how = server.ServerConfig(name, MAX_NEW.value, CONCURRENT.value)
        dtype = jnp.dtype(DTYPE.value)
        c = EngineConfig(SLOTS.value, PAGES.value, PAGE.value, pieces=SLOTS.value, dtype=dtype)
        model, params, tokenizer = runs.open_model(MODEL.value)
        templates.render(tokenizer, [Message("user", ".")])  # one without a template is refused
        listening = listen(PORT.value)
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"launch.serve: {error.args[0] if isinstance(error, KeyError) else error}")
    engine = Engine(model, tokenizer, c, jax.random.key(0))
    engine.load(params)
    del params  # the engine holds its own
    with Driver(engine) as driver:
        print(f"{name} at http://127.0.0.1:{listening.getsockname()[1]}/v1", flush=True)
        # A web page whose name is made to lead here must not read what is served.
        asgi = TrustedHostMiddleware(server.app(driver, tokenizer, model, how), HOSTS)
        # Ctrl-C: streams that are under way get two seconds.
        run = uvicorn.Config(asgi, log_level="warning", timeout_graceful_shutdown=2)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(run).run(sockets=[listening])


def listen(port):
    """A socket of loopback alone."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except OSError as error:
        raise OSError(f"--port={port}: {error}; give another one") from None
    return listening


if __name__ == "__main__":
    app.run(main)
