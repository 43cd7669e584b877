"""The rules and the dashboard: right by promtool, and each expression answered by a live Prometheus."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from qwentts_grpc.processes.supervisor import process_metrics
from qwentts_grpc.server.config import ServerConfig
from qwentts_grpc.server.server import Server
from tests.service.conftest import cancel, config, failure, send, serving, text, turn

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timing]

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES, RULES_TEST = DEPLOY / "prometheus/rules.yml", DEPLOY / "prometheus/rules_test.yml"
DASHBOARD = DEPLOY / "grafana/dashboard.json"
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$job": ".*", "$model": ".*"}
LABELS = {"grpc_code", "grpc_method"}
ABSENT = {  # from a server on a CPU, without TLS and tenants
    "Audio of tenants, and their limits A",
    "Audio of tenants, and their limits B",
    "Certificates end in A",
    "GPU memory A",
    "Graphs B",
    "Open turns of tenants A",
}


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Every expression of the dashboard, by its panel and letter."""
    found = {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]}
    for variable, value in VARIABLES.items():
        found = {name: expression.replace(variable, value) for name, expression in found.items()}
    return found


@asynccontextmanager
async def prometheus(target: int, folder: Path) -> AsyncIterator[str]:
    """A Prometheus that scrapes the port `target` and holds our rules; its address."""
    settings = {
        "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "qwentts", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML too
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
    )
    process = subprocess.Popen([tool("prometheus"), *flags], stderr=subprocess.DEVNULL)
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


async def ask(address: str, path: str, **query: str) -> Any:
    """The data that Prometheus's HTTP API answers with."""

    def fetch() -> Any:
        with urllib.request.urlopen(f"{address}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
            return json.load(answer)["data"]

    return await asyncio.to_thread(fetch)


async def scraped(address: str) -> None:
    """Wait until there are scrapes enough for a rate."""
    async with asyncio.timeout(30):
        while True:
            try:
                found = (await ask(address, "query", query="count_over_time(tts_ready[1m])"))["result"]
                if found and int(found[0]["value"][1]) >= 3:
                    return
            except OSError:
                pass  # it is not up yet
            await asyncio.sleep(0.1)


async def test_promtool_is_content_with_the_rules() -> None:
    for arguments in (("check", "rules", RULES), ("test", "rules", RULES_TEST)):
        done = subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_every_alert_has_a_test() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert alerts == re.findall(r"alertname: (\w+)", RULES_TEST.read_text())


async def test_every_metric_that_is_asked_for_exists() -> None:
    assert asked() <= exported()


async def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    assert exported() <= asked()


async def test_every_metric_is_explained() -> None:
    text = (DEPLOY / "README.md").read_text()
    named = {re.sub(r"_(total|seconds_total)$", "", name) for name in re.findall(r"`((?:tts|grpc)_\w+)", text)}
    shortened = {"tts_engine_sequences_parked", "tts_engine_sequences_paced", "tts_voice_prompt_cache_misses"}
    stems = {re.sub(r"_seconds$", "", name) for name in named | shortened}
    ours = {name for name in exported() if not name.startswith("process_")}
    assert {re.sub(r"_seconds$", "", name) for name in ours} == stems


def asked() -> set[str]:
    """Metrics of rules and dashboard, without the suffixes of their series."""
    names = re.findall(r"\b(?:tts|grpc|process)_\w+", RULES.read_text() + " ".join(expressions().values()))
    return {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in names} - LABELS


def exported() -> set[str]:
    processes = CollectorRegistry()
    process_metrics(processes)
    families = (*Server(ServerConfig("unused")).metrics.registry.collect(), *processes.collect())
    return {f"{family.name}_info" if family.type == "info" else family.name for family in families}


async def test_every_panel_has_a_place_a_unit_and_a_description() -> None:
    cells = [cell for panel in panels() for cell in covered(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert len({panel["title"] for panel in panels()}) == len(panels()) > 40
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels())
    assert [panel["title"] for panel in panels() if len(panel["description"]) < 30] == []
    assert {panel["type"] for panel in panels()} == {"stat", "timeseries"}


def covered(place: dict[str, int]) -> list[tuple[int, int]]:
    columns = range(place["x"], place["x"] + place["w"])
    assert columns[-1] < 24
    return [(column, row) for column in columns for row in range(place["y"], place["y"] + place["h"])]


async def test_what_an_alert_watches_has_its_line_on_the_dashboard() -> None:
    named = re.findall(r"[Tt]he alert (\w+)", DASHBOARD.read_text())
    assert set(named) <= set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    for panel in panels():
        if re.search(r"Line: ", panel["description"]):
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["custom"]["thresholdsStyle"] == {"mode": "line"}, panel["title"]
            assert len(defaults["thresholds"]["steps"]) > 1


async def test_a_live_prometheus_answers_every_expression(checkpoint: Path, tmp_path: Path) -> None:
    tool("prometheus")
    async with serving(checkpoint, max_speeches=2) as running, prometheus(running.side_port, tmp_path) as address:
        await scraped(address)
        for _ in range(3):
            await turn(running, config(0.8), text("Hello there."))
            await turn(running, config(8.0), text("Hello there."), 0.2, cancel())
            await failure(running.stub.Synthesize(send([config(voice="nobody"), text("Hello there.")])))
        await asyncio.sleep(0.6)
        answers = {name: await ask(address, "query", query=query) for name, query in expressions().items()}
        rules = (await ask(address, "rules"))["groups"][0]["rules"]
    assert {name for name, answer in answers.items() if not answer["result"]} == ABSENT
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"} and len(rules) == len(
        RULES.read_text().split("- alert:")
    ) - 1
