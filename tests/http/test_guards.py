"""Which pages may call: of another site none, unless it is allowed by name."""

from collections.abc import Iterator

import httpx
import pytest

from tests.client.fake import Fake

from .conftest import Door

WANTED = {"input": "Hello.", "response_format": "pcm"}


@pytest.fixture
def open_door(fake: Fake) -> Iterator[Door]:
    with Door(fake.address, origins=("https://friend.example",)) as door:
        yield door


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_a_foreign_page_is_refused(fake: Fake, door: Door, origin: str) -> None:
    answer = httpx.post(f"{door.url}/v1/audio/speech", json=WANTED, headers={"origin": origin})
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert not fake.turns


def test_a_name_that_points_here_is_refused(door: Door) -> None:
    for host in ("evil.example", f"evil.example:{door.port}", "["):
        assert httpx.get(f"{door.url}/livez", headers={"host": host}).status_code == 403
    assert httpx.get(f"{door.url}/livez", headers={"host": ""}).status_code == 200  # a probe without one


def test_the_own_page_may_call(door: Door) -> None:
    for host in (f"127.0.0.1:{door.port}", f"localhost:{door.port}", f"[::1]:{door.port}"):
        headers = {"host": host, "origin": f"http://{host}"}
        assert httpx.post(f"{door.url}/v1/audio/speech", json=WANTED, headers=headers).status_code == 200


def test_an_allowed_page_may_call(open_door: Door) -> None:
    headers = {"origin": "https://friend.example"}
    answer = httpx.post(f"{open_door.url}/v1/audio/speech", json=WANTED, headers=headers)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://friend.example")
    asked = {**headers, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    assert httpx.options(f"{open_door.url}/v1/audio/speech", headers=asked).status_code == 200
    assert httpx.get(f"{open_door.url}/v1/models", headers={"host": "friend.example"}).status_code == 200
