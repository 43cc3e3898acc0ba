"""An env whose scorer misbehaves on request: the action says how. Imported by worker processes."""

import os
import re
import subprocess
import sys
import threading
import time

import numpy as np

from jaxrl.envs.base import Step
from jaxrl.messages import Message

ODD = {
    "nan": float("nan"),
    "inf": float("inf"),
    "huge": 1e39,
    "text": "1.0",
    "none": None,
    "array": np.ones(2),
    "numpy": np.float32(0.5),
    "true": True,
}


class BadEnv:
    stop = ()

    def __init__(self, marker=""):
        self.marker = marker

    def __len__(self):
        return 4

    def reset(self, index):
        return index, (Message("user", f"task {index}"),)

    def answer(self, state):
        return str(state)

    def step(self, state, action):
        if action == "hang":
            time.sleep(1000)
        if action == "spin":
            re.match(r"(a+)+$", "a" * 60 + "b")
        if action == "orphan":
            subprocess.Popen(["sleep", "987"])
            time.sleep(1000)
        if action == "die":
            os._exit(3)
        if action == "exit":
            sys.exit(3)
        if action == "raise":
            raise RuntimeError("a scorer's bug")
        if action == "hog":
            return Step(state, (), float(len(bytearray(4 << 30))), True, {})
        if action == "not a step":
            return 1.0
        if action == "unsendable":
            return Step(threading.Lock(), (), 1.0, True, {})
        if action == "print":
            for _ in range(10_000):
                print("flood" * 20)
                print("flood" * 20, file=sys.stderr)
        if action == "late death":
            threading.Timer(0.2, lambda: os._exit(4)).start()
        if action == "modules":
            return Step(state, (), float("jax" in sys.modules), True, {})
        reward = ODD[action] if action in ODD else float(state)
        return Step(state, (), reward, True, {})
