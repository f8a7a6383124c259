"""What a trainer does with TRL's client, in the version that is on the path; prints what it was given.

Only the module of the client is TRL's: PyTorch and vLLM, which it would use for NCCL, are not there.
"""

import json
import sys
from importlib import import_module
from importlib.util import find_spec

from stubs import stand_in

stand_in("torch", "torch.nn", "torch.distributed", "torch.distributed.distributed_c10d")
where = "trl.generation" if find_spec("trl.generation") else "trl.extras"
module = import_module(f"{where}.vllm_client")
module.is_vllm_available = lambda *_, **__: True

asked = json.load(sys.stdin)
client = module.VLLMClient(base_url=asked["url"], connection_timeout=5.0)
answers = {}
for name, arguments in asked["calls"].items():
    method, _, _ = name.partition(":")
    try:
        answers[name] = getattr(client, method)(**arguments)
    except RuntimeError as error:
        answers[name] = {"refusal": str(error)}
print(json.dumps(answers))
