"""Servers for the clients, and what looplm itself says without one."""

import base64
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import requests

ROOT = Path(__file__).resolve().parents[3]
NODE = os.environ.get("LOOPLM_NODE", "node")
MODEL = "looplm-bundled"
BUNDLED = ROOT / "models" / "bundled"
KEY = "secret"
PROBLEM = "The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?"


@dataclass
class Server:
    """`looplm serve` in a process of its own."""

    url: str
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    def post(self, path: str, body: dict | None = None, **more) -> dict:
        response = requests.post(f"{self.url}{path}", json=body, headers=self.headers, timeout=120, **more)
        assert response.ok, f"{response.status_code} {response.text}"
        return response.json()

    def get(self, path: str) -> dict:
        response = requests.get(f"{self.url}{path}", headers=self.headers, timeout=120)
        assert response.ok, f"{response.status_code} {response.text}"
        return response.json()


@contextmanager
def serving(*flags: str, key: str | None = None) -> Iterator[Server]:
    command = [NODE, ROOT / "dist/bin/looplm.js", "serve", "--port", "0", "--threads", "1", *flags]
    env = os.environ | ({} if key is None else {"LOOPLM_API_KEY": key})
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        try:
            found = None
            for line in child.stdout:
                if found := re.fullmatch(r"looplm is ready: .* at (http://\S+?)/?\n", line):
                    break
            assert found, f"looplm serve ended with {child.wait()}"
            yield Server(found[1], key)
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def library(calls: list[dict], **settings) -> list:
    """Answers of looplm without a server (test/clients/reference.ts)."""
    given = {"calls": calls} | settings
    command = [NODE, ROOT / "dist/test/clients/reference.js"]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def depths_of(choice: dict) -> np.ndarray:
    """Exit depths of a choice of `/inference/v1/generate`."""
    packed = choice["exit_depths"]
    assert packed["dtype"] == "uint8"
    return np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])


def logprobs_of(choice: dict) -> list[float]:
    return [token["logprob"] for token in choice["logprobs"]["content"]]


def run(module: str, *words: object, **env: str) -> str:
    """Runs a command of a package as a user does."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | env, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def asked(content: str) -> list[dict]:
    """A conversation that begins with this."""
    return [{"role": "user", "content": content}]


def draw_cups(rng: random.Random) -> tuple[str, str]:
    """A problem as somebody types it, and its answer: any length that was trained, any moves."""
    cup = rng.randint(1, 5)
    sentences = [f"The ball is under cup {cup}."]
    for _ in range(rng.randint(1, 8)):
        a, b = rng.sample(range(1, 6), 2)
        sentences.append(f"Swap cups {a} and {b}.")
        cup = {a: b, b: a}.get(cup, cup)
    return " ".join([*sentences, "Where is the ball?"]), str(cup)


def draw_sums(rng: random.Random) -> tuple[str, str]:
    value = rng.randint(0, 20)
    sentences = [f"Start with {value}."]
    for _ in range(rng.randint(1, 4)):
        by = rng.randint(1, 20)
        steps = [(f"Add {by}.", value + by), (f"Take away {by}.", value - by), ("Double it.", value * 2)]
        sentence, value = rng.choice([step for step in steps if 0 <= step[1] <= 50])
        sentences.append(sentence)
    return " ".join([*sentences, "What is the result?"]), str(value)
