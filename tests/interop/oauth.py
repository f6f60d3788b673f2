"""Authlib as a client of the mock's OAuth server. Loopback only.

    python oauth.py ISSUER

The server is the mock's example `idp`: its clients and its user alice are named there.
"""
import os
import secrets
import sys
import time
import urllib.parse

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

from lib import Checks, equal

issuer = sys.argv[1]
# authlib takes plain http only when it is told that this is a test.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
BACK = "http://127.0.0.1:8080/callback"
ALICE = {"username": "alice", "password": "alice-pw"}
SCOPE = "openid email offline_access"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
checks = Checks()
found = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()


def client(method="client_secret_basic", **more):
    return OAuth2Session("gateway-web", "gateway-web-secret", scope=SCOPE, redirect_uri=BACK, code_challenge_method="S256",
                         token_endpoint_auth_method=method, token_endpoint=found["token_endpoint"], **more)


def sign_in(session):
    """The tokens of alice, who signs in at the page, and the nonce that was sent."""
    verifier, nonce = generate_token(48), secrets.token_urlsafe()
    url, state = session.create_authorization_url(found["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    assert "<form method=post" in requests.get(url, timeout=10).text
    page, _, asked = url.partition("?")
    answer = requests.post(page, data={**dict(urllib.parse.parse_qsl(asked)), **ALICE}, allow_redirects=False, timeout=10)
    tokens = session.fetch_token(authorization_response=answer.headers["location"], state=state, code_verifier=verifier)
    return tokens, nonce


def refused(run, error):
    try:
        run()
    except OAuthError as refusal:
        equal("error", refusal.error, error)
    else:
        raise AssertionError("was not refused")


def code():
    for method in ("client_secret_basic", "client_secret_post"):
        session = client(method)
        tokens, nonce = sign_in(session)
        keys = KeySet.import_key_set(requests.get(found["jwks_uri"], timeout=10).json())
        token = jwt.decode(tokens["id_token"], keys)
        claims = CodeIDToken(
            token.claims, token.header,
            {"iss": {"essential": True, "value": found["issuer"]}, "aud": {"essential": True, "value": "gateway-web"}},
            {"nonce": nonce, "client_id": "gateway-web", "access_token": tokens["access_token"]},
        )
        claims.validate(leeway=0)
        equal("claims", (claims["sub"], claims["email"]), ("alice", "alice@example.com"))
        equal("userinfo", session.get(found["userinfo_endpoint"]).json()["email"], "alice@example.com")


def refresh():
    session = client()
    first, _ = sign_in(session)
    second = session.refresh_token(refresh_token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"], "it rotates"
    for spent in (first, second):
        refused(lambda: session.refresh_token(refresh_token=spent["refresh_token"]), "invalid_grant")  # noqa: B023


def introspection_and_revocation():
    session = client()
    tokens, _ = sign_in(session)
    look = lambda: session.introspect_token(found["introspection_endpoint"], tokens["access_token"]).json()  # noqa: E731
    equal("active", (look()["active"], look()["sub"], look()["client_id"]), (True, "alice", "gateway-web"))
    gone = session.revoke_token(found["revocation_endpoint"], tokens["refresh_token"], token_type_hint="refresh_token")
    equal("revoked", (gone.status_code, look()), (200, {"active": False}))
    refused(lambda: session.refresh_token(refresh_token=tokens["refresh_token"]), "invalid_grant")


def client_credentials():
    service = lambda secret: OAuth2Session("service", secret, scope="api")  # noqa: E731
    tokens = service("service-secret").fetch_token(found["token_endpoint"], grant_type="client_credentials")
    equal("tokens", (tokens["scope"], "refresh_token" in tokens), ("api", False))
    refused(lambda: service("wrong").fetch_token(found["token_endpoint"], grant_type="client_credentials"), "invalid_client")


def device():
    session = OAuth2Session("cli", scope="openid email", token_endpoint_auth_method="none")
    asked = {"client_id": "cli", "scope": "openid email"}
    flow = requests.post(found["device_authorization_endpoint"], data=asked, timeout=10).json()
    poll = lambda: session.fetch_token(found["token_endpoint"], grant_type=DEVICE, device_code=flow["device_code"])  # noqa: E731
    refused(poll, "authorization_pending")
    page = requests.post(flow["verification_uri"], data={"user_code": flow["user_code"], **ALICE}, timeout=10)
    equal("page", page.status_code, 200)
    time.sleep(flow["interval"])
    assert poll()["id_token"]
    refused(poll, "invalid_grant")


for name, run in [
    ("authlib: code, PKCE, nonce, ID token and userinfo", code),
    ("authlib: a refresh token rotates, and its reuse ends the family", refresh),
    ("authlib: introspection and revocation", introspection_and_revocation),
    ("authlib: client credentials", client_credentials),
    ("authlib: device flow", device),
]:
    checks.check(name, run)
sys.exit(1 if checks.failed else 0)
