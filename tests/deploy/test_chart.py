"""The Helm chart: rendered by Helm's own library, valid for Kubernetes, and asking the server for what it has."""

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

import qwentts_client
from qwentts_grpc.cli import flags
from qwentts_grpc.cli.http import HTTP
from tests.deploy.test_unit import LONGEST_CLOSE

helm = pytest.importorskip("helm_python", reason="helm-python-sdk is not installed")

HELM = Path("deploy/helm")
CHART = HELM / "qwentts-grpc"
CASES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
OTHERS = {"monitoring.coreos.com/v1", "keda.sh/v1alpha1"}  # their definitions are not Kubernetes' own
Object = dict[str, Any]


def values(case: str) -> Object:
    return dict(yaml.safe_load(CASES[case].read_text()))


def render(given: Object) -> list[Object]:
    with helm.Chart.load(str(CHART)) as chart:
        texts = chart.render(given, name="demo", namespace="prod").values()
    return [made for text in texts for made in yaml.safe_load_all(text) if made]


@cache
def rendered(case: str) -> list[Object]:
    return render(values(case))


def one(case: str, kind: str, name: str = "demo-qwentts") -> Object:
    (found,) = (made for made in rendered(case) if (made["kind"], made["metadata"]["name"]) == (kind, name))
    return found


def pod(case: str) -> Object:
    return dict(one(case, "Deployment")["spec"]["template"]["spec"])


def server(case: str) -> Object:
    (container,) = pod(case)["containers"]
    return dict(container)


def options(case: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    flags.SERVE.add(parser)
    command, *arguments = server(case)["args"]
    assert command == "serve"
    return parser.parse_args(arguments)


def test_it_lints_and_has_the_version_of_the_server() -> None:
    found = helm.lint(str(CHART))
    assert not found["errors"] and [each["error"] for each in found["messages"]] == ["icon is recommended"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == qwentts_client.__version__


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid_by_the_schemas_of_kubernetes(case: str, version: str) -> None:
    # Imported here: it parses grammars for seconds.
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for made in rendered(case):
        if made["apiVersion"] not in OTHERS:
            kubernetes_validate.validate(made, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_the_server_takes_its_arguments(case: str) -> None:
    taken, given = options(case), values(case)
    assert taken.model == given.get("models") and taken.insecure == given.get("insecure", False)
    assert (taken.host, taken.metrics_host, taken.log_format) == ("0.0.0.0", "0.0.0.0", "json")
    assert bool(taken.token_file) == ("tokens" in given) and bool(taken.tls_client_ca) == ("tls" in given)
    for flag, value in given.get("flags", {}).items():
        assert getattr(taken, flag.replace("-", "_")) == value


@pytest.mark.parametrize("case", CASES)
def test_a_pod_is_given_more_time_than_its_longest_turn(case: str) -> None:
    wanted = values(case).get("drainSeconds", 120)
    assert options(case).drain_seconds == wanted
    stop = int(server(case)["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod(case)["terminationGracePeriodSeconds"] >= wanted + stop + LONGEST_CLOSE


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_the_side_port(case: str) -> None:
    taken = options(case)
    ports = {port["name"]: port["containerPort"] for port in server(case)["ports"]}
    assert ports == {"grpc": taken.port, "metrics": taken.metrics_port}
    paths = {name: server(case)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in paths.items()} == {
        "startup": "/readyz",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in paths.values()} == {"metrics"}
    startup = server(case)["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 900


@pytest.mark.parametrize("case", CASES)
def test_it_may_do_little(case: str) -> None:
    assert pod(case)["securityContext"]["runAsNonRoot"] and not pod(case)["automountServiceAccountToken"]
    assert pod(case)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert server(case)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
    }
    assert pod(case)["enableServiceLinks"] is False  # QWENTTS_PORT=tcp://... would be taken for a flag
    mounts = {mount["name"]: mount for mount in server(case)["volumeMounts"]}
    assert {volume["name"] for volume in pod(case)["volumes"]} == mounts.keys()
    for volume in pod(case)["volumes"]:
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440 and mounts[volume["name"]]["readOnly"]


def test_files_of_secrets_are_those_that_are_mounted() -> None:
    tokens = {mount["mountPath"] for mount in server("tokens-keda")["volumeMounts"]}
    assert str(options("tokens-keda").token_file.parent) in tokens
    tls, mounts = options("tls-hpa"), {mount["mountPath"] for mount in server("tls-hpa")["volumeMounts"]}
    assert {str(path.parent) for path in (tls.tls_cert, tls.tls_key, tls.tls_client_ca)} <= mounts


def test_a_gpu_is_asked_for_unless_there_shall_be_none() -> None:
    assert server("tokens-keda")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert server("tls-hpa")["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert server("tls-hpa")["image"].endswith(f":{qwentts_client.__version__}-cuda")
    assert "nvidia.com/gpu" not in server("cpu")["resources"]["limits"]
    assert server("cpu")["image"].endswith("-cpu")
    assert [options(case).device for case in CASES] == ["auto", "all", "auto"]


@pytest.mark.parametrize("case", CASES)
def test_clients_find_each_pod_and_others_no_port(case: str) -> None:
    headless, labels = one(case, "Service", "demo-qwentts-headless"), one(case, "Deployment")["spec"]["template"]
    assert headless["spec"]["clusterIP"] == "None"
    assert headless["spec"]["selector"].items() <= labels["metadata"]["labels"].items()
    policy, budget = one(case, "NetworkPolicy")["spec"], one(case, "PodDisruptionBudget")["spec"]
    for selector in (policy["podSelector"], budget["selector"], one(case, "Deployment")["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels["metadata"]["labels"].items()
    assert all(rule["from"] and rule["ports"] for rule in policy["ingress"])
    downloads = {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443}
    assert downloads == (case != "tls-hpa")


def test_created_voices_are_one_claim_for_all_replicas() -> None:
    claim = one("tokens-keda", "PersistentVolumeClaim", "demo-qwentts-voices")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    volumes = {volume["name"]: volume for volume in pod("tokens-keda")["volumes"]}
    assert volumes["voices"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "emptyDir" in {volume["name"]: volume for volume in pod("cpu")["volumes"]}["voices"]


@pytest.mark.parametrize("case", [case for case in CASES if case != "cpu"])
def test_the_monitor_finds_its_service_and_the_rules_their_job(case: str) -> None:
    monitor, rules = one(case, "ServiceMonitor"), one(case, "PrometheusRule")
    service = one(case, "Service", "demo-qwentts-headless")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert {"targetLabel": "job", "replacement": "qwentts", "action": "replace"} in endpoint["relabelings"]
    assert rules["spec"] == yaml.safe_load(Path("deploy/prometheus/rules.yml").read_text())
    for made in (monitor, rules):
        assert values(case)["monitoring"].get("labels", {}).items() <= made["metadata"]["labels"].items()


@pytest.mark.parametrize("case", ["tls-hpa", "tokens-keda"])
def test_the_http_endpoint_stands_before_all_pods(case: str) -> None:
    made = one(case, "Deployment", "demo-qwentts-http")["spec"]["template"]
    (container,) = made["spec"]["containers"]
    parser = argparse.ArgumentParser()
    HTTP.add(parser)
    command, *arguments = container["args"]
    taken = parser.parse_args(arguments)
    assert command == "http" and taken.server == "demo-qwentts-headless:50051"
    assert [port["containerPort"] for port in container["ports"]] == [taken.port]
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(path.parent) for path in (taken.tls_ca, taken.tls_cert, taken.tls_key) if path} <= mounts
    assert container["securityContext"] == server(case)["securityContext"]
    assert made["spec"]["securityContext"] == pod(case)["securityContext"]
    allowed = one(case, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    selectors = [peer["podSelector"].get("matchLabels", {}) for peer in allowed if "podSelector" in peer]
    assert any(selector.items() <= made["metadata"]["labels"].items() for selector in selectors)
    assert not one(case, "Deployment")["spec"]["selector"]["matchLabels"].items() <= made["metadata"]["labels"].items()


def test_the_dashboard_is_the_one_of_this_repository() -> None:
    (text,) = one("tokens-keda", "ConfigMap", "demo-qwentts-dashboard")["data"].values()
    assert json.loads(text) == json.loads(Path("deploy/grafana/dashboard.json").read_text())


def recorded() -> set[str]:
    groups = yaml.safe_load(Path("deploy/prometheus/rules.yml").read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_the_autoscalers_go_by_recorded_figures() -> None:
    adapter = yaml.safe_load((HELM / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert {rule["seriesQuery"].partition("{")[0] for rule in adapter} == recorded()
    scaler = one("tls-hpa", "HorizontalPodAutoscaler")["spec"]
    named = {metric["pods"]["metric"]["name"] for metric in scaler["metrics"]}
    assert named == {rule["name"]["as"] for rule in adapter}
    assert "replicas" not in one("tls-hpa", "Deployment")["spec"]
    triggers = one("tokens-keda", "ScaledObject")["spec"]["triggers"]
    assert all(any(name in trigger["metadata"]["query"] for name in recorded()) for trigger in triggers)
    assert all('pod=~"demo-qwentts-.*"' in trigger["metadata"]["query"] for trigger in triggers)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"insecure": True, "drainSecond": 30},
        {"insecure": True, "gpu": {"count": -1}},
        {"insecure": True, "flags": {"token-file": "/elsewhere"}},
        {"insecure": True, "flags": {"Max_Queue": 3}},
        {"tls": {"clientCA": True}},
        {"tls": {"clientCA": True, "secret": "tls"}, "http": {"enabled": True}},
        {"insecure": True, "autoscaling": {"kind": "hpa", "minReplicas": 4, "maxReplicas": 2}},
        {"insecure": True, "cache": {"size": "much"}},
    ],
    ids=str,
)
def test_bad_values_are_refused(given: Object) -> None:
    with pytest.raises(helm.HelmError):
        render(given)
