"""A GitHub and a Google of our own, over real sockets: authorize pages, codes with PKCE, tokens, profiles, signed ID tokens."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "client-of-the-tests", "secret-of-the-tests"


@dataclass
class Account:
    """Somebody at the provider."""

    id: int = 4711
    email: str = "ada@example.com"
    is_verified: bool = True
    name: str = "ada"


@dataclass
class SignInProvider:
    """`with SignInProvider() as provider:` serves both on `provider.url`; `account` is who sits at its pages."""

    host: str = "127.0.0.1"
    account: Account = field(default_factory=Account)
    #: What the next ID tokens say otherwise, as claims.
    claims: dict[str, Any] = field(default_factory=dict)
    #: Signs the next ID tokens by a key that is not published, by a shared secret, or not at all.
    signs_with: str = "own key"
    is_down: bool = False
    #: Every question of ours to it, as (path, parameters).
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _tokens: dict[str, Account] = field(default_factory=dict)

    KEYS: ClassVar[list[rsa.RSAPrivateKey]] = []

    def __enter__(self) -> Self:
        if not self.KEYS:
            self.KEYS.extend(rsa.generate_private_key(65537, 2048) for _ in range(2))
        handler = type("Handler", (_Handler,), {"provider": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return f"http://{self.host}:{self._server.server_port}"

    def answer(self, path: str, given: dict[str, str], token: str) -> tuple[int, Any] | str:
        """Return a status and JSON, or a page."""
        self.asked.append((path, given))
        if self.is_down:
            return 503, {}
        if path in ("/login/oauth/authorize", "/o/authorize"):
            return self._page(path, given)
        if path in ("/login/oauth/access_token", "/o/token"):
            return self._redeem(given)
        if path == "/.well-known/openid-configuration":
            return 200, self._configuration()
        if path == "/o/keys":
            key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.KEYS[0].public_key()))
            return 200, {"keys": [{**key, "kid": "one", "use": "sig", "alg": "RS256"}]}
        account = self._tokens.get(token)
        if account is None:
            return 401, {"message": "Bad credentials"}
        profiles = {
            "/api/v3/user": {"id": account.id, "login": account.name, "name": account.name, "email": None},
            "/api/v3/user/emails": [
                {"email": account.email, "primary": True, "verified": account.is_verified},
            ],
            "/o/userinfo": {
                "sub": str(account.id), "email": account.email, "email_verified": account.is_verified,
                "name": account.name,
            },
        }  # fmt: skip
        return (200, profiles[path]) if path in profiles else (404, {})

    def allow(self, asked: dict[str, str]) -> str:
        """Return the address that the browser goes to when its owner has pressed "Allow"."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def _page(self, path: str, asked: dict[str, str]) -> str:
        assert asked["client_id"] == CLIENT_ID, asked
        assert asked["response_type"] == "code", asked
        assert asked["code_challenge_method"] == "S256", asked
        deny = f"{asked['redirect_uri']}?{urlencode({'error': 'access_denied', 'state': asked['state']})}"
        links = {"Allow": self.allow(asked), "Deny": deny}
        shown = "".join(f'<p><a href="{html.escape(target)}">{label}</a></p>' for label, target in links.items())
        return f"<!doctype html><title>Provider</title><h1>{html.escape(path)}</h1>{shown}"

    def _redeem(self, given: dict[str, str]) -> tuple[int, Any]:
        asked = self._codes.pop(given.get("code", ""), None)
        verifier = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if (
            asked is None
            or (given.get("client_id"), given.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET)
            or given.get("redirect_uri") != asked["redirect_uri"]
            or base64.urlsafe_b64encode(verifier).decode().rstrip("=") != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        token = secrets.token_urlsafe(24)
        self._tokens[token] = self.account
        found = {"access_token": token, "token_type": "bearer"}
        if "openid" in asked["scope"].split():
            found["id_token"] = self._id_token()
        return 200, found

    def _id_token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT_ID, "sub": str(self.account.id), "iat": now, "exp": now + 600,
            "email": self.account.email, "email_verified": self.account.is_verified, **self.claims,
        }  # fmt: skip
        if self.signs_with == "nothing":
            return jwt.encode(claims, "", algorithm="none", headers={"kid": "one"})
        if self.signs_with == "a shared secret":
            return jwt.encode(claims, CLIENT_SECRET * 2, algorithm="HS256", headers={"kid": "one"})
        key = self.KEYS[0 if self.signs_with == "own key" else 1]
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"})

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/o/authorize",
            "token_endpoint": f"{self.url}/o/token", "userinfo_endpoint": f"{self.url}/o/userinfo",
            "jwks_uri": f"{self.url}/o/keys", "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    provider: SignInProvider

    def do_GET(self) -> None:
        """Answer."""
        self._answer(dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self._answer(dict(parse_qsl(body)))

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, given: dict[str, str]) -> None:
        token = self.headers.get("Authorization", "").rpartition(" ")[2]
        answer = self.provider.answer(urlsplit(self.path).path, given, token)
        status, kind = (200, "text/html") if isinstance(answer, str) else (answer[0], "application/json")
        body = (answer if isinstance(answer, str) else json.dumps(answer[1])).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
