"""What botocore, google-auth and msal send for the same inputs, compared with what we send; and moto's STS, which
accepts our call or not. Loopback only.

    python outbound.py PATH-OF-THE-EXAMPLE-ask
"""
import base64
import datetime
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.session
import google.auth.compute_engine
import google.auth.identity_pool
import google.auth.impersonated_credentials
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account
import msal
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from lib import Checks, Ours, Server, equal, jwt, same_request

NOW = 1_800_000_000
KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
ROLE = "arn:aws:iam::123456789012:role/MyRole"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
STS_ANSWER = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/MyRole/portunus-session</Arn>
<AssumedRoleId>A:portunus-session</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""

server, ours, checks, folder = Server(), Ours(sys.argv[1]), Checks(), tempfile.mkdtemp()


def path(name, text):
    place = os.path.join(folder, name)
    with open(place, "w") as file:
        file.write(text)
    return place


def fetch(config, env=None, now=NOW):
    return ours.ask(do="fetch", config=config, env=env or {}, now=now)


# ---- AWS


def requests_to_sign():
    """Bedrock calls of every shape: encoded models and ARNs, queries in any order, odd headers, session tokens."""
    dice = random.Random(4711)
    models = ["m", "anthropic.claude-3%3A0", "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ax%2Fy", "a%20b", "%E6%A8%A1", "a+b~c_d-e.f", "a%25b"]
    for n in range(200):
        query = "&".join(f"{dice.choice('abAB')}{dice.randrange(3)}={dice.choice(['', '1', 'x%20y', '%2F', 'z~'])}" for _ in range(dice.randrange(4)))
        yield {
            "method": dice.choice(["POST", "GET", "PUT"]),
            "url": f"https://bedrock-runtime.eu-west-1.amazonaws.com/model/{dice.choice(models)}/{dice.choice(['invoke', 'converse', 'a/b/'])}" + (f"?{query}" if query else ""),
            "headers": dict(dice.sample([("content-type", "application/json"), ("accept", "text/event-stream"), ("x-custom", "a  b"), ("x-amzn-trace", "1;2")], dice.randrange(4))),
            "body": dice.choice(["", "{}", '{"prompt":"h\u00e4\u6a21\U0001f600"}', "x" * dice.randrange(3000)]),
            "session_token": dice.choice([None, "FwoGZXIvYXdzEXAMPLE//////////wEaDtoken+/=="]),
            "region": dice.choice(["eu-west-1", "cn-north-1", "us-gov-west-1"]),
            "service": dice.choice(["bedrock", "sts"]),
        }


class At(botocore.auth.SigV4Auth):
    """Signs at a given time."""

    def add_auth(self, request):
        request.context["timestamp"] = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW))
        self._modify_request_before_signing(request)
        text = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(text, request))


def botocore_signs():
    count = 0
    for asked in requests_to_sign():
        keys = botocore.credentials.Credentials(KEYS["access_key"], KEYS["secret_key"], asked["session_token"])
        request = botocore.awsrequest.AWSRequest(method=asked["method"], url=asked["url"], headers=asked["headers"], data=asked["body"].encode())
        At(keys, asked["service"], asked["region"]).add_auth(request)
        signed = ours.ask(do="sign", now=NOW, **KEYS, **asked)
        equal(f"signature of {asked}", signed["authorization"], request.headers["Authorization"])
        count += 1
    return f"{count} signatures equal"


def botocore_credentials(env):
    """What botocore's own chain finds in that environment."""
    kept = dict(os.environ)
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_CONFIG_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.update({**nowhere, **env})
    try:
        found = botocore.session.Session().get_credentials().get_frozen_credentials()
        return [found.access_key, found.secret_key, found.token]
    finally:
        os.environ.clear()
        os.environ.update(kept)


def both_find(env, config, headers, form=None):
    theirs, their_requests = server.during(lambda: botocore_credentials(env))
    got, our_requests = server.during(lambda: fetch(config, env))
    equal("credential", got["credential"], theirs)
    same_request(our_requests, their_requests, headers, form)
    return f"{len(our_requests)} request(s) equal"


def botocore_web_identity():
    server.set("POST", "/", STS_ANSWER, headers={"content-type": "text/xml"})
    env = {
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": path("web-identity", "header.claims.signature"),
        "AWS_ROLE_SESSION_NAME": "portunus-session",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_STS": server.url,
    }
    config = {"source": "aws-web-identity", "role_arn": ROLE, "token_file": env["AWS_WEB_IDENTITY_TOKEN_FILE"], "region": "eu-west-1", "endpoint": server.url}
    return both_find(env, config, [], form=lambda form: form)


def botocore_container():
    answer = {"AccessKeyId": "ASIA2", "SecretAccessKey": "s2", "Token": "t2", "Expiration": "2099-01-01T00:00:00Z", "RoleArn": ROLE}
    server.set("GET", "/v1/credentials", answer)
    env = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{server.url}/v1/credentials",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path("pod", "pod-token"),
    }
    return both_find(env, {"source": "aws-container"}, ["authorization", "accept"])


def botocore_imds():
    role = "/latest/meta-data/iam/security-credentials/"
    server.set("PUT", "/latest/api/token", "imds-token", headers={"x-aws-ec2-metadata-token-ttl-seconds": "21600"})
    server.set("GET", role, "a-role")
    server.set("GET", role + "a-role", {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "AccessKeyId": "ASIA3", "SecretAccessKey": "s3", "Token": "t3", "Expiration": "2099-01-01T00:00:00Z"})
    env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url, "AWS_EC2_METADATA_DISABLED": "false"}
    return both_find(env, {"source": "aws-imds"}, ["x-aws-ec2-metadata-token", "x-aws-ec2-metadata-token-ttl-seconds"])


def botocore_endpoints():
    """Which host a region's STS is, as botocore's own rules have it; ours is seen on its way to a proxy."""
    outward, session = Ours(sys.argv[1], proxy=server.url), botocore.session.Session()
    regions = [(region, fips) for region in ("us-east-1", "eu-central-1", "ap-southeast-2", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1") for fips in (False, True)]
    for region, fips in regions:
        options = botocore.config.Config(use_fips_endpoint=fips)
        client = session.create_client("sts", region_name=region, aws_access_key_id="a", aws_secret_access_key="b", config=options)
        config = {"source": "aws-web-identity", "role_arn": ROLE, "token_file": path("region", "a.b.c"), "region": region, "fips": fips}
        _, asked = server.during(lambda: outward.said(do="fetch", config=config, now=NOW))
        hosts = {request.path for request in asked if request.method == "CONNECT"}
        equal(f"host of {region}{' (FIPS)' if fips else ''}", hosts, {urllib.parse.urlsplit(client.meta.endpoint_url).hostname + ":443"})
    outward.end()
    return f"{len(regions)} hosts"


def moto():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(os.path.join(folder, "moto.log"), "w") as log:
        process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/moto-api/", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "moto's server ended by itself"
                time.sleep(0.1)
        config = {"source": "aws-web-identity", "role_arn": ROLE, "token_file": path("moto", "a.b.c"), "region": "us-east-1", "endpoint": url}
        got = fetch(config, now=int(time.time()))
        keys = got["credential"]
        assert keys[0].startswith("ASIA") and len(keys[1]) == 40 and keys[2], "no keys of moto's"
        assert got["expires_at"] > time.time() + 3000, "the end that moto states is an hour away"
        return f"keys until {got['expires_at']} for {got['subject']}"
    finally:
        process.terminate()
        process.wait(timeout=10)


# ---- Google

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def service_account():
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "kid-1",
        "private_key": PEM,
        "client_email": "svc@p.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{server.url}/token",
    }


def refreshed(credentials):
    credentials.refresh(google.auth.transport.requests.Request())
    return credentials.token


def assertion(form):
    """A form whose JWT is opened; its times differ by when the two were made."""
    header, claims = jwt(form.pop("assertion"))
    assert claims["exp"] - claims["iat"] in (3600, 3599), claims
    return {**form, "header": header, "claims": {k: v for k, v in claims.items() if k not in ("iat", "exp", "aud")}}


def google_service_account():
    server.set("POST", "/token", {"access_token": "ya29.sa", "expires_in": 3599, "token_type": "Bearer"})
    info = service_account()
    theirs = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=[SCOPE])
    token, their_requests = server.during(lambda: refreshed(theirs))
    config = {"source": "google-service-account", "key_file": path("sa.json", json.dumps(info))}
    got, our_requests = server.during(lambda: fetch(config))
    equal("token", got["credential"], [token])
    same_request(our_requests, their_requests, ["content-type"], form=assertion)
    return f"subject {got['subject']}"


def google_self_signed():
    info = service_account()
    theirs = google.oauth2.service_account.Credentials.from_service_account_info(info, scopes=[SCOPE], always_use_jwt_access=True)
    theirs._create_self_signed_jwt(None)
    config = {"source": "google-service-account", "key_file": path("sa.json", json.dumps(info)), "self_signed": True}
    opened = [jwt(refreshed(theirs)), jwt(fetch(config)["credential"][0])]
    without_times = [(header, {k: v for k, v in claims.items() if k not in ("iat", "exp")}) for header, claims in opened]
    equal("self-signed token", without_times[1], without_times[0])


def google_authorized_user():
    server.set("POST", "/token", {"access_token": "ya29.user", "expires_in": 3599, "token_type": "Bearer"})
    info = {"type": "authorized_user", "client_id": "c", "client_secret": "s&+", "refresh_token": "1//r", "token_uri": f"{server.url}/token"}
    theirs = google.oauth2.credentials.Credentials(None, refresh_token=info["refresh_token"], client_id="c", client_secret="s&+", token_uri=info["token_uri"])
    _, their_requests = server.during(lambda: refreshed(theirs))
    got, our_requests = server.during(lambda: fetch(adc(info)[0], adc(info)[1]))
    equal("token", got["credential"], ["ya29.user"])
    same_request(our_requests, their_requests, ["content-type"], form=lambda form: {k: v for k, v in form.items() if k != "scope"})


def adc(info):
    return {"source": "google-adc"}, {"GOOGLE_APPLICATION_CREDENTIALS": path("adc.json", json.dumps(info))}


def google_external_account():
    server.set("POST", "/sts", {"access_token": "ya29.sts", "expires_in": 3599, "token_type": "Bearer", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
    server.set("POST", "/iam/a@p.iam.gserviceaccount.com:generateAccessToken", {"accessToken": "ya29.imp", "expireTime": "2099-01-01T00:00:00Z"})
    said = []
    for impersonation in (None, f"{server.url}/iam/a@p.iam.gserviceaccount.com:generateAccessToken"):
        for form in ("text", "json"):
            subject = path(f"subject.{form}", "a.b.c" if form == "text" else '{"tok":"a.b.c"}')
            info = {
                "type": "external_account",
                "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": f"{server.url}/sts",
                "credential_source": {"file": subject, "format": {"type": form, **({"subject_token_field_name": "tok"} if form == "json" else {})}},
                **({"service_account_impersonation_url": impersonation} if impersonation else {}),
            }
            theirs = google.auth.identity_pool.Credentials.from_info(info, scopes=[SCOPE])
            token, their_requests = server.during(lambda: refreshed(theirs))
            got, our_requests = server.during(lambda: fetch(*adc(info)))
            equal("token", got["credential"], [token])
            equal("paths", [r.path for r in our_requests], [r.path for r in their_requests])
            equal("exchange", our_requests[0].form(), their_requests[0].form())
            if impersonation:
                drop = lambda body: {k: v for k, v in body.items() if v not in (None, [])}
                equal("impersonation", drop(our_requests[1].json()), drop(their_requests[1].json()))
                equal("bearer", our_requests[1].headers["authorization"], their_requests[1].headers["authorization"])
            said.append(form + (" impersonated" if impersonation else ""))
    return ", ".join(said)


def google_metadata():
    place = "/computeMetadata/v1/instance/service-accounts/default/"
    server.set("GET", place + "token", {"access_token": "ya29.gce", "expires_in": 3599, "token_type": "Bearer"}, headers={"metadata-flavor": "Google"})
    server.set("GET", place, {"email": "e", "scopes": [SCOPE], "aliases": ["default"]}, headers={"metadata-flavor": "Google"})
    server.set("GET", place + "email", "svc@p.iam.gserviceaccount.com", headers={"metadata-flavor": "Google", "content-type": "text/plain"})
    host = server.url.removeprefix("http://")
    got, our_requests = server.during(lambda: fetch({"source": "google-metadata"}, {"GCE_METADATA_HOST": host}))
    equal("token", got["credential"], ["ya29.gce"])
    program = (
        "import google.auth.compute_engine as c, google.auth.transport.requests as r;"
        f"x = c.Credentials(scopes=['{SCOPE}']); x.refresh(r.Request()); print(x.token)"
    )
    env = {**os.environ, "GCE_METADATA_HOST": host, "GCE_METADATA_ROOT": host}
    token, their_requests = server.during(lambda: subprocess.check_output([sys.executable, "-c", program], env=env, text=True).strip())
    equal("token of theirs", token, "ya29.gce")
    last = lambda requests: [r for r in requests if r.path == place + "token"]
    same_request(last(our_requests), last(their_requests), ["metadata-flavor"])


# ---- Microsoft

TENANT, APP, AZURE_SCOPE = "contoso.example", "app-1", "https://cognitiveservices.azure.com/.default"


class Captured:
    """The HTTP client that msal is given; it takes https only, so nothing is sent."""

    def __init__(self):
        self.posts = []

    class Answer:
        def __init__(self, body):
            self.status_code, self.text, self.headers = 200, json.dumps(body), {}

        def raise_for_status(self):
            pass

    def get(self, url, **_):
        base = url.split("/v2.0/")[0]
        return self.Answer({"authorization_endpoint": f"{base}/oauth2/v2.0/authorize", "token_endpoint": f"{base}/oauth2/v2.0/token", "issuer": f"{base}/v2.0"})

    def post(self, url, data=None, **_):
        self.posts.append((url, dict(data)))
        return self.Answer({"access_token": "eyJ.msal", "expires_in": 3599, "token_type": "Bearer"})

    def close(self):
        pass


def of_msal(credential):
    """Where msal posts, and what."""
    captured = Captured()
    app = msal.ConfidentialClientApplication(APP, client_credential=credential, authority=f"https://login.microsoftonline.com/{TENANT}", http_client=captured, instance_discovery=False)
    assert app.acquire_token_for_client([AZURE_SCOPE])["access_token"] == "eyJ.msal"
    (url, form), = captured.posts
    return urllib.parse.urlsplit(url).path, form


def both_post(credential, config, change=lambda form: form):
    where, theirs = of_msal(credential)
    server.set("POST", where, {"access_token": "eyJ.ours", "expires_in": 3599, "token_type": "Bearer"})
    got, asked = server.during(lambda: fetch({"tenant_id": TENANT, "client_id": APP, "authority": server.url, **config}, {"SECRET": "s&+ecret"}))
    equal("token", got["credential"], ["eyJ.ours"])
    equal("path", [r.path for r in asked], [where])
    # msal says which library and system it is; that is not part of the protocol.
    theirs = {k: v for k, v in theirs.items() if k != "client_info" and not k.startswith("x-")}
    equal("form", change(asked[0].form()), change(theirs))


def msal_secret():
    both_post("s&+ecret", {"source": "azure", "client_secret": "${SECRET}"})


def msal_assertion():
    file = path("federated", "a.b.c")
    both_post({"client_assertion": "a.b.c"}, {"source": "azure-workload-identity", "token_file": file})


def msal_certificate():
    import datetime

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "portunus")])
    start = datetime.datetime(2026, 1, 1)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(RSA.public_key()).serial_number(1)
        .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=3650)).sign(RSA, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    file = path("certificate.pem", PEM + public)

    def opened(form):
        form = dict(form)
        header, claims = jwt(form.pop("client_assertion"))
        # msal pads the thumbprint and breaks the certificate's lines.
        header["x5t#S256"] = header["x5t#S256"].rstrip("=")
        header["x5c"] = ["".join(der.split()) for der in header["x5c"]]
        assert claims.pop("jti") and claims.pop("exp") > claims.pop("iat", claims.get("nbf", 0)), claims
        claims.pop("nbf", None)
        # The authority differs: ours is on this machine.
        claims["aud"] = urllib.parse.urlsplit(claims["aud"]).path
        return {**form, "header": header, "claims": claims}

    both_post({"private_key": PEM, "public_certificate": public}, {"source": "azure-certificate", "certificate": file, "send_chain": True}, opened)


checks.check("botocore: SigV4", botocore_signs)
checks.check("botocore: web identity", botocore_web_identity)
checks.check("botocore: container", botocore_container)
checks.check("botocore: IMDSv2", botocore_imds)
checks.check("botocore: STS endpoints", botocore_endpoints)
checks.check("moto: AssumeRoleWithWebIdentity", moto)
checks.check("google-auth: service account", google_service_account)
checks.check("google-auth: self-signed JWT", google_self_signed)
checks.check("google-auth: authorized user", google_authorized_user)
checks.check("google-auth: external account", google_external_account)
checks.check("google-auth: metadata server", google_metadata)
checks.check("msal: client secret", msal_secret)
checks.check("msal: federated token", msal_assertion)
checks.check("msal: certificate", msal_certificate)
ours.end()
sys.exit(1 if checks.failed else 0)
