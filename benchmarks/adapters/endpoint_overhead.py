"""Overhead of `openai:` per request, with 32 calls in flight at a server that answers each after a fixed time.

The server is a process of its own on this machine. N calls, 32 at a time, of D seconds each take at least N * D / 32;
what a run takes beyond that, divided by N, is the overhead. It is measured for the adapter alone, for a whole run with
every answer on disk, and for the `openai` package called directly, without retries, checks or a record of anything.

    python benchmarks/adapters/endpoint_overhead.py [--requests 1280] [--delay 0.1] [--repeats 3]
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.overhead import milliseconds, write_release

IN_FLIGHT = 32
TARGET_MS = 5.0
REPLY = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
).encode()


async def serve(delay: float) -> None:
    """Answer every call after `delay` seconds, on a free port that is printed first."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                await asyncio.sleep(delay)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(REPLY), REPLY))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextlib.contextmanager
def running_server(delay: float) -> Iterator[str]:
    """Yield the base URL of the server in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.adapters.endpoint_overhead", "--serve", str(delay)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2]) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.kill()


def measure_package(url: str, requests: int) -> float:
    """Return the seconds that the `openai` package takes, called directly with as many calls in flight."""
    from openai import AsyncOpenAI

    async def run() -> float:
        places = asyncio.Semaphore(IN_FLIGHT)
        async with AsyncOpenAI(base_url=url, api_key="none") as client:

            async def call(number: int) -> None:
                async with places:
                    await client.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": f"Question {number}?"}], temperature=0
                    )

            await asyncio.gather(*map(call, range(IN_FLIGHT)))  # connections
            began = time.perf_counter()
            await asyncio.gather(*map(call, range(requests)))
            return time.perf_counter() - began

    return asyncio.run(run())


def measure_adapter(url: str, requests: int, folder: Path) -> float:
    """Return the seconds of one call of `predict` for all requests, each answer kept on disk."""
    from harness.models.endpoint.adapter import OpenAI
    from harness.records import Request, TextPart, Turn

    def ask(number: int) -> Request:
        turn = Turn(role="user", parts=(TextPart(text=f"Question {number}?"),))
        return Request(messages=(turn,), decoding={"max_new_tokens": 64, "temperature": 0.0}, key=f"{number:064x}")

    adapter = OpenAI("m", base_url=url, concurrency=IN_FLIGHT)
    adapter.begin_run(folder, 600.0)
    adapter.load("cpu")
    adapter.predict([ask(number) for number in range(IN_FLIGHT)])
    began = time.perf_counter()
    adapter.predict([ask(number) for number in range(IN_FLIGHT, IN_FLIGHT + requests)])
    seconds = time.perf_counter() - began
    adapter.close()
    return seconds


def measure_run(url: str, root: Path) -> float:
    """Return the milliseconds per sample of a whole run without images, between its first and its last stored batch."""
    from harness.evaluation.evaluate import evaluate
    from harness.evaluation.setup import RunSpec

    folder = root / "run"
    arguments = {"base_url": url, "concurrency": IN_FLIGHT, "images": "leave_out"}
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="openai:m",
        model_args=arguments,
        data_roots=(str(root / "data"),),
        out=folder,
        ray="off",
        cache=root / "cache",
    )
    evaluate(spec)
    found = milliseconds(folder)
    shutil.rmtree(folder)
    return found


def main() -> None:
    """Measure and print one row per client."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1280)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
    least = 1000 * options.delay / IN_FLIGHT
    found: dict[str, list[float]] = {"openai package, called directly": [], "adapter": [], "whole run": []}
    with tempfile.TemporaryDirectory() as folder, running_server(options.delay) as url:
        root = Path(folder)
        write_release(root / "data", options.requests)
        for repeat in range(options.repeats):
            package = measure_package(url, options.requests)
            adapter = measure_adapter(url, options.requests, root / f"model{repeat}")
            found["openai package, called directly"].append(1000 * package / options.requests - least)
            found["adapter"].append(1000 * adapter / options.requests - least)
            found["whole run"].append(measure_run(url, root) - least)
    for name, values in found.items():
        sys.stdout.write(f"{name:32s} {min(values):6.2f} ms per request beyond the server's {least:.2f} ms\n")
    verdict = "met" if max(min(found["adapter"]), min(found["whole run"])) <= TARGET_MS else "missed"
    sys.stdout.write(f"target <= {TARGET_MS} ms at {IN_FLIGHT} in flight: {verdict}\n")


if __name__ == "__main__":
    main()
