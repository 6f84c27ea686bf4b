#!/usr/bin/env python3
"""Runs the motion pipeline against llama.cpp's own server and holds the books against each other.

    python run.py --tiny                    a model of random weights, made on the spot
    python run.py --model FILE.gguf         any model that llama.cpp can read

Needs the packages `xllamacpp` and `pyarrow`, with --tiny also `gguf`. Exits with 1 if anything does not add up.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SETTLED = "(SELECT {0} FROM results UNION ALL SELECT {0} FROM dead_letters)"


class Failed(Exception):
    pass


def expect(holds, *words):
    if not holds:
        raise Failed(" ".join(str(word) for word in words))


class Server:
    """The server, which can be killed and started again at the same address."""

    def __init__(self, model, threads, log, context, slots=2, api_key=None):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [sys.executable, HERE / "serve.py", model, str(self.port), "--threads", str(threads)]
        self.command += ["--context", str(context), "--slots", str(slots)] + (["--api-key", api_key] if api_key else [])
        self.log, self.process = log, None

    def __enter__(self):
        self.start()
        self.wait()
        return self

    def __exit__(self, *_):
        self.kill()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=self.log)

    def wait(self):
        until = time.monotonic() + 300
        while time.monotonic() < until:
            expect(self.process.poll() is None, "the server has ended with", self.process.returncode)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5)
                return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise Failed("the server does not come up")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def counted(self):
        """The server's own count of tokens: read, of those taken from its cache, and written."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as page:
            lines = [line.split() for line in page.read().decode().splitlines() if not line.startswith("#")]
        count = {line[0].removeprefix("llamacpp:"): float(line[1]) for line in lines if len(line) == 2}
        cached = int(count.get("prompt_tokens_cached_total", 0))
        return int(count["prompt_tokens_total"]) + cached, cached, int(count["tokens_predicted_total"])


class Job:
    """One pipeline in a folder of its own."""

    def __init__(self, asked, name, server, *settings):
        self.folder = asked.folder / name
        self.folder.mkdir()
        self.rows = asked.rows
        self.settings = [part for setting in settings for part in ("--set", setting)]
        self.environment = os.environ | {
            "MOTIONS": str(asked.folder / "motions.parquet"),
            "LOCAL_BASE_URL": f"http://127.0.0.1:{server.port}/v1",
            "PROMPTMILL_LANES": str(self.folder / "lanes"),
        }
        self.promptmill, self.pipeline = asked.promptmill, asked.pipeline

    def command(self, name, *more):
        return [self.promptmill, name, str(self.pipeline), *more, *self.settings]

    def start(self, *more):
        command = self.command("run", "--output", "json", "--progress", "none", *more)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, text=True, **pipes)

    def run(self, *more, code=0):
        return self.end(self.start(*more), code)

    def end(self, process, code=0):
        said, errors = process.communicate(timeout=3600)
        expect(process.returncode == code, "exit code", process.returncode, "and not", code, "\n", errors[-3000:])
        expect("panicked" not in errors, errors[-3000:])
        return json.loads(said) if said.strip() else errors

    def sql(self, query):
        command = self.command("sql", query, "--output", "json")
        said = subprocess.run(command, cwd=self.folder, env=self.environment, text=True, capture_output=True)
        expect(said.returncode == 0, query, "\n", said.stderr)
        return json.loads(said.stdout)

    def check_books(self):
        """Each key is settled once, and rows and attempts have used the same."""
        asked = self.sql("SELECT motion_id FROM source WHERE body IS NOT NULL AND length(trim(body)) > 0")
        settled = sorted(row["motion_id"] for row in self.sql(f"SELECT motion_id FROM {SETTLED.format('motion_id')}"))
        expect(settled == sorted(row["motion_id"] for row in asked), "settled are", settled)
        sums = "CAST(coalesce(sum(cost_usd), 0) AS VARCHAR) AS cost, coalesce(sum(input_tokens), 0) AS input, coalesce(sum(output_tokens), 0) AS output"
        rows = self.sql(f"SELECT {sums} FROM {SETTLED.format('cost_usd, input_tokens, output_tokens')}")[0]
        attempts = self.sql(f"SELECT {sums} FROM attempts")[0]
        expect(rows == attempts, "rows have used", rows, "and attempts", attempts)
        strangers = self.sql("SELECT count(*) AS n FROM attempts WHERE status = 'ok' AND raw_response IS NULL")[0]["n"]
        expect(strangers == 0, strangers, "answers are in the journal without a response")
        return len(settled), Decimal(attempts["cost"])

    def check_parquet(self):
        """pyarrow reads what `sql` reads."""
        ours = self.sql("SELECT motion_id, year, CAST(cost_usd AS VARCHAR) AS cost FROM results")
        folder = self.folder / "out" / "motions"
        theirs = []
        if folder.is_dir():
            table = pyarrow.dataset.dataset(folder, partitioning="hive").to_table(["motion_id", "year", "cost_usd"])
            theirs = [(row["motion_id"], str(row["year"]), Decimal(row["cost_usd"])) for row in table.to_pylist()]
        expect(sorted(theirs) == sorted((row["motion_id"], str(row["year"]), Decimal(row["cost"])) for row in ours), theirs[:3], ours[:3])

    def check_meter(self, server):
        """The journal has the tokens that the server has counted; less, if answers came that the server could not read itself."""
        sums = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in ["input_tokens", "cached_input_tokens", "output_tokens"])
        ours, theirs = tuple(self.sql(f"SELECT {sums} FROM attempts")[0].values()), server.counted()
        unread = self.sql("SELECT count(*) AS n FROM attempts WHERE input_tokens IS NULL")[0]["n"]
        holds = all(our < their for our, their in zip(ours, theirs)) if unread else ours == theirs
        expect(holds, "tokens read, cached, written: the journal has", ours, "and the server", theirs, "with", unread, "unread")

    def statuses(self):
        return {row["status"]: row["n"] for row in self.sql("SELECT status, count(*) AS n FROM attempts GROUP BY status ORDER BY status")}

    def tell(self):
        count = self.sql("SELECT (SELECT count(*) FROM results) AS answered, (SELECT count(*) FROM dead_letters) AS dead")[0]
        return f"{count['answered']} answered, {count['dead']} dead letters; attempts {self.statuses()}"


def in_order(asked):
    """Packs, in two slots: rows, attempts and the server's own meter say the same."""
    with asked.server(context=asked.context) as server:
        job = Job(asked, "in-order", server)
        job.run()
        _, cost = job.check_books()
        expect(cost > 0, "nothing has cost anything")
        expect(set(job.statuses()) <= {"ok", "truncated", "malformed", "incomplete"}, job.statuses())
        job.check_parquet()
        job.check_meter(server)
        sent = job.run()["requests"]["sent"]
        expect(sent == 0, sent, "requests for rows that were settled")
        return job.tell()


def crowded(asked):
    """More requests than slots: the server queues them, and nothing is lost."""
    with asked.server(context=asked.context) as server:
        job = Job(asked, "crowded", server, "stages.llm.concurrency=8", "stages.prompt-pack.rows=1")
        job.run()
        job.check_books()
        job.check_parquet()
        job.check_meter(server)
        return job.tell()


def killed(asked):
    """The run is there before the server, which is killed at work and comes back."""
    server = asked.server(context=asked.context)
    job = Job(asked, "killed", server, "stages.prompt-pack.rows=1")
    run = job.start()
    try:
        time.sleep(1)
        server.start()
        server.wait()
        until = time.monotonic() + 600
        while server.counted()[2] == 0:
            expect(run.poll() is None and time.monotonic() < until, "the run does not get going")
            time.sleep(0.02)
        server.kill()
        expect(run.poll() is None, "the run was over before the server was killed")
        time.sleep(2)
        server.start()
        job.end(run)
    finally:
        run.kill()
        server.kill()
    job.check_books()
    job.check_parquet()
    return job.tell()


def small_context(asked):
    """Packs that the context cannot hold are taken apart."""
    most = 0
    with asked.server(context=asked.context) as server:
        measure = Job(asked, "one-by-one", server, "stages.prompt-pack.rows=1", "stages.llm.attempts=1")
        measure.run()
        most = measure.sql("SELECT max(input_tokens) AS most FROM attempts")[0]["most"]
    # A row fits with its answer, and two of the largest do not. llama.cpp rounds up to 256.
    context = (most + 100 + 255) // 256 * 256
    with asked.server(context=context, slots=1) as server:
        job = Job(asked, "small-context", server, "stages.prompt-pack.rows=6")
        job.run()
        job.check_books()
        job.check_parquet()
        expect(job.sql("SELECT count(*) AS n FROM results")[0]["n"] > 0, "nothing was answered:", job.tell())
        expect(job.statuses().get("context-too-long"), "no pack was too long:", job.tell())
        return f"a context of {context} tokens: {job.tell()}"


def no_room(asked):
    """No row fits: all of them are dead letters that say so."""
    with asked.server(context=256, slots=1) as server:
        job = Job(asked, "no-room", server)
        job.run()
        job.check_books()
        reasons = job.sql("SELECT reason, count(*) AS n, min(detail) AS detail FROM dead_letters GROUP BY reason")
        expect([row["reason"] for row in reasons] == ["context-too-long"], reasons)
        return f"{job.tell()}; {reasons[0]['detail']}"


def impatient(asked):
    """Requests that are given up: they count at the most that they can have cost."""
    with asked.server(context=asked.context) as server:
        job = Job(asked, "impatient", server, "stages.llm.timeout='100ms'", "stages.llm.attempts=2", "stages.prompt-pack.rows=2")
        job.run()
        job.check_books()
        expect(job.statuses().get("timeout"), "nothing was given up:", job.tell())
        return job.tell()


def wrong_key(asked):
    """A server that wants another key ends the run at once."""
    with asked.server(context=asked.context, api_key="the-right-key") as server:
        job = Job(asked, "wrong-key", server, "providers.llama-cpp.api_key_env='LLAMA_KEY'")
        job.environment["LLAMA_KEY"] = "the-wrong-key"
        said = str(job.run(code=1))
        expect("the-wrong-key" not in said, "the key is in what was said")
        job.environment["LLAMA_KEY"] = "the-right-key"
        job.run()
        job.check_books()
        return job.tell()


TESTS = [in_order, crowded, killed, small_context, no_room, impatient, wrong_key]


def newest_binary():
    built = [path for path in (ROOT / "target" / kind / "promptmill" for kind in ["release", "debug"]) if path.exists()]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


def take_motions(path, rows, target):
    """The first so many motions with a text."""
    table = pyarrow.parquet.read_table(path)
    has_text = [place for place, body in enumerate(table["body"].to_pylist()) if body and body.strip()]
    pyarrow.parquet.write_table(table.take(has_text[:rows]), target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", type=Path, help="a model in GGUF")
    model.add_argument("--tiny", action="store_true", help="a model of random weights instead")
    parser.add_argument("--motions", type=Path, default=ROOT / "pipelines/data/motions-sample.parquet", help="Parquet with motion_id, title, body, year")
    parser.add_argument("--rows", type=int, default=20, help="how many of them (20)")
    parser.add_argument("--pipeline", type=Path, default=HERE / "pipeline.toml", help="reads ${MOTIONS}, asks ${LOCAL_BASE_URL}")
    parser.add_argument("--promptmill", type=Path, default=newest_binary(), help="the binary; the newest in target/")
    parser.add_argument("--context", type=int, help="tokens, shared by two slots (8192; 32768 with --tiny, whose tokens are bytes)")
    parser.add_argument("--threads", type=int, default=1, help="of the server (1)")
    parser.add_argument("--folder", type=Path, help="where to work, kept afterwards; a temporary one")
    parser.add_argument("--only", action="append", choices=[test.__name__ for test in TESTS], help="this test; can be given more than once")
    asked = parser.parse_args()
    if not asked.promptmill:
        parser.error("promptmill is not built: `cargo build --release`, or --promptmill")
    asked.promptmill, asked.pipeline = asked.promptmill.resolve(), asked.pipeline.resolve()
    asked.context = asked.context or (32768 if asked.tiny else 8192)
    with tempfile.TemporaryDirectory() as temporary:
        asked.folder = (asked.folder or Path(temporary)).resolve()
        asked.folder.mkdir(parents=True, exist_ok=True)
        if asked.tiny:
            import tiny

            asked.model = asked.folder / "tiny.gguf"
            tiny.write(asked.model)
        take_motions(asked.motions, asked.rows, asked.folder / "motions.parquet")
        passed, failed = 0, 0
        with open(asked.folder / "server.log", "wb") as log:
            asked.server = lambda **more: Server(asked.model.resolve(), asked.threads, log, **more)
            for test in TESTS:
                if asked.only and test.__name__ not in asked.only:
                    continue
                began = time.monotonic()
                try:
                    words, passed = test(asked), passed + 1
                    print(f"ok      {test.__name__}: {words}  ({time.monotonic() - began:.0f} s)", flush=True)
                except Failed as error:
                    failed += 1
                    print(f"FAILED  {test.__name__}: {error}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
