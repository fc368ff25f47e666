"""Provides the compared programs: builds ours, and finds or unpacks nginx and HAProxy without installing them."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

from machine import ROOT, output, stop_with

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# The same kind of gateway, run by the binary of EVENKEEL_BEFORE.
BEFORE = "-before"
# packages that Debian's nginx and HAProxy need beyond a minimal system
PACKAGES = {
    "nginx": ["nginx"],
    "haproxy": ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
}


class Programs:
    def __init__(self):
        self.evenkeel = pathlib.Path(os.environ.get("EVENKEEL", TARGET / "release" / "evenkeel")).resolve()
        if not self.evenkeel.exists():
            stop_with(f"{self.evenkeel} is missing: run `make build`")
        before = os.environ.get("EVENKEEL_BEFORE")
        self.before = pathlib.Path(before).resolve() if before else None
        if self.before and not self.before.exists():
            stop_with(f"EVENKEEL_BEFORE: {self.before} is missing")
        self.nginx, self.nginx_env = debian("nginx", "-v")
        self.haproxy, self.haproxy_env = debian("haproxy", "-v")
        self.load = os.environ.get("LOAD") or built("load")
        self.floor = os.environ.get("FLOOR") or built("floor")
        self.oracle = os.environ.get("ORACLE") or built("oracle")

    def binary(self, kind):
        """The build of the gateway for this kind."""
        return self.before if kind.endswith(BEFORE) else self.evenkeel

    def versions(self):
        before = {"before": f"{output(self.before, '--version')}, {self.before.name}"} if self.before else {}
        return {
            "evenkeel": output(self.evenkeel, "--version"),
            **before,
            "profile": self.evenkeel.parent.name,
            "nginx": output(self.nginx, "-v", env=self.nginx_env),
            "haproxy": output(self.haproxy, "-v", env=self.haproxy_env).splitlines()[0],
        }


def with_before(kinds):
    """Puts the earlier build right after the current one, so that they run at nearly the same time."""
    pairs = [[kind, kind + BEFORE] if kind.startswith("evenkeel") else [kind] for kind in kinds]
    return [kind for pair in pairs for kind in pair]


def debian(name, version):
    """The machine's program, or Debian's unpacked below target/ (starting no service), with its environment."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if found:
        return found, dict(os.environ)
    folder = ROOT / "target" / "tools" / name
    binary = folder / "usr" / "sbin" / name
    if not binary.exists():
        print(f"bench: {name} is missing: unpacking Debian's into target/tools/{name}", file=sys.stderr)
        unpack(PACKAGES[name], folder)
    env = dict(os.environ)
    libraries = [str(path) for path in (folder / "usr" / "lib").glob("*-linux-gnu*")]
    env["LD_LIBRARY_PATH"] = ":".join(libraries)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not binary.exists() or subprocess.call([binary, version], env=env, **quiet) != 0:
        stop_with(f"{binary} does not run here: install {name} by hand (Debian: apt-get install {name})")
    return str(binary), env


def unpack(packages, folder):
    folder.mkdir(parents=True, exist_ok=True)
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        if subprocess.call(["apt-get", "download", *packages], **quiet) != 0:
            subprocess.call(["apt-get", "update"], **quiet)
            subprocess.check_call(["apt-get", "download", *packages], **quiet)
        for package in folder.glob("*.deb"):
            subprocess.check_call(["dpkg-deb", "-x", package, folder], **quiet)
    except (OSError, subprocess.CalledProcessError):
        stop_with(f"cannot get {packages[0]}: install it by hand (Debian: apt-get install {packages[0]})")


def built(name):
    # in the release profile, whose dependencies are already built
    command = ["cargo", "bench", "--locked", "--bench", name, "--no-run", "--message-format=json"]
    out = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if out.returncode != 0:
        stop_with(f"tests/bench/{name}.rs cannot be built")
    artifacts = [json.loads(line) for line in out.stdout.splitlines()]
    return next(a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == name)
