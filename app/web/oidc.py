"""Signing in at an OpenID Connect provider: code flow with PKCE, state and nonce. The one thing that calls out, if configured.

source  OpenID Connect Core 1.0, 3.1; RFC 7636; RFC 9700
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from flask import Blueprint, Response, g, redirect, request
from itsdangerous import BadSignature, URLSafeTimedSerializer

from app.errors import BadSetting
from app.settings import Settings
from app.web import gate
from app.web.login import entered_response
from app.web.private import Folder
from app.web.problems import NotHere, ProviderFailed
from app.web.rendering import as_response

if TYPE_CHECKING:
    from app.wire.ask import Client

FLOW_S = 600
"""Time to sign in at the provider."""
TIMEOUT_S = 10.0
LEEWAY_S = 60
"""How far the provider's clock may be off."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures by a private key; never `none`, never one by a shared secret."""
BEGIN = "/login/oidc"
END = "/login/oidc/callback"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Provider:
    """One provider, asked for its addresses and keys when somebody signs in."""

    def __init__(self, settings: Settings) -> None:
        """Read this service's secret, while it can be read. raises BadSetting"""
        parts = urlsplit(settings.oidc_issuer)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            raise BadSetting("oidc_issuer", settings.oidc_issuer, "an https address")
        if not settings.oidc_client_id:
            raise BadSetting("oidc_client_id", "", "set, as oidc_issuer is")
        try:
            # Not at the top: an optional extra, and imported before the process gives up its rights.
            import requests
            from authlib.integrations.requests_client import OAuth2Session
            from joserfc import jwk, jwt
        except ImportError as missing:
            raise BadSetting(
                "oidc_issuer", settings.oidc_issuer, f"possible without {missing.name}: install bpf-atlas[oidc]"
            ) from missing
        self._session_type = OAuth2Session
        self._requests, self._jwk, self._jwt = requests, jwk, jwt
        path = settings.within(settings.oidc_client_secret_file)
        try:
            self._secret = path.read_text().strip()
        except OSError as problem:
            raise BadSetting("oidc_client_secret_file", str(path), f"readable ({problem.strerror})") from problem
        self._issuer = settings.oidc_issuer.rstrip("/")
        self._client_id = settings.oidc_client_id
        self._claim = settings.oidc_claim

    def begin(self, redirect_uri: str, nonce: str, verifier: str, state: str) -> str:
        """The provider's address to send the browser to. raises ProviderFailed"""
        with self._session(redirect_uri) as session:
            url, _ = session.create_authorization_url(
                self._document()["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def end(self, redirect_uri: str, nonce: str, verifier: str, code: str) -> str:
        """The name that the provider vouches for. raises ProviderFailed"""
        document = self._document()
        try:
            with self._session(redirect_uri) as session:
                answer = session.fetch_token(
                    document["token_endpoint"],
                    code=code,
                    code_verifier=verifier,
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                )
            keys = self._jwk.KeySet.import_key_set(cast("Any", self._fetch(document["jwks_uri"])))
            token = self._jwt.decode(answer["id_token"], keys, algorithms=list(ALGORITHMS))
            self._jwt.JWTClaimsRegistry(
                leeway=LEEWAY_S,
                iss={"essential": True, "value": document["issuer"]},
                aud={"essential": True, "value": self._client_id},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(token.claims)
        except ProviderFailed:
            raise
        except Exception as problem:  # three libraries with bases of their own; any failure here is a refusal
            raise ProviderFailed(f"its answer cannot be used ({type(problem).__name__})") from problem
        claims: dict[str, Any] = token.claims
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") != self._client_id:
            raise ProviderFailed("its answer is meant for another service")
        name = claims.get(self._claim)
        if not isinstance(name, str) or not name:
            raise ProviderFailed(f"its answer has no {self._claim}, which is to name the user")
        return name

    def _session(self, redirect_uri: str) -> Any:
        return self._session_type(
            self._client_id,
            self._secret,
            scope="openid profile email",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )

    def _document(self) -> dict[str, Any]:
        document = self._fetch(self._issuer + "/.well-known/openid-configuration")
        if document.get("issuer", "").rstrip("/") != self._issuer:
            raise ProviderFailed("it calls itself by another name than oidc_issuer")
        return document

    def _fetch(self, url: str) -> dict[str, Any]:
        try:
            answer = self._requests.get(url, timeout=TIMEOUT_S, allow_redirects=False)
            answer.raise_for_status()
            found = answer.json()
        except (self._requests.RequestException, ValueError) as problem:
            raise ProviderFailed(f"it does not answer ({type(problem).__name__})") from problem
        if not isinstance(found, dict):
            raise ProviderFailed("its answer cannot be used")
        return found


def blueprint(settings: Settings, client: Client, folder: Folder) -> Blueprint:
    """/login/oidc and its callback; both are not there unless `oidc_issuer` is set. raises BadSetting"""
    bp = Blueprint("oidc", __name__)
    provider = Provider(settings) if settings.oidc_issuer else None
    signer = URLSafeTimedSerializer(folder.secret(), salt="bpf-atlas oidc 1") if provider else None
    cookie = "__Host-bpf-atlas-oidc" if settings.behind_tls else f"bpf-atlas-oidc-{settings.listen.rpartition(':')[2]}"

    def redirect_uri() -> str:
        return f"{'https' if settings.behind_tls else 'http'}://{request.host}{END}"

    @bp.get(BEGIN)
    def begin() -> Response:
        if provider is None or signer is None:
            raise NotHere("OpenID Connect provider")
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        response = as_response(redirect(provider.begin(redirect_uri(), nonce, verifier, state), code=303))
        kept = signer.dumps([state, nonce, verifier, gate.local_path(request.args.get("next"))])
        # Lax: the provider sends the browser back from its own site.
        response.set_cookie(
            cookie, kept, max_age=FLOW_S, path="/", secure=settings.behind_tls, httponly=True, samesite="Lax"
        )
        return response

    @bp.get(END)
    def end() -> Response:
        if provider is None or signer is None:
            raise NotHere("OpenID Connect provider")
        try:
            state, nonce, verifier, target = signer.loads(request.cookies.get(cookie, ""), max_age=FLOW_S)
        except (BadSignature, ValueError) as problem:
            raise ProviderFailed("this sign-in was begun too long ago, or in another browser") from problem
        if not hmac.compare_digest(state.encode(), request.args.get("state", "").encode("utf-8", "surrogatepass")):
            raise ProviderFailed("its answer belongs to another sign-in")
        if not (code := request.args.get("code", "")):
            raise ProviderFailed(f"it refused ({request.args.get('error', 'without a reason')[:80]})")
        name = provider.end(redirect_uri(), nonce, verifier, code)
        entered = client.vouched(name, "oidc", source=g.source, agent=gate.agent())
        response = entered_response(settings, entered.value, target)
        response.delete_cookie(cookie, path="/", secure=settings.behind_tls, httponly=True, samesite="Lax")
        return response

    return bp
