"""Every example in Python, and every command, of docs/clients.md."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUNDLED, KEY, PROBLEM, ROOT, asked, library, serving
from test_evalplus import data  # noqa: F401
from test_rl_loop import write_moved

PAGE = (ROOT / "docs/clients.md").read_text()
ADDRESS = "127.0.0.1:8080"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
SAMPLED = {"ignoreEos": False, "exitPolicy": "sampled", "behaviorLogprobs": 0, "maxNewTokens": 8}


@pytest.fixture(scope="module")
def trainers(tmp_path_factory):
    """As rl-rollouts.md starts it."""
    with serving("--allow-weight-updates", "--logprobs-mode", "processed_logprobs", key=KEY) as started:
        yield started


def printed(words: list, cwd: Path, server, **env: str) -> str:
    """Of a program that is told this server's address in place of the page's."""
    given = [str(word).replace(ADDRESS, server.url.removeprefix("http://")) for word in words]
    done = subprocess.run(given, capture_output=True, text=True, check=False, cwd=cwd, env=os.environ | env)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def example(name: str) -> str:
    [found] = [code for code in EXAMPLES if name in code]
    return found


def command(name: str) -> list[str]:
    [found] = [words for words in map(shlex.split, COMMANDS) if words[0] == name]
    return [sys.executable, "-m", *found]


def draws(prompt, numbers: range, seed: int) -> list[dict]:
    return [
        {"call": "answer", "prompt": prompt, "options": SAMPLED | {"sampling": {"temperature": 1, "seed": seed + n}}}
        for n in numbers
    ]


def test_openai(server, tmp_path):
    call = {"call": "answer", "prompt": asked(PROBLEM), "options": {"exitPolicy": "cdf:0.5"}}
    [answer] = library([call])
    shown = printed([sys.executable, "-c", example("import OpenAI")], tmp_path, server)
    assert shown == f"{answer['answer']} {answer['exitDepths']} {answer['meanDepth']}\n"


def test_lm_eval(server, tmp_path):
    shown = printed(command("lm_eval"), ROOT, server, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    rows = [re.split(r"\s*\|\s*", line) for line in shown.splitlines() if line.startswith("|")]
    figures = {row[5]: float(row[7]) for row in rows if row[5] in ("acc", "acc_norm", "exact_match")}
    assert figures.keys() == {"acc", "acc_norm", "exact_match"}
    assert all(0.8 < figure <= 1 for figure in figures.values())


def test_evalplus(server, data, tmp_path):  # noqa: F811
    printed(command("evalplus.codegen"), tmp_path, server, HUMANEVAL_OVERRIDE_PATH=str(data))
    [raw] = tmp_path.rglob("*.raw.jsonl")
    assert len(raw.read_text().splitlines()) == len(data.read_text().splitlines())


def test_trl(trainers, tmp_path):
    preamble = (
        "from stubs import stand_in\n"
        "stand_in('torch', 'torch.nn')\n"
        "import trl.generation.vllm_client as module\n"
        "module.is_vllm_available = lambda *_, **__: True\n"
    )
    path = f"{os.environ['LOOPLM_TRL']}/trl-1.16.0{os.pathsep}{Path(__file__).parent}"
    words = [sys.executable, "-c", preamble + example("VLLMClient")]
    shown = printed(words, tmp_path, trainers, PYTHONPATH=path)
    expected = library(draws("The ball is under cup 3. Swap cups 2 and 3. Where is the ball?", range(4), seed=5), updatable=True)
    ids = [one["tokenIds"] for one in expected]
    assert shown.startswith(f"{ids} [")


def test_loop(trainers, tmp_path):
    folder = tmp_path / "next"
    write_moved(folder, seed=3, amount=0.02)
    code = f"def train(group):\n    return {str(folder)!r}\n\n\n{example('def post')}"
    shown = printed([sys.executable, "-c", code], tmp_path, trainers)
    lines = shown.splitlines()
    expected = []
    for model in (BUNDLED, folder):
        calls = draws("The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?", range(4), seed=5)
        expected += library(calls, model=str(model), updatable=True)
    assert len(lines) == len(expected)
    for index, (line, one) in enumerate(zip(lines, expected, strict=True)):
        version, _, rest = line.partition(" ")
        ids, depths, logprobs = (json.loads(part) for part in re.findall(r"\[.*?\]", rest))
        assert int(version) == index // 4
        assert (ids, depths) == (one["tokenIds"], one["exitDepths"])
        assert logprobs == pytest.approx(one["logprobs"], abs=1e-6)


def test_no_others():
    assert (len(EXAMPLES), len(COMMANDS)) == (3, 2)
