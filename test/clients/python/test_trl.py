"""TRL's own server client, of versions that speak its protocol and of one that speaks vLLM's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import conftest
from conftest import KEY, PROBLEM, asked, serving

FOLDER = Path(__file__).parent
# where each version is installed, without what it depends on
VERSIONS = {path.name: path for path in sorted(Path(os.environ["LOOPLM_TRL"]).glob("trl-*"))}
SAMPLING = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 8}
DRAWS = {"seed": 5, "ignore_eos": True, "exit_policy": "sampled"}
OPTIONS = {"maxNewTokens": 8, "ignoreEos": True, "exitPolicy": "sampled", "behaviorLogprobs": 2}
TOLERANCE = 1e-6


def library(calls: list[dict]) -> list:
    return conftest.library(calls, updatable=True)


@pytest.fixture(scope="module")
def server():
    flags = ["--allow-weight-updates", "--logprobs-mode", "processed_logprobs"]
    with serving(*flags, key=KEY) as started:
        yield started


@pytest.fixture(params=VERSIONS)
def client(request, server):
    """Calls methods of the client of a version; the key is in the address, the only place it has for one."""

    def ask(calls: dict[str, dict]) -> dict:
        url = server.url.replace("http://", f"http://:{KEY}@")
        done = subprocess.run(
            [sys.executable, FOLDER / "trl_client.py"],
            input=json.dumps({"url": url, "calls": calls}),
            env=os.environ | {"PYTHONPATH": str(VERSIONS[request.param])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    ask.version = tuple(map(int, request.param.removeprefix("trl-").split(".")))
    return ask


def draws(prompt, numbers: range) -> list[dict]:
    return [
        {
            "call": "answer",
            "prompt": prompt,
            "options": OPTIONS | {"sampling": {"temperature": 0.7, "topP": 0.9, "seed": DRAWS["seed"] + number}},
        }
        for number in numbers
    ]


def test_all_versions_are_there():
    assert len(VERSIONS) >= 3


def test_generate_draws_what_the_library_draws(client):
    [ids] = library([{"call": "encode", "text": PROBLEM}])
    by_text = {"prompts": [PROBLEM], "n": 3, "generation_kwargs": DRAWS, **SAMPLING}
    by_ids = by_text | {"prompts": [ids, [7, 8, 9]]}
    answers = client({"generate:text": by_text, "generate:ids": by_ids, "reset_prefix_cache": {}})
    first = library(draws(PROBLEM, range(3)))
    second = library(draws([7, 8, 9], range(3)))
    if client.version < (0, 26):  # only the ids of the completions are returned
        assert answers["generate:text"]["completion_ids"] == [one["tokenIds"] for one in first]
        assert answers["generate:ids"]["completion_ids"] == [one["tokenIds"] for one in first + second]
        return
    told = answers["generate:ids"]
    assert answers["generate:text"]["completion_ids"] == told["completion_ids"][:3]
    assert told["prompt_ids"] == [ids, [7, 8, 9]]
    assert told["completion_ids"] == [one["tokenIds"] for one in first + second]
    for logprobs, expected in zip(told["logprobs"], first + second, strict=True):
        assert [own for [own] in logprobs] == pytest.approx(expected["logprobs"], abs=TOLERANCE)


def test_alternatives_beside_the_drawn_token(client):
    if client.version < (0, 26):
        pytest.skip("this version asks for none")
    arguments = {"prompts": [PROBLEM], "logprobs": 2, "max_tokens": 8, "generation_kwargs": DRAWS}
    told = client({"generate": arguments})["generate"]
    for ids, values, drawn in zip(
        told["logprob_token_ids"][0], told["logprobs"][0], told["completion_ids"][0], strict=True
    ):
        assert drawn in ids
        assert 2 <= len(ids) <= 3
        assert values == sorted(values, reverse=True)


def test_chat(client):
    if client.version < (0, 26):
        pytest.skip("this version has no chat")
    messages = [asked(PROBLEM), asked("Start with 4. Add 7. What is the result?")]
    arguments = {"messages": messages, "n": 2, "logprobs": 0, "generation_kwargs": DRAWS, **SAMPLING}
    told = client({"chat": arguments})["chat"]
    expected = library([draw for conversation in messages for draw in draws(conversation, range(2))])
    assert told["completion_ids"] == [one["tokenIds"] for one in expected]
    for logprobs, one in zip(told["logprobs"], expected, strict=True):
        assert [own for [own] in logprobs] == pytest.approx(one["logprobs"], abs=TOLERANCE)


@pytest.mark.parametrize("way", [{}, {"chunk_size": 1}])
def test_sequences_are_scored_at_a_temperature(client, way):
    if client.version < (1, 8):
        pytest.skip("this version scores nothing")
    [ids] = library([{"call": "encode", "text": f"{PROBLEM} 2"}])
    sequences, lengths, count, temperature = [ids, [7, 8, 9, 10]], [6, 1], 5, 0.7
    arguments = {
        "sequences": sequences,
        "prompt_lengths": lengths,
        "top_logprobs": count,
        "temperature": temperature,
    }
    told = client({"get_sequence_logprobs": arguments | way})["get_sequence_logprobs"]
    expected = library(
        [
            {"call": "score", "ids": sequence, "start": length, "temperature": temperature, "count": count}
            for sequence, length in zip(sequences, lengths, strict=True)
        ]
    )
    for at, one in enumerate(expected):
        assert [value for [value] in told["actual_logprobs"][at]] == pytest.approx(one["logprobs"], rel=TOLERANCE)
        assert [token for [token] in told["actual_token_ids"][at]] == sequences[at][lengths[at] :]
        for ids_told, values, top in zip(
            told["logprob_token_ids"][at], told["logprobs"][at], one["topLogprobs"], strict=True
        ):
            assert ids_told == [token["tokenId"] for token in top]
            assert values == pytest.approx([token["logprob"] for token in top], rel=TOLERANCE)


def test_what_it_asks_before_it_trains(client):
    if client.version < (1, 16):
        pytest.skip("this version asks nothing")
    answers = client({"get_server_info": {}, "get_world_size": {}, "init_communicator": {}})
    assert answers["get_server_info"]["model_config"]["logprobs_mode"] == "processed_logprobs"
    assert answers["get_world_size"] == 1
    assert "has no weight-transfer engine" in answers["init_communicator"]["refusal"]
