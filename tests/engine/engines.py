"""llama.cpp's own server, and that of llama-cpp-python."""

import os

from fleet import free_port
from processes import Process

TOOLS = os.environ["ENGINE_TOOLS"]
CONTEXT = 8192

# One thread for each. llama-server's flash attention rounds a prompt otherwise than the same tokens one by one, so that a
# continued text may in time become another one; without it texts can be compared.
COMMANDS = {
    "llama-server": [
        *(f"{TOOLS}/build/bin/llama-server", "--model", f"{TOOLS}/model.gguf", "--alias", "random"),
        *("--ctx-size", str(2 * CONTEXT), "--parallel", "2", "--threads", "1", "--flash-attn", "off"),
    ],
    "llama-cpp-python": [
        *(f"{TOOLS}/venv/bin/python", "-m", "llama_cpp.server", "--model", f"{TOOLS}/model.gguf"),
        *("--model_alias", "random", "--n_ctx", str(CONTEXT), "--n_threads", "1", "--verbose", "false"),
    ],
}


class Engine(Process):
    def __init__(self, kind, directory):
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        port = self.address.rsplit(":", 1)[1]
        command = [*COMMANDS[kind], "--host", "127.0.0.1", "--port", port]
        log = os.path.join(directory, f"engine-{port}.log")
        super().__init__(command, self.url + "/v1/models", log, {"LLAMA_CPP_LIB_PATH": f"{TOOLS}/build/bin"})
