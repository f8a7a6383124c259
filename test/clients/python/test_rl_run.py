"""A whole run of reinforcement learning by a trainer in Python: it draws over HTTP, computes advantages, gradients
and updates itself, and sends weights back in folders. It gets the rewards of `looplm rl` in a single process."""

import json
import subprocess

import numpy as np
import pytest
from conftest import BUNDLED, KEY, NODE, ROOT, depths_of, library, logprobs_of, serving
from policy_trainer import LEARNING_RATE, Policy
from safetensors.numpy import load_file

UPDATES = 5
SETTINGS = {"groups": 3, "groupSize": 4, "maxNewTokens": 5}
SEED = 3

TASK = """export default {
  name: 'sevens',
  draw: (rng) => ({ prompt: `take ${Math.abs(rng.next()) % 9}; plus ${Math.abs(rng.next()) % 9};` }),
  reward: ({ tokenIds }) => (tokenIds.reduce((sum, id) => sum + id, 0) % 7) / 6,
};
"""


def reward_of(ids: list[int]) -> float:
    """The same in Python."""
    return sum(ids) % 7 / 6


def advantages_of(rewards: list[float]) -> np.ndarray:
    """GRPO's: in units of the deviation of the group."""
    centred = np.array(rewards) - np.mean(rewards)
    return centred / (np.std(rewards, ddof=1) + 1e-4)


def draw(server, request: dict) -> list[dict]:
    """The answers to one prompt, one for each seed."""
    answers = []
    for seed in request["seeds"]:
        sampling = {
            "temperature": 1,
            "seed": seed,
            "max_tokens": request["maxNewTokens"],
            "stop_token_ids": request["stopIds"],
            "ignore_eos": True,
            "logprobs": 0,
        }
        body = {"token_ids": request["promptIds"], "sampling_params": sampling, "exit_policy": "sampled"}
        [choice] = server.post("/inference/v1/generate", body)["choices"]
        depths = depths_of(choice).tolist()
        answers.append({"ids": choice["token_ids"], "depths": depths, "logprobs": logprobs_of(choice)})
    return answers


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What `looplm rl` tells of each update, and its weights."""
    root = tmp_path_factory.mktemp("alone")
    (root / "task.mjs").write_text(TASK)
    settings = {
        "from": str(BUNDLED),
        "task": "task.mjs",
        "rows": 2,
        "length": 64,
        **SETTINGS,
        "evaluation": {"problems": 0},
        "training": {"learningRate": LEARNING_RATE, "trainSteps": UPDATES, "seed": SEED},
    }
    (root / "rl.json").write_text(json.dumps(settings))
    command = [NODE, ROOT / "dist/bin/looplm.js", "rl", "--config", root / "rl.json", "--out", root / "run"]
    done = subprocess.run([*command, "--threads", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (root / "run/metrics.jsonl").read_text().splitlines()]
    told = [record["source"] for record in records if "source" in record]
    return root / "task.mjs", told, load_file(root / "run/model.safetensors")


def test_a_trainer_in_python_gets_what_looplm_gets(alone, tmp_path):
    task, told, expected = alone
    policy = Policy(BUNDLED)
    rewards, depths, dropped = [], [], 0
    with serving("--allow-weight-updates", str(tmp_path), key=KEY) as server:
        for step in range(UPDATES):
            # prompts and seeds are data; all that is done with them is done here
            call = {"call": "requests", "task": str(task), "step": step, "seed": SEED, "length": 64, **SETTINGS}
            [requests] = library([call])
            groups = [draw(server, request) for request in requests]
            teaching = []
            for request, answers in zip(requests, groups, strict=True):
                values = [reward_of(answer["ids"]) for answer in answers]
                rewards.append(values)
                depths.append([depth for answer in answers for depth in answer["depths"]])
                for answer in answers:
                    own = policy.drawn(policy.weights, request["promptIds"], answer["ids"], answer["depths"])
                    assert own == pytest.approx(answer["logprobs"], abs=1e-4)
                if len(set(values)) == 1:
                    dropped += 1
                    continue
                for answer, advantage in zip(answers, advantages_of(values), strict=True):
                    teaching.append(answer | {"prompt": request["promptIds"], "advantage": advantage})
            policy.learn(teaching)
            folder = tmp_path / f"step-{step + 1}"
            policy.save(folder)
            version = server.post("/update_weights", {"weight_dir": str(folder)})
            assert version == {"weights_version": step + 1}

    def by_update(values: list[list[float]]) -> list[float]:
        groups = SETTINGS["groups"]
        return [float(np.mean(sum(values[at : at + groups], []))) for at in range(0, len(values), groups)]

    assert by_update(rewards) == pytest.approx([update["reward"] for update in told], abs=1e-9)
    assert by_update(depths) == pytest.approx([update["meanDepth"] for update in told], abs=1e-9)
    assert dropped == sum(update["droppedGroups"] for update in told)
    assert len({round(value, 6) for value in by_update(rewards)}) > 1

    # Weights have moved alike. Where a gradient is rounding alone, AdamW makes a step of it on either side.
    start = load_file(BUNDLED / "model.safetensors")
    flat = lambda weights: np.concatenate([(weights[name] - start[name]).ravel() for name in sorted(start)])  # noqa: E731
    own, other = flat(policy.weights), flat(expected)
    assert np.linalg.norm(other) > LEARNING_RATE
    assert np.linalg.norm(own - other) < 0.05 * np.linalg.norm(other)
