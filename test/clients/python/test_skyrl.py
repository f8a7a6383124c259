"""SkyRL's client of remote servers: rollouts, samples, pauses."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import KEY, MODEL, PROBLEM, asked, library, serving

TOLERANCE = 1e-6
SAMPLING = {"temperature": 0.7, "max_tokens": 8, "seed": 5, "ignore_eos": True, "exit_policy": "sampled"}


@pytest.fixture(scope="module")
def told() -> dict:
    [ids] = library([{"call": "encode", "text": PROBLEM}])
    flags = ["--allow-weight-updates", "--logprobs-mode", "processed_logprobs"]
    with serving(*flags, key=KEY) as server:
        url = server.url.replace("http://", f"http://:{KEY}@")
        given = {"url": url, "model": MODEL, "ids": ids, "text": PROBLEM, "sampling": SAMPLING}
        done = subprocess.run(
            [sys.executable, Path(__file__).parent / "skyrl_client.py"],
            input=json.dumps(given),
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr[-4000:]
    # its log comes first
    return json.loads(done.stdout.splitlines()[-1]) | {"ids": ids}


def draw(ids: list[int], seed: int, **more) -> dict:
    options = {"maxNewTokens": 8, "behaviorLogprobs": 0, "sampling": {"temperature": 0.7, "seed": seed}} | more
    [answer] = library([{"call": "answer", "prompt": ids, "options": options}], updatable=True)
    return answer


def test_a_rollout_is_what_the_library_draws(told):
    expected = draw(told["ids"], 5, ignoreEos=True, exitPolicy="sampled")
    one = told["one"]
    assert one["ids"] == expected["tokenIds"]
    assert one["logprobs"] == pytest.approx(expected["logprobs"], abs=TOLERANCE)
    assert one["reason"] == "length"
    assert list(base64.b64decode(one["depths"]["data"])) == expected["exitDepths"]


def test_samples_and_the_scores_of_their_prompt(told):
    sample, ids = told["sample"], told["ids"]
    for index, sequence in enumerate(sample["sequences"]):
        expected = draw(ids, 5 + index)
        assert sequence["tokens"] == expected["tokenIds"]
        assert sequence["logprobs"] == pytest.approx(expected["logprobs"], abs=TOLERANCE)
    [scored] = library(
        [{"call": "score", "ids": ids, "start": 1, "temperature": 0.7, "count": 2}], updatable=True
    )
    assert sample["prompt_logprobs"][0] is None
    assert sample["prompt_logprobs"][1:] == pytest.approx(scored["logprobs"], abs=TOLERANCE)
    for told_top, top in zip(sample["topk_prompt_logprobs"][1:], scored["topLogprobs"], strict=True):
        assert [token for token, _ in told_top] == [one["tokenId"] for one in top]


def test_the_server_is_held_and_asked(told):
    assert told["world_size"] == [1, 1]
    assert told["tokens"] == [told["ids"]]
    assert told["text"] == [PROBLEM]
    for mode in ("keep", "wait", "abort"):
        assert told[mode] == [{"is_paused": True}, {"is_paused": False}]
    assert told["reset"] == 200
    [answer] = library([{"call": "answer", "prompt": asked(PROBLEM)}])
    assert told["chat"]["choices"][0]["message"]["content"] == answer["answer"]
