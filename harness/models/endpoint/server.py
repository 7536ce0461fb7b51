"""A server that the harness starts for a model, such as vLLM, on a free port of this machine."""

import asyncio
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from harness.errors import ModelError, SpecError
from harness.models.process.child import SUPERVISOR, ErrorLog

KEY = "OPENAI_API_KEY"
POLL_SECONDS = 0.1
# Both are common: vLLM, SGLang and llama.cpp answer the first, every endpoint the second.
HEALTH = ("/health", "/v1/models")
SECONDS_TO_ANSWER = 5.0
SECONDS_TO_END = 5.0
# A server that ends so often will not last; each start costs minutes of a GPU.
MOST_RESTARTS = 3


class Server:
    """One server process and all that it starts; they end with this object, or with the process that holds it.

    Args:
        command: The command, with `{model}` and `{port}` in its words; no shell reads it.
        model: The model.
        folder: Folder of the run for the server's output; None keeps only its last lines.
        seconds: In which it must answer.
    Raises:
        SpecError: The command is empty, or does not say where the port goes.
    """

    def __init__(self, command: str, model: str, *, folder: Path | None, seconds: float) -> None:
        try:
            self.words = shlex.split(command)
        except ValueError as error:
            raise SpecError(f"--model-args serve: {error}: {command}") from error
        if not self.words or not any("{port}" in word for word in self.words):
            raise SpecError(
                "--model-args serve: expected a command with {port} in it, as in 'vllm serve {model} --port {port}', "
                f"found {command!r}"
            )
        self.model = model
        self.seconds = seconds
        self.log = ErrorLog(folder / f"server-{os.getpid()}.log" if folder is not None else None)
        self.port = 0
        self.restarts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline = -1
        self._reader: threading.Thread | None = None
        self._turn = asyncio.Lock()

    @property
    def base_url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Start the server and wait until it answers; a restart keeps the port.

        Raises:
            ModelError: It ends, or does not answer in time.
        """
        if not self.port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
        words = [word.replace("{model}", self.model).replace("{port}", str(self.port)) for word in self.words]
        reading, self._lifeline = os.pipe()
        # A server of our own needs no key, and cannot print what it does not have.
        environment = {name: value for name, value in os.environ.items() if name != KEY}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SUPERVISOR), str(reading), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(reading,),
                env=environment,
                start_new_session=True,  # Ctrl-C is for the driver, which ends the server when it has stored everything
            )
        finally:
            os.close(reading)
        self._reader = threading.Thread(target=self._keep_output, args=(self._process,), name="server", daemon=True)
        self._reader.start()
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + self.seconds
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before this machine
        while True:
            if self._process.poll() is not None:
                raise ModelError(f"serve: the server ended with {self._end()} before it answered{self._said()}")
            for path in HEALTH:
                try:
                    with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=SECONDS_TO_ANSWER):
                        return
                except (OSError, ValueError):  # not up yet, or this path is not known: HTTP errors are OSErrors, too
                    pass
            if time.monotonic() > deadline:
                raise ModelError(
                    f"serve: the server did not answer {' or '.join(HEALTH)} on port {self.port} within "
                    f"{self.seconds:g} s; serve_timeout= gives it longer{self._said()}"
                )
            time.sleep(POLL_SECONDS)

    async def revive(self) -> None:
        """Start the server again if it has ended; callers wait for each other, and only the first of them starts it.

        Raises:
            ModelError: It has ended too often, or does not come up.
        """
        async with self._turn:
            if self._process is None or self._process.poll() is None:
                return
            if self.restarts >= MOST_RESTARTS:
                raise ModelError(
                    f"serve: the server ended {self.restarts + 1} times, last with {self._end()}{self._said()}"
                )
            self.restarts += 1
            self.stop()
            await asyncio.get_running_loop().run_in_executor(None, self.start)

    def stop(self) -> None:
        """End the server and all that it started."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        if self._process is not None:
            try:
                self._process.wait(SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._reader is not None:
            self._reader.join(SECONDS_TO_END)
            self._reader = None

    def _keep_output(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as output:
            while line := output.readline(1 << 16):
                self.log.add(line)

    def _end(self) -> str:
        assert self._process is not None
        code = self._process.returncode
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _said(self) -> str:
        if self._reader is not None and self._process is not None and self._process.poll() is not None:
            self._reader.join(1.0)  # its last words may still be on their way
        return "; its last words:\n" + "\n".join(self.log.last) if self.log.last else "; it said nothing"
