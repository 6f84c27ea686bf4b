"""llama.cpp's own server, out of the wheel `xllamacpp`, until it is killed.

    python serve.py MODEL.gguf PORT [--context TOKENS] [--slots N] [--threads N] [--api-key KEY]

Its log goes to standard error. The context is shared out among the slots, as with `llama-server -c … -np …`.
"""

import argparse
import signal

import xllamacpp


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--api-key")
    asked = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = asked.model
    params.hostnames = ["127.0.0.1"]
    params.port = asked.port
    params.n_ctx = asked.context
    params.n_parallel = asked.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = asked.threads
    params.endpoint_metrics = True
    if asked.api_key:
        params.api_keys = [asked.api_key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


main()
