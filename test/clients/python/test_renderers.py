"""prime-rl's client of rollouts: the `renderers` package as it is."""

import asyncio

import pytest
from conftest import BUNDLED, KEY, MODEL, PROBLEM, library, serving
from openai import AsyncOpenAI, BadRequestError
from renderers import DefaultRendererConfig, create_renderer
from renderers.client import OverlongPromptError, generate
from transformers import AutoTokenizer

TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def server():
    flags = ["--allow-weight-updates", "--logprobs-mode", "processed_logprobs"]
    with serving(*flags, key=KEY) as started:
        yield started


@pytest.fixture(scope="module")
def renderer():
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED)
    tokenizer.chat_template = "{{ messages[-1].content }}"
    return create_renderer(tokenizer, DefaultRendererConfig())


def ask(server, renderer, **more) -> dict:
    async def run() -> dict:
        async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
            return await generate(client=client, renderer=renderer, model=MODEL, **more)

    return asyncio.run(run())


def draw(prompt, **sampling) -> dict:
    options = {"maxNewTokens": 12, "exitPolicy": "sampled", "behaviorLogprobs": 0, "record": True}
    [answer] = library(
        [{"call": "answer", "prompt": prompt, "options": options | {"sampling": sampling}}], updatable=True
    )
    return answer


def test_rollouts_are_what_the_library_draws(server, renderer):
    for temperature in (1.0, 0.6):
        answer = ask(
            server,
            renderer,
            messages=[{"role": "user", "content": PROBLEM}],
            sampling_params={"temperature": temperature, "max_tokens": 12, "seed": 4, "exit_policy": "sampled"},
            cache_salt="step-0",
            priority=1,
            extra_headers={"X-Session-ID": "session"},
        )
        expected = draw(PROBLEM, temperature=temperature, seed=4)
        assert answer["completion_ids"] == expected["tokenIds"]
        assert answer["completion_logprobs"] == pytest.approx(expected["logprobs"], abs=TOLERANCE)
        assert answer["prompt_ids"] == library([{"call": "encode", "text": PROBLEM}])[0]
        assert answer["content"] == expected["answer"]
        assert answer["finish_reason"] == "stop"


def test_token_ids_go_in_as_they_are(server, renderer):
    answer = ask(
        server,
        renderer,
        messages=[],
        prompt_ids=[7, 8, 9],
        sampling_params={"temperature": 1.0, "max_tokens": 12, "seed": 9, "exit_policy": "sampled"},
    )
    assert answer["completion_ids"] == draw([7, 8, 9], temperature=1.0, seed=9)["tokenIds"]


def test_the_context_is_known_before_a_prompt_is_sent(server, renderer):
    with pytest.raises(OverlongPromptError) as caught:
        ask(server, renderer, messages=[], prompt_ids=[7] * 1025)
    assert caught.value.max_prompt_len == 1024


def test_what_is_not_supported_is_told(server, renderer):
    with pytest.raises(BadRequestError) as caught:
        ask(server, renderer, messages=[], prompt_ids=[7], sampling_params={"best_of": 3})
    assert caught.value.param == "sampling_params.best_of"
