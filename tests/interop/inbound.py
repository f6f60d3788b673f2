"""authlib as a generic OAuth client of the key server, and schemathesis against its OpenAPI document.

Environment: GATEWAY, ADMIN (the administrator's token), PROXY (a client's secret). Standard input: {"ES256": ID_TOKEN, …}.
"""
import json
import os
import subprocess
import sys

from authlib.integrations.requests_client import OAuth2Session

from lib import Checks

GATEWAY, ADMIN, PROXY = os.environ["GATEWAY"], os.environ["ADMIN"], os.environ["PROXY"]
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
# authlib takes plain http only when it is told that this is a test.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
tokens, checks = json.load(sys.stdin), Checks()


def authlib():
    for method in ("client_secret_basic", "client_secret_post"):
        session = OAuth2Session("proxy", PROXY, token_endpoint_auth_method=method)
        metadata = session.get(f"{GATEWAY}/.well-known/oauth-authorization-server", withhold_token=True).json()
        assert metadata["issuer"] == GATEWAY, metadata
        _, token = tokens.popitem()
        anybody = OAuth2Session("anybody", token_endpoint_auth_method="none")
        key = anybody.fetch_token(metadata["token_endpoint"], grant_type=EXCHANGE, subject_token=token, subject_token_type=ID_TOKEN)
        assert key["access_token"].startswith("ptk_") and key["expires_in"] > 0, "a key"
        found = session.introspect_token(metadata["introspection_endpoint"], key["access_token"]).json()
        assert found["active"] and found["jti"] == key["jti"], found
        assert session.revoke_token(metadata["revocation_endpoint"], key["access_token"]).status_code == 200
        assert session.introspect_token(metadata["introspection_endpoint"], key["access_token"]).json() == {"active": False}


def schemathesis():
    program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    run = subprocess.run(
        [
            program, "run", f"{GATEWAY}/auth/openapi.json", "--url", GATEWAY, "--header", f"Authorization: Bearer {ADMIN}",
            "--max-examples", "60", "--seed", "1", "--workers", "1", "--generation-database", "none",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance",
        ],
        capture_output=True, text=True, timeout=420, check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    return next((line.strip() for line in run.stdout.splitlines() if "test case" in line.lower() or "generated" in line.lower() and line.strip()[:1].isdigit()), "no failure")


checks.check("authlib: exchange, introspection and revocation", authlib)
checks.check("schemathesis: no 5xx, no undocumented answer", schemathesis)
sys.exit(1 if checks.failed else 0)
