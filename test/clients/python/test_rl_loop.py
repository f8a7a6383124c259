"""A loop of reinforcement learning: the example of docs/clients.md, and what it must hold to."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import BUNDLED, KEY, PROBLEM, depths_of, library, logprobs_of, serving
from policy_trainer import write_policy
from safetensors.numpy import load_file

LONG = {"temperature": 1, "max_tokens": 600, "ignore_eos": True, "seed": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def server(root):
    flags = ["--allow-weight-updates", str(root), "--logprobs-mode", "processed_logprobs"]
    with serving(*flags, key=KEY) as started:
        yield started


def write_moved(folder: Path, seed: int, amount: float) -> None:
    """The bundled model, each weight moved by about so much."""
    rng = np.random.default_rng(seed)
    weights = load_file(BUNDLED / "model.safetensors")
    moved = {name: weight + amount * rng.standard_normal(weight.shape) for name, weight in weights.items()}
    write_policy(BUNDLED, moved, folder)


def group(server, ids: list[int], **more) -> dict:
    sampling = {"temperature": 1, "max_tokens": 8, "n": 8, "seed": 40, "logprobs": 0, "ignore_eos": True}
    body = {"token_ids": ids, "sampling_params": sampling, "exit_policy": "sampled", "loop_logprobs": True}
    return server.post("/inference/v1/generate", body | more)


def check_group(answer: dict, ids: list[int], model: str) -> None:
    """Against the library with the same weights, in a process of its own."""
    calls = [
        {
            "call": "answer",
            "prompt": ids,
            "options": {
                "maxNewTokens": 8,
                "ignoreEos": True,
                "exitPolicy": "sampled",
                "behaviorLogprobs": 0,
                "record": True,
                "sampling": {"temperature": 1, "seed": 40 + index},
            },
        }
        for index in range(8)
    ]
    for choice, expected in zip(answer["choices"], library(calls, model=model, updatable=True), strict=True):
        record = expected["rollout"]
        assert choice["token_ids"] == expected["tokenIds"]
        assert depths_of(choice).tolist() == expected["exitDepths"]
        assert logprobs_of(choice) == pytest.approx(expected["logprobs"], abs=1e-6)
        for told, own in zip(choice["loop_logprobs"], record["loopLogprobs"], strict=True):
            assert told == pytest.approx(own, rel=1e-6, abs=1e-6)
        for told, own, depth, logprob in zip(
            choice["gate_logits"], record["gateLogits"], expected["exitDepths"], choice["exit_logprobs"], strict=True
        ):
            assert told == pytest.approx(own, rel=1e-6, abs=1e-6)
            exits = 1 / (1 + np.exp(-np.array(told[: depth - 1], np.float64)))
            last = 1 if depth == 4 else 1 / (1 + np.exp(-told[depth - 1]))
            assert logprob == pytest.approx(np.log(last * np.prod(1 - exits)), abs=1e-6)


def test_groups_weights_and_groups_again(server, root):
    [ids] = library([{"call": "encode", "text": PROBLEM}])
    before = group(server, ids, cache_salt="0")
    assert before["weights_version"] == 0
    check_group(before, ids, str(BUNDLED))
    assert len({depth for choice in before["choices"] for depth in depths_of(choice)}) > 1

    # a request that the update meets on its way
    lines: list[dict] = []
    begun = threading.Event()

    def roll_out_long() -> None:
        body = {"token_ids": ids, "sampling_params": LONG, "stream": True, "rollout": True}
        url = f"{server.url}/inference/v1/generate"
        with requests.post(url, json=body, headers=server.headers, stream=True, timeout=120) as response:
            for line in response.iter_lines():
                if line.startswith(b"data: {"):
                    lines.append(json.loads(line[len(b"data: ") :]))
                    begun.set()

    thread = threading.Thread(target=roll_out_long)
    thread.start()
    assert begun.wait(30)

    write_moved(root / "step-1", seed=1, amount=0.02)
    assert server.post("/update_weights", {"weight_dir": str(root / "step-1")}) == {"weights_version": 1}
    thread.join(120)
    told = [token for line in lines for choice in line["choices"] for token in choice["token_ids"]]
    assert len(told) == LONG["max_tokens"]
    [record] = [choice["rollout"] for line in lines for choice in line["choices"] if "rollout" in choice]
    assert record["tokenIds"] == told
    versions = record["weightsVersions"]
    assert versions[0] == 0
    assert versions[-1] == 1
    assert versions == sorted(versions)

    after = group(server, ids, cache_salt="1")
    assert after["weights_version"] == 1
    check_group(after, ids, str(root / "step-1"))
    assert [logprobs_of(choice) for choice in after["choices"]] != [logprobs_of(choice) for choice in before["choices"]]


def test_what_is_not_whole_is_not_taken(server, root):
    unfinished = root / "unfinished"
    write_moved(unfinished, seed=2, amount=0.02)
    (unfinished / "STABLE").unlink()
    elsewhere = BUNDLED
    version = server.post("/inference/v1/generate", {"token_ids": [5], "sampling_params": {}})["weights_version"]
    for folder, reason in [(unfinished, "no file STABLE"), (elsewhere, "not within the folder")]:
        response = requests.post(
            f"{server.url}/update_weights", json={"weight_dir": str(folder)}, headers=server.headers, timeout=60
        )
        assert response.status_code == 400
        error = response.json()["error"]
        assert error["param"] == "weight_dir"
        assert reason in error["message"]
    again = server.post("/inference/v1/generate", {"token_ids": [5], "sampling_params": {}})
    assert again["weights_version"] == version


def test_pause_holds_and_resume_goes_on(server):
    [ids] = library([{"call": "encode", "text": PROBLEM}])
    expected = group(server, ids)
    assert server.post("/pause?mode=keep&clear_cache=false") == {"is_paused": True}
    answers: list[dict] = []
    thread = threading.Thread(target=lambda: answers.append(group(server, ids)))
    thread.start()
    thread.join(0.5)
    assert not answers
    assert server.get("/is_paused") == {"is_paused": True}
    server.post("/resume")
    thread.join(60)
    assert answers[0]["choices"] == expected["choices"]
