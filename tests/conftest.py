"""Eight CPU devices for every test, and cheap compiles: set before any backend is touched."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_default_matmul_precision", "highest")
# Programs over all devices that are in flight together can wait for each other on a busy machine.
jax.config.update("jax_cpu_enable_async_dispatch", False)
