"""evalplus as it is, through its openai backend, on problems of a local file.

The bundled model writes no programs; what counts is that every request is served, and that what comes
out is what looplm says.
"""

import json
from pathlib import Path

import pytest
from conftest import MODEL, asked, library, run

INSTRUCTION = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
)
SYSTEM = {"role": "system", "content": "You are a helpful assistant good at coding."}
PROBLEMS = {
    "add": "def add(a, b):\n    # The sum of both.\n",
    "is_even": "def is_even(n: int) -> bool:\n    # Whether n is even.\n",
    "longest": "def longest(words):\n    # The longest of the words.\n    # longest(['a', 'bc']) is 'bc'\n",
    "cup": "def cup():\n    # The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?\n",
}
MAX_NEW_TOKENS = 768  # evalplus has no flag for it


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Problems in the form of HumanEval+, which evalplus would download."""
    path = tmp_path_factory.mktemp("evalplus") / "problems.jsonl"
    tests = {"contract": "", "canonical_solution": "    pass\n", "base_input": [], "plus_input": [], "atol": 0}
    lines = [
        json.dumps({"task_id": f"HumanEval/{index}", "entry_point": name, "prompt": prompt} | tests) + "\n"
        for index, (name, prompt) in enumerate(PROBLEMS.items())
    ]
    path.write_text("".join(lines))
    return path


def codegen(server, data: Path, out: Path, *flags: str) -> list[dict]:
    """What it wrote down as it came."""
    words = ["--model", MODEL, "--dataset", "humaneval", "--backend", "openai", "--root", out]
    shown = run(
        "evalplus.codegen", *words, "--base-url", f"{server.url}/v1", *flags,
        HUMANEVAL_OVERRIDE_PATH=str(data),
        OPENAI_API_KEY="none",
    )  # fmt: skip
    # it tries again for ever, and says so
    assert "Waiting" not in shown
    assert "Error code" not in shown
    [raw] = out.rglob("*.raw.jsonl")
    [clean] = [path for path in out.rglob("*.jsonl") if path != raw]
    samples = [json.loads(line) for line in raw.read_text().splitlines()]
    assert [json.loads(line)["task_id"] for line in clean.read_text().splitlines()] == [
        sample["task_id"] for sample in samples
    ]
    return samples


def test_greedy_samples_are_what_looplm_says(server, data, tmp_path):
    samples = codegen(server, data, tmp_path, "--greedy")
    prompts = [f"{INSTRUCTION}\n```python\n{prompt.strip()}\n```" for prompt in PROBLEMS.values()]
    options = {"maxNewTokens": MAX_NEW_TOKENS}
    answers = library([{"call": "answer", "prompt": [SYSTEM, *asked(prompt)], "options": options} for prompt in prompts])
    assert [sample["task_id"] for sample in samples] == [f"HumanEval/{n}" for n in range(len(PROBLEMS))]
    assert [sample["solution"] for sample in samples] == [answer["answer"] for answer in answers]


def test_draws_are_complete(server, data, tmp_path):
    flags = ["--n-samples", "3", "--bs", "2", "--temperature", "0.8"]
    samples = codegen(server, data, tmp_path, *flags)
    assert [sample["task_id"] for sample in samples] == [
        f"HumanEval/{n}" for n in range(len(PROBLEMS)) for _ in range(3)
    ]
