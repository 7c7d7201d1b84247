"""What a first view may cost: requests, and elements of the page."""

from __future__ import annotations

import pytest

from tests.functional.conftest import Service, Windows

pytestmark = [pytest.mark.browser, pytest.mark.kernel]
MAX_REQUESTS = 5
MAX_ELEMENTS = 15_000


@pytest.mark.parametrize("path", ["/", "/maps/:flows:", "/maps/:stacks:", "/maps/:type_zoo:/schema"])
def test_first_view(windows: Windows, service: Service, path: str) -> None:
    visitor = windows.new()
    asked: list[str] = []
    visitor.page.on("request", lambda request: None if request.url.startswith("data:") else asked.append(request.url))
    for name, map_id in service.maps().items():
        path = path.replace(f":{name}:", str(map_id))
    visitor.go(path)
    visitor.page.wait_for_load_state("networkidle")
    assert len(asked) <= MAX_REQUESTS
    assert visitor.page.evaluate("document.querySelectorAll('*').length") <= MAX_ELEMENTS
    assert visitor.complaints == []
