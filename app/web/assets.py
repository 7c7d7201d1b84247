"""Static files under addresses that carry the hash of their content, so that browsers may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from urllib.parse import quote

from flask import Blueprint, Response, make_response, request

import app as package
from app.web.problems import NotHere

TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
FOR_EVER = "public, max-age=31536000, immutable"
HASH_CHARS = 16


def folder(name: str) -> Path:
    """`templates` or `static`: in the wheel beside the package's rooms, in a checkout beside the package."""
    package_dir = Path(package.__file__).parent
    shipped = package_dir / "_web" / name
    return shipped if shipped.is_dir() else package_dir.parent / name


class Assets:
    """Every file below static/, read once; small enough to keep, plain and gzipped."""

    def __init__(self, root: Path) -> None:
        self._by_url: dict[str, tuple[bytes, bytes, str]] = {}
        self._url_of: dict[str, str] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix in TYPES and path.is_file():
                content = path.read_bytes()
                name = path.relative_to(root).as_posix()
                url = f"{hashlib.sha256(content).hexdigest()[:HASH_CHARS]}/{name}"
                self._by_url[url] = (content, gzip.compress(content, 9, mtime=0), TYPES[path.suffix])
                self._url_of[name] = f"/static/{url}"

    def url(self, name: str) -> str:
        """Address of a file by its name below static/; KeyError is a template naming what is not there."""
        return self._url_of[name]

    def inline(self, name: str) -> str:
        """A small file as an address that holds it: one request less."""
        content, _, content_type = self._by_url[self._url_of[name].removeprefix("/static/")]
        return f"data:{content_type.partition(';')[0]},{quote(content)}"

    def find(self, url: str) -> tuple[bytes, bytes, str] | None:
        """Content, gzipped content and type; None unless both the hash and the name are right."""
        return self._by_url.get(url)


def blueprint(assets: Assets) -> Blueprint:
    """GET /static/HASH/NAME."""
    bp = Blueprint("assets", __name__)

    @bp.get("/static/<path:url>")
    def static(url: str) -> Response:
        found = assets.find(url)
        if found is None:
            raise NotHere("such file")
        content, zipped, content_type = found
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        response = make_response(zipped if packed else content)
        response.headers["Content-Type"] = content_type
        response.headers["Cache-Control"] = FOR_EVER
        response.headers["Vary"] = "Accept-Encoding"
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        return response

    return bp
