"""An OpenAI-compatible server as a program: `tiny_endpoint.py PORT FOLDER`.

It says yes, notes its process in FOLDER/starts, and each question that it answered in FOLDER/answered. A file
FOLDER/end ends it at the next question, and is removed; FOLDER/never keeps it from coming up.
"""

import http.server
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main(port: int, folder: Path) -> None:
    """Serve until the process ends."""
    sys.stdout.write("loading the model\n")
    sys.stdout.flush()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    with (folder / "starts").open("a") as file:
        file.write(f"{os.getpid()} {child.pid} {os.environ.get('OPENAI_API_KEY')}\n")
    if (folder / "never").exists():
        time.sleep(100)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            self.send(404 if self.path == "/health" else 200, {"data": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if (folder / "end").exists():
                (folder / "end").unlink()
                os._exit(7)
            with (folder / "answered").open("a") as file:
                file.write(json.dumps(body["messages"][-1]["content"]) + "\n")
            self.send(200, {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})

        def send(self, status: int, value: object) -> None:
            raw = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
