"""Starts processes, reads their cost from /proc, and describes the machine."""

import contextlib
import datetime
import os
import pathlib
import platform
import resource
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TICK = os.sysconf("SC_CLK_TCK")


def stop_with(message):
    sys.exit(f"bench: {message}")


def raise_file_limit():
    """Raises the limit of open files for all child processes as far as possible, and returns it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    addresses = ["127.0.0.1:%d" % s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def wait_for(address, process):
    host, port = address.split(":")
    for _ in range(500):
        if process.poll() is not None:
            stop_with(f"{process.args[0]} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.02)
    stop_with(f"nothing listens on {address}")


@contextlib.contextmanager
def running(command, address, **options):
    """Runs a server, from when it listens to its end."""
    options.setdefault("stdout", subprocess.DEVNULL)
    process = subprocess.Popen([str(word) for word in command], **options)
    try:
        wait_for(address, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        for task in pathlib.Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pid):
    """CPU time of a process and its descendants, including those that have ended."""
    total = 0
    for each in family(pid):
        fields = pathlib.Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(int(field) for field in fields[11:15])
    return total / TICK


def pss_bytes(pid):
    """Memory of a process and its descendants; shared pages count once."""
    total = 0
    for each in family(pid):
        lines = pathlib.Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def output(*command, **options):
    seen = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    return seen.stdout.strip()


def circumstances(programs):
    model = [line for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")]
    dirty = "-changed" if output("git", "status", "--porcelain", "src", "Cargo.lock") else ""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": output("git", "rev-parse", "--short=9", "HEAD") + dirty,
        **programs.versions(),
        "rustc": output("rustc", "--version"),
        "cpu": model[0].split(":")[1].strip() if model else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }
