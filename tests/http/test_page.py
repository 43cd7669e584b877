"""The page in a real browser, on a server with the embedded voice and a model that clones."""

import io
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile

from clients.demo import free_port
from clients.examples.server import serving
from engine.checkpoint.dummy import write_checkpoint
from engine.checkpoint.embedded import embedded_checkpoint
from tests.service.test_kinds import recording

from .conftest import Door
from .test_speech import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
PHONE = {"viewport": {"width": 360, "height": 780}, "is_mobile": True, "has_touch": True}
LONG = "The sun is rising over the hills, and the birds are singing in the old tree. " * 4

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: Debian's package of that name has it"),
]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    base = write_checkpoint(tmp_path_factory.mktemp("page") / "base", "0.6B-Base", seed=5)
    address = f"127.0.0.1:{free_port()}"
    models = (f"--model={embedded_checkpoint()}", f"--model={base}")
    with serving(address, "--metrics-port=0", "--log-level=error", "--require-consent", *models), Door(address) as door:
        yield door


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """With a microphone that hears a recording."""
    tools = pytest.importorskip("playwright.sync_api")
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    soundfile.write(heard, *soundfile.read(io.BytesIO(recording())), subtype="PCM_16")
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={heard}"]
    with tools.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(door: Door, browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, ready to speak; no error may be in its console."""
    page = browser.new_page(**getattr(request, "param", {}))
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{door.url}/")
    page.wait_for_selector("#voice option", state="attached")
    yield page
    page.close()
    assert not wrong


def said(page: Any, text: str) -> None:
    page.wait_for_selector(f"#said:text-is('{text}')")


def spoken(page: Any) -> io.BytesIO:
    """The WAV file that the page offers."""
    page.wait_for_selector("#download:visible")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "speech.wav"
    return io.BytesIO(Path(download.value.path()).read_bytes())


def test_a_click_speaks(page: Any) -> None:
    page.fill("#text", "The sun is rising.")
    page.click("#speak")
    info = soundfile.info(spoken(page))
    assert (info.samplerate, info.channels, info.subtype) == (24_000, 1, "PCM_16") and info.duration > 0.4
    said(page, "Done.")
    assert page.inner_text("#length") == f"{info.duration:.1f} s"
    assert re.fullmatch(r"\d+ ms", page.inner_text("#first")) and re.fullmatch(r"\d+\.\d\d", page.inner_text("#factor"))
    drawn = "[...document.querySelector('canvas').getContext('2d').getImageData(0, 0, 600, 200).data].some(Boolean)"
    assert page.evaluate(drawn)


def test_words_and_keys(page: Any, door: Door) -> None:
    page.check("input[value=words]", force=True)
    page.fill("#text", LONG)
    page.press("#text", "Control+Enter")
    said(page, "Speaking.")
    assert httpx.get(f"{door.url}/status").json()["speaking"] == 1
    page.keyboard.press("Escape")
    said(page, "Stopped.")
    eventually(lambda: httpx.get(f"{door.url}/status").json()["speaking"] == 0)
    assert soundfile.info(spoken(page)).duration > 0


def test_typed_text_is_spoken_while_it_is_typed(page: Any) -> None:
    page.check("input[value=typed]", force=True)
    page.fill("#text", "")
    page.click("#speak")
    page.focus("#text")
    page.keyboard.type("One two three four five six. ")
    page.wait_for_selector("#length:not(:text-is('–'))")  # before the text has ended
    page.keyboard.type("seven")
    page.click("#speak:text-is('Finish')")
    assert soundfile.info(spoken(page)).duration > 0.5


def test_a_recording_needs_consent(page: Any) -> None:
    page.select_option("#model", "base")
    page.click("#reference summary")
    page.click("#record")
    time.sleep(2.5)
    page.click("#record")
    page.wait_for_selector("#recording:has-text('ready')")
    page.click("#speak")
    page.wait_for_selector("#said.bad:has-text('consented')")
    page.check("#consent")
    page.click("#speak")
    page.wait_for_selector("#said.bad:has-text('on record')")
    page.fill("#consent-reference", "file 7")
    page.click("#speak")
    said(page, "Speaking.")
    page.click("#stop")
    said(page, "Stopped.")


def test_a_refusal_is_shown(page: Any) -> None:
    page.fill("#text", "...")
    page.click("#speak")
    page.wait_for_selector("#said.bad:not(:empty)")
    assert page.is_enabled("#speak") and page.is_disabled("#stop")


@pytest.mark.parametrize("page", [PHONE, PHONE | {"color_scheme": "dark"}], indirect=True)
def test_a_phone_shows_all_of_it(page: Any) -> None:
    page.click("#reference summary")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.is_visible("#speak")


def test_dark_and_light(door: Door, browser: Any) -> None:
    grounds = set()
    for scheme in ("dark", "light"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"{door.url}/")
        grounds.add(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        page.close()
    assert len(grounds) == 2


def test_nothing_comes_from_elsewhere(door: Door, browser: Any) -> None:
    page, asked = browser.new_page(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{door.url}/", wait_until="networkidle")
    assert asked and all(url.startswith(door.url) for url in asked)
    assert page.evaluate("fetch('http://127.0.0.1:1/').then(() => false, () => true)")
    page.close()
    policy = httpx.get(f"{door.url}/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'") and "unsafe" not in policy
