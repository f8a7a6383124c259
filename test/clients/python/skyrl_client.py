"""What a trainer does with SkyRL's remote client; prints what it was given.

Only the modules of the client are SkyRL's own: its packages would import Ray, Megatron and PyTorch.
"""

import asyncio
import json
import os
import sys
import types
from pathlib import Path

from stubs import stand_in

SKYRL = Path(os.environ["LOOPLM_SKYRL"]) / "skyrl"
SERVERS = "skyrl.backends.skyrl_train.inference_servers"
MEGATRON = "skyrl.backends.skyrl_train.distributed.megatron"

# packages without what their __init__ would import
for name in ("skyrl", "skyrl.backends", "skyrl.backends.skyrl_train", SERVERS, "skyrl.backends.skyrl_train.utils"):
    package = types.ModuleType(name)
    package.__path__ = [str(SKYRL.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = package
stand_in("torch", "torch.nn", "torch.distributed", "skyrl.backends.skyrl_train.distributed", MEGATRON)
stand_in(f"{MEGATRON}.packing_utils", f"{MEGATRON}.token_metadata")

from skyrl.backends.skyrl_train.inference_servers.remote_inference_client import (  # noqa: E402
    RemoteInferenceClient,
)


async def main() -> None:
    asked = json.load(sys.stdin)
    url, model, ids, sampling = asked["url"], asked["model"], asked["ids"], asked["sampling"]
    client = RemoteInferenceClient(proxy_url=url, server_urls=[url], data_parallel_size=1, model_name=model)
    answers = {}
    async with client:
        raw = client._get_generate_client()
        answers["world_size"] = await client.get_world_size()
        answers["tokens"] = await client.tokenize([asked["text"]], add_special_tokens=False)
        answers["text"] = await client.detokenize([ids])
        one = await raw.generate(
            prompt_token_ids=ids,
            sampling_params=sampling | {"logprobs": 0},
            session_id="s-1",
            model=model,
            cache_salt="0",
        )
        answers["one"] = {
            "ids": one.response_ids,
            "logprobs": one.response_logprobs,
            "reason": one.stop_reason,
            "depths": one.raw_response["choices"][0]["exit_depths"],
        }
        prompt = {"chunks": [{"type": "encoded_text", "tokens": ids}]}
        many = {"model": model, "prompt": prompt, "num_samples": 3, "include_prompt_logprobs": True}
        drawn = {key: sampling[key] for key in ("temperature", "max_tokens", "seed")}
        answers["sample"] = await client.sample(
            {"json": many | {"sampling_params": drawn, "topk_prompt_logprobs": 2, "session_id": "s-1"}}
        )
        for mode in ("keep", "wait", "abort"):
            paused = await client.pause(mode, clear_cache=False)
            resumed = await client.resume()
            answers[mode] = [paused[url]["body"], resumed[url]["body"]]
        answers["reset"] = (await client.reset_prefix_cache())[url]["status"]
        chat = {"model": model, "messages": [{"role": "user", "content": asked["text"]}], "session_id": "s-1"}
        answers["chat"] = await client.chat_completion({"json": chat})
    print(json.dumps(answers))


asyncio.run(main())
