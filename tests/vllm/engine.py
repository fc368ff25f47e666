"""A real vLLM: three processes, of which the first is the API server, the second the EngineCore."""

import os
import re
import signal

from fleet import free_port
from processes import LIMIT, Process, get

TOOLS = os.environ["ENGINE_TOOLS"]
MODEL = f"{TOOLS}/model"
# Imports take a minute of processor time.
START_LIMIT = 600
# Without TORCH_COMPILE_DISABLE the first request that wants logprobs stops the engine for 19 s.
ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "",  # compiling the 5600 files of its imports takes half of the start
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_COMPILE_DISABLE": "1",
}
# Soon full, and finishes its requests when it is told to stop.
LIMITED = ("--max-num-seqs", "4", "--max-num-queued-reqs", "8", "--shutdown-timeout", "60")
RUNNING = re.compile(rb"^vllm:num_requests_running\{.*\} ([0-9.]+)$", re.MULTILINE)


class Engine(Process):
    def __init__(self, name, directory, *options):
        port = free_port()
        self.name, self.address = name, f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self.command = [
            *("nice", "-n", "10", f"{TOOLS}/venv/bin/vllm", "serve", MODEL, "--served-model-name", "random"),
            *("--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048", "--max-num-seqs", "128"),
            *("--enforce-eager", "--dtype", "float32", *options),
        ]
        log = os.path.join(directory, f"engine-{name}.log")
        super().__init__(self.command, self.url + "/health", log, ENVIRONMENT, START_LIMIT)

    def core(self):
        """The process id of the EngineCore."""
        (child,) = [pid for pid in children(self.process.pid) if b"EngineCore" in title(pid)]
        return child

    def signal(self, number):
        os.kill(self.process.pid, number)

    def crash(self):
        """All its processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)

    def until_gone(self):
        self.process.wait(LIMIT)
        self.kill()

    def at_work(self):
        """How many requests the engine works at."""
        with get(self.url + "/metrics") as answer:
            return sum(float(number) for number in RUNNING.findall(answer.read()))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def title(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()
