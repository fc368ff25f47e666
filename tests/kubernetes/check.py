"""Checks the Helm chart and the plain manifests of deploy/: Helm's own lint and rendering, the schemas of Kubernetes, what an update
needs, and that both say the same. Called by tests/kubernetes/run, which brings the packages.

    check.py RENDERED           writes each config found there as *.yaml for `evenkeel check`, and ServiceMonitors as *.json
    check.py RENDERED --write   writes deploy/kubernetes from the chart first
"""

import json
import pathlib
import re
import sys

import helm_python as helm
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/evenkeel"
PLAIN = ROOT / "deploy/kubernetes"
# the oldest that Chart.yaml admits, and the newest that the schemas know
VERSIONS = ["1.27", "1.30", "1.34", "1.37"]
# Helm alone has a use for these
OF_HELM = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n", re.M)

MORE = {
    "defaults": {},
    "everything": {
        "image": {"repository": "registry.example.org/evenkeel", "tag": "1"},
        "imagePullSecrets": [{"name": "registry"}],
        "replicas": 3,
        "nodes": [
            {"name": "llama", "selector": {"app": "llama", "tier": "gpu"}, "port": 8000},
            {"name": "qwen", "selector": {"app": "qwen"}, "port": 30000},
        ],
        "env": [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "word"}}}],
        "envFrom": [{"secretRef": {"name": "more"}}],
        "volumes": [{"name": "keys", "secret": {"secretName": "keys"}}],
        "volumeMounts": [{"name": "keys", "mountPath": "/etc/evenkeel-keys", "readOnly": True}],
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}, "labels": {"c": "d"}},
        "serviceMonitor": {"enabled": True, "interval": "30s", "labels": {"release": "prometheus"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "gateway", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "resources": {},
        "podDisruptionBudget": {"maxUnavailable": "30%"},
    },
    "no_nodes": {"nodes": []},
}
# what the schema of the values must refuse
WRONG = [
    {"replicas": 0},
    {"replica": 2},
    {"nodes": [{"name": "x", "selector": {}, "port": 8000}]},
    {"nodes": [{"name": "X", "selector": {"a": "b"}, "port": 8000}]},
    {"volumeMounts": [{"name": "x", "mountPath": "/x", "subPath": "y"}]},
    {"config": ""},
    {"service": {"type": "ExternalName"}},
]

bad = []


def fault(where, what):
    bad.append(f"{where}: {what}")


def render(values, name="evenkeel", namespace="default"):
    """Text by the name of its template."""
    with helm.Chart.load(CHART) as chart:
        rendered = chart.render(values, name=name, namespace=namespace)
    texts = {pathlib.PurePath(path).name: text for path, text in rendered.items()}
    return {name: text for name, text in texts.items() if name.endswith(".yaml") and text.strip()}


def objects(texts):
    return [item for text in texts.values() for item in yaml.safe_load_all(text) if item]


def lint():
    for name, values in MORE.items():
        report = helm.lint(CHART, values, strict=True)
        problems = [m["error"] for m in report["messages"] if m["severity"] >= 2 or "icon" not in m["error"]]
        for problem in problems + report["errors"]:
            fault(f"lint, {name}", problem)
    for values in WRONG:
        try:
            render(values)
            fault("values.schema.json", f"lets {values} pass")
        except helm.HelmError:
            pass


def against_schemas(where, items):
    for item in items:
        if item["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                at = ".".join(str(part) for part in error.path)
                fault(where, f"{item['kind']} {item['metadata']['name']}, Kubernetes {version}: {at}: {error.message}")


def seconds(text):
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    parts = re.findall(r"(\d+)(ms|s|m|h)?", str(text))
    return sum(int(number) * units[unit or "s"] for number, unit in parts)


def one(items, kind):
    return next(item for item in items if item["kind"] == kind)


def an_update_loses_nothing(where, items):
    """The parts fit together: names, ports, selectors, and the times of a stop."""
    deployment, config_map = one(items, "Deployment"), one(items, "ConfigMap")
    pod = deployment["spec"]["template"]
    spec, container = pod["spec"], pod["spec"]["containers"][0]
    server = yaml.safe_load(config_map["data"]["evenkeel.yaml"])["server"]
    stop = seconds(container["lifecycle"]["preStop"]["exec"]["command"][1])
    stop += seconds(server["stop_delay"]) + seconds(server["drain_timeout"])
    checks = {
        "terminationGracePeriodSeconds is above preStop, stop_delay and drain_timeout together":
            spec["terminationGracePeriodSeconds"] > stop,
        "2 replicas or more": deployment["spec"]["replicas"] >= 2,
        "no gateway leaves before another is ready":
            deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0},
        "the config is watched, in the mounted folder":
            container["args"] == ["run", "--watch", "-c", "/etc/evenkeel/evenkeel.yaml"]
            and {"name": "config", "mountPath": "/etc/evenkeel", "readOnly": True} in container["volumeMounts"]
            and {"name": "config", "configMap": {"name": config_map["metadata"]["name"]}} in spec["volumes"],
        "not root, and nothing to write to":
            spec["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
            and container["securityContext"]["capabilities"] == {"drop": ["ALL"]},
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    checks["the ports are those of the config"] = ports == {
        "http": int(str(server["listen"]).rsplit(":", 1)[1]),
        "probes": int(str(server["admin"]["probes"]).rsplit(":", 1)[1]),
    }
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        checks[f"{probe} asks the address of the probes"] = container[probe]["httpGet"]["port"] == "probes"
    labels = pod["metadata"]["labels"].items()
    for item in items:
        component = item["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        selector = item["spec"].get("selector", {}) if item["kind"] in ("Service", "PodDisruptionBudget", "Deployment") else {}
        selector = selector.get("matchLabels", selector)
        if component != "nodes" and selector:
            checks[f"{item['kind']} {item['metadata']['name']} finds the pods"] = selector.items() <= labels
        if item["kind"] == "Service" and component == "nodes":
            checks[f"{item['metadata']['name']} is headless"] = item["spec"]["clusterIP"] == "None"
    metrics = next(i for i in items if i["kind"] == "Service" and i["metadata"]["name"].endswith("-metrics"))
    for monitor in (item for item in items if item["kind"] == "ServiceMonitor"):
        wants = monitor["spec"]["selector"]["matchLabels"].items()
        checks["the ServiceMonitor finds the metrics"] = (
            wants <= metrics["metadata"]["labels"].items()
            and monitor["spec"]["endpoints"][0]["port"] == metrics["spec"]["ports"][0]["name"]
        )
    for check, holds in checks.items():
        if not holds:
            fault(where, f"does not hold: {check}")


def plain(text):
    return OF_HELM.sub("", text).strip() + "\n"


def from_chart():
    """The plain manifests, as they follow from the chart."""
    header = "# Made from the chart in deploy/helm: change that, then `tests/kubernetes/run --write`.\n"
    return {name: header + plain(text) for name, text in render({"serviceMonitor": {"enabled": True}}).items()}


def write(files):
    PLAIN.mkdir(exist_ok=True)
    for name, text in files.items():
        (PLAIN / name).write_text(text)


def keep(folder, name, items):
    """For the checks that follow."""
    config = one(items, "ConfigMap")["data"]["evenkeel.yaml"]
    (folder / f"{name}.yaml").write_text(config)
    for monitor in (item for item in items if item["kind"] == "ServiceMonitor"):
        (folder / f"{name}.json").write_text(json.dumps(monitor))


def main():
    folder = pathlib.Path(sys.argv[1])
    wanted = from_chart()
    if "--write" in sys.argv:
        write(wanted)
    lint()
    sets = {f"the chart, {name}": objects(render(values, name="x")) for name, values in MORE.items()}
    for name, text in wanted.items():
        file = PLAIN / name
        if not file.exists() or file.read_text() != text:
            fault(file.relative_to(ROOT), "is not what the chart gives; run tests/kubernetes/run --write")
    kustomization = yaml.safe_load((PLAIN / "kustomization.yaml").read_text())
    listed = set(kustomization["resources"]) | {"servicemonitor.yaml"}
    if listed != set(wanted):
        fault("deploy/kubernetes/kustomization.yaml", f"lists {sorted(listed)}, there are {sorted(wanted)}")
    sets["deploy/kubernetes"] = objects({name: (PLAIN / name).read_text() for name in wanted if (PLAIN / name).exists()})
    for number, (name, items) in enumerate(sets.items()):
        against_schemas(name, items)
        an_update_loses_nothing(name, items)
        keep(folder, str(number), items)
        print(f"{name}: {len(items)} objects against Kubernetes {', '.join(VERSIONS)}")
    print(f"Helm {helm.helm_sdk_version()}: lint and rendering with {len(MORE)} sets of values, {len(WRONG)} that must be refused")
    for text in bad:
        print(f"FAILED {text}")
    sys.exit(bool(bad))


main()
