"""The lm-evaluation-harness as it is, on a task file of its own, against looplm's figures."""

import json
import random
import re
from pathlib import Path

import pytest
from conftest import BUNDLED, MODEL, draw_cups, draw_sums, library, run, serving

NUM_PROBLEMS = 60
TOLERANCE = 1e-6
# The engine takes the sum over the vocabulary in float32, whose steps are 3.8e-6 at logits of 32 to 64; what
# reads all loops takes it in float64.
FLOAT32 = 4e-6
TASKS = {"looplm_cups": draw_cups, "looplm_sums": draw_sums}
FOLDER = Path(__file__).parent / "tasks"
# of several lengths, for what acc_norm divides by
CHOICES = [*(f"It's under cup {cup}." for cup in range(1, 6)), "I don't know."]
# those of the task, and the model's own
STOPS = ["\n", "<|endoftext|>"]

COMMON = f"model={MODEL},max_length=1024"
# arguments of the model, and flags
WAYS = {
    "ids-remote-tokenizer": ["tokenizer_backend=remote"],
    "ids-in-batches": ["tokenizer_backend=remote", "--batch_size", "8"],
    "ids-concurrently": ["tokenizer_backend=remote,num_concurrent=8"],
    "text": ["tokenizer_backend=remote,tokenized_requests=False"],
    "ids-of-hugging-face": [f"tokenizer_backend=huggingface,tokenizer={BUNDLED}"],
}


def drawn_lines() -> dict[str, str]:
    """Lines of the files of problems."""
    rng = random.Random(20261128)
    files = {}
    for name, draw in TASKS.items():
        lines = []
        for _ in range(NUM_PROBLEMS):
            problem, answer = draw(rng)
            # of a multiple choice, the target is the place of the choice
            target = int(answer) - 1 if draw is draw_cups else answer
            lines.append(json.dumps({"problem": problem, "answer": target}) + "\n")
        files[name.removeprefix("looplm_")] = "".join(lines)
    return files


def problems_of(name: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def test_problems_are_drawn_not_chosen():
    for name, lines in drawn_lines().items():
        assert (FOLDER / f"{name}.jsonl").read_text() == lines


def evaluate(server, way: list[str], out: Path, *more: str) -> tuple[dict, dict[str, list[dict]]]:
    """Results, and samples by task in the order of the problems."""
    arguments, *flags = way
    run(
        "lm_eval", "run",
        "--model", "local-completions",
        "--model_args", f"{COMMON},base_url={server.url}/v1/completions,{arguments}",
        "--tasks", *TASKS,
        "--include_path", FOLDER,
        "--output_path", out,
        "--log_samples",
        *flags,
        *more,
        HF_HOME=str(out / "cache"),
        HF_HUB_OFFLINE="1",
    )  # fmt: skip
    [results] = out.rglob("results_*.json")
    samples = {}
    for name in TASKS:
        [path] = out.rglob(f"samples_{name}_*.jsonl")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        samples[name] = sorted(lines, key=lambda sample: sample["doc_id"])
    return json.loads(results.read_text())["results"], samples


def score_cups(problems: list[dict], **more) -> list[list[dict]]:
    """Scores of every choice of every problem."""
    texts = [problem["problem"] for problem in problems]
    wholes = [f"{text} {choice}" for text in texts for choice in CHOICES]
    encoded = library([{"call": "encode", "text": text} for text in texts + wholes])
    starts = [len(ids) for ids in encoded[: len(texts)]]
    calls = [
        {"call": "score", "ids": ids, "start": starts[index // len(CHOICES)]} | more
        for index, ids in enumerate(encoded[len(texts) :])
    ]
    scored = library(calls)
    return [scored[at : at + len(CHOICES)] for at in range(0, len(scored), len(CHOICES))]


def check_cups(samples: list[dict], problems: list[dict], scored: list[list[dict]]) -> dict[str, int]:
    """Every log-likelihood; returns how many are right by the two metrics."""
    hits = {"acc": 0, "acc_norm": 0}
    for sample, problem, expected in zip(samples, problems, scored, strict=True):
        assert sample["doc"]["problem"] == problem["problem"]
        for (response,), choice in zip(sample["resps"], expected, strict=True):
            loglikelihood, is_greedy = float(response[0]), str(response[1]) == "True"
            assert loglikelihood == pytest.approx(sum(choice["logprobs"]), abs=TOLERANCE)
            assert loglikelihood == pytest.approx(sum(choice["readLogprobs"]), abs=FLOAT32 * len(choice["logprobs"]))
            assert is_greedy == choice["isGreedy"]
        sums = [sum(choice["logprobs"]) for choice in expected]
        means = [total / len(choice) for total, choice in zip(sums, CHOICES, strict=True)]
        hits["acc"] += sums.index(max(sums)) == problem["answer"]
        hits["acc_norm"] += means.index(max(means)) == problem["answer"]
    return hits


@pytest.fixture(scope="module")
def cups_by_looplm() -> list[list[dict]]:
    return score_cups(problems_of("cups"))


@pytest.fixture(scope="module")
def sums_by_looplm() -> list[str]:
    options = {"maxNewTokens": 8, "stopStrings": STOPS}
    texts = [problem["problem"] for problem in problems_of("sums")]
    answers = library([{"call": "answer", "prompt": text, "options": options} for text in texts])
    return [answer["text"] for answer in answers]


@pytest.mark.parametrize("way", WAYS)
def test_figures_are_those_of_looplm(way, server, cups_by_looplm, sums_by_looplm, tmp_path):
    results, samples = evaluate(server, WAYS[way], tmp_path)

    hits = check_cups(samples["looplm_cups"], problems_of("cups"), cups_by_looplm)
    for metric, count in hits.items():
        figure = results["looplm_cups"][f"{metric},none"]
        assert figure == pytest.approx(count / NUM_PROBLEMS, abs=TOLERANCE)

    right = 0
    for sample, problem, expected in zip(
        samples["looplm_sums"], problems_of("sums"), sums_by_looplm, strict=True
    ):
        assert sample["resps"] == [[expected]]
        right += re.findall(r"\d+", expected)[:1] == [problem["answer"]]
    figure = results["looplm_sums"]["exact_match,number"]
    assert figure == pytest.approx(right / NUM_PROBLEMS, abs=TOLERANCE)
    assert 0 < hits["acc"] < NUM_PROBLEMS
    shown = {"problems": NUM_PROBLEMS, **hits, "exact_match": right}
    print(f"{way}: {', '.join(f'{name} {count}' for name, count in shown.items())}")


def test_depth_goes_in_with_the_settings_of_generation(server, tmp_path):
    _, samples = evaluate(
        server, WAYS["ids-remote-tokenizer"], tmp_path, "--gen_kwargs", '{"exit_policy": "fixed:1"}'
    )
    options = {"maxNewTokens": 8, "exitPolicy": "fixed:1", "stopStrings": STOPS}
    texts = [problem["problem"] for problem in problems_of("sums")]
    answers = library([{"call": "answer", "prompt": text, "options": options} for text in texts])
    shown = [sample["resps"] for sample in samples["looplm_sums"]]
    assert shown == [[[answer["text"]]] for answer in answers]


def test_depth_of_log_likelihoods_is_that_of_the_server(tmp_path):
    with serving("--exit-policy", "fixed:2") as shallow:
        _, samples = evaluate(shallow, WAYS["ids-in-batches"], tmp_path, "--limit", "15")
    problems = problems_of("cups")[:15]
    check_cups(samples["looplm_cups"], problems, score_cups(problems, depth=2))
