"""An ordinary client, to measure promptmill beside: asyncio and aiohttp, a fixed number of requests in flight,
exponential backoff with jitter where the server turns a request away or cannot be reached.

It reads texts, each a JSON string on a line of its own, and prints what it took as one line of JSON. It keeps no
journal, checks no answer beyond its ids and writes no results: the comparison is one of throughput.
"""

import argparse
import asyncio
import itertools
import json
import random
import resource

import aiohttp

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
TIMEOUT = aiohttp.ClientTimeout(total=120)
MOST_TRIES = 100


def body(options, texts):
    items = (json.dumps({"id": f"r{n}", "text": text}, ensure_ascii=False) for n, text in enumerate(texts, 1))
    return {
        "model": "simulated",
        "messages": [{"role": "user", "content": options.prompt + "\n\n" + "\n".join(items)}],
        "max_tokens": options.tokens_per_row * len(texts) + 64,
    }


async def ask(session, options, texts):
    """How many of the texts were answered in the end."""
    for attempt in range(MOST_TRIES):
        pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt, 10)))
        try:
            async with session.post(f"{options.url}/chat/completions", json=body(options, texts)) as response:
                if response.status == 200:
                    answer = json.loads((await response.json())["choices"][0]["message"]["content"])
                    return sum(f"r{n}" in answer for n in range(1, len(texts) + 1))
                if response.status != 429 and response.status < 500:
                    return 0
                if told := response.headers.get("retry-after"):
                    pause += float(told)
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError):
            pass
        await asyncio.sleep(pause)
    return 0


async def worker(session, options, packs, took):
    # One iterator for all: whoever is free takes the next pack.
    for texts in packs:
        answered = await ask(session, options, texts)
        took["answered"] += answered
        took["lost"] += len(texts) - answered


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("items")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--pack", type=int, default=20)
    parser.add_argument("--tokens-per-row", type=int, default=400)
    options = parser.parse_args()
    took = {"answered": 0, "lost": 0}
    with open(options.items, encoding="utf-8") as lines:
        texts = map(json.loads, lines)
        packs = iter(lambda: list(itertools.islice(texts, options.pack)), [])
        connector = aiohttp.TCPConnector(limit=options.in_flight)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            await asyncio.gather(*(worker(session, options, packs, took) for _ in range(options.in_flight)))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    took["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    took["peak_mb"] = usage.ru_maxrss / 1e3
    print(json.dumps(took))


asyncio.run(main())
