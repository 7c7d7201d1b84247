"""A small OpenID Connect provider in a process of its own: `python tests/web/provider.py PORT-FILE [MISBEHAVIOUR]`.

It knows one service and one person, checks PKCE and the service's secret, and signs by a key that it makes at its start.
Each misbehaviour is chosen by name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwk, jwt

CLIENT, SECRET, PERSON = "bpf-atlas", "a secret of this test", "alice"
MISBEHAVIOURS = {
    "honest": "",
    "another nonce": "its answer cannot be used",
    "another audience": "its answer cannot be used",
    "two audiences": "meant for another service",
    "another issuer": "its answer cannot be used",
    "another name": "calls itself by another name",
    "expired": "its answer cannot be used",
    "unsigned": "its answer cannot be used",
    "signed by the secret": "its answer cannot be used",
    "signed by another key": "its answer cannot be used",
    "nobody": "no preferred_username",
    "refuses": "it refused (access_denied)",
    "fails": "does not answer",
    "talks nonsense": "does not answer",
}


class Provider(BaseHTTPRequestHandler):
    key = jwk.RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
    other = jwk.RSAKey.generate_key(2048, {"kid": "1"})
    mode = "honest"
    codes: ClassVar[dict[str, dict[str, str]]] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self.document()
        elif parts.path == "/keys":
            self.send({"keys": [self.key.as_dict(private=False)]})
        elif parts.path == "/authorize":
            self.authorize(asked)
        else:
            self.send({}, 404)

    def document(self) -> None:
        if self.mode == "fails":
            self.send({}, 500)
        elif self.mode == "talks nonsense":
            self.send("nonsense")
        else:
            issuer = "https://evil.example" if self.mode == "another name" else self.issuer
            self.send({
                "issuer": issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            })  # fmt: skip

    def authorize(self, asked: dict[str, str]) -> None:
        right = asked["client_id"] == CLIENT and asked["response_type"] == "code" and "openid" in asked["scope"].split()
        if not right or asked["code_challenge_method"] != "S256":
            self.send({}, 400)
            return
        code = f"code{len(self.codes)}"
        self.codes[code] = asked
        answer = {"state": asked["state"], "code": code}
        if self.mode == "refuses":
            answer = {"state": asked["state"], "error": "access_denied"}
        self.send_response(302)
        self.send_header("Location", asked["redirect_uri"] + "?" + urlencode(answer))
        self.end_headers()

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        sent = {name: values[0] for name, values in body.items()}
        who = base64.b64decode(self.headers.get("Authorization", "").partition(" ")[2]).decode()
        asked = self.codes.pop(sent.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest()).rstrip(
            b"="
        )
        if who != f"{CLIENT}:{SECRET.replace(' ', '+')}" and who != f"{CLIENT}:{SECRET}":
            self.send({"error": "invalid_client"}, 401)
        elif (
            asked is None
            or asked["code_challenge"] != challenge.decode()
            or asked["redirect_uri"] != sent["redirect_uri"]
        ):
            self.send({"error": "invalid_grant"}, 400)
        else:
            self.send({"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])})

    def id_token(self, nonce: str) -> str:
        now_s = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.issuer, "sub": "1", "aud": CLIENT, "iat": now_s, "exp": now_s + 300, "nonce": nonce,
            "preferred_username": PERSON,
        }  # fmt: skip
        match self.mode:
            case "another nonce":
                claims["nonce"] = "x"
            case "another audience":
                claims["aud"] = "another"
            case "two audiences":
                claims["aud"] = [CLIENT, "another"]
            case "another issuer":
                claims["iss"] = "https://evil.example"
            case "expired":
                claims |= {"iat": now_s - 7200, "exp": now_s - 3600}
            case "nobody":
                del claims["preferred_username"]
        if self.mode == "unsigned":
            parts = ({"alg": "none"}, claims)
            return (
                ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
                + "."
            )
        if self.mode == "signed by the secret":
            return jwt.encode({"alg": "HS256"}, claims, jwk.OctKey.import_key(SECRET))
        key = self.other if self.mode == "signed by another key" else self.key
        return jwt.encode({"alg": "RS256", "kid": "1"}, claims, key)

    def send(self, body: object, status: int = 200) -> None:
        encoded = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    Provider.mode = sys.argv[2] if len(sys.argv) > 2 else "honest"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    Path(sys.argv[1]).write_text(str(server.server_address[1]))
    server.serve_forever()
