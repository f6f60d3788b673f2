"""A loopback server that keeps what is asked of it, our side as JSON lines, and checks that print a line each."""
import base64
import http.server
import json
import os
import subprocess
import threading
import urllib.parse


class Asked:
    """One request, in the parts that are compared."""

    def __init__(self, method, target, headers, body):
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    def form(self):
        pairs = urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True)
        fields = dict(pairs)
        assert len(fields) == len(pairs), f"a field is repeated: {pairs}"
        return fields

    def json(self):
        return json.loads(self.body)


class Server:
    """Answers each path with what was last set for it."""

    def __init__(self):
        outer = self
        self.asked, self.answers, self.lock = [], {}, threading.Lock()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = Asked(self.command, self.path, self.headers, body)
                with outer.lock:
                    outer.asked.append(asked)
                    status, headers, text = outer.answers.get((self.command, asked.path), (404, {}, "{}"))
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = answer

            def do_CONNECT(self):
                """As a proxy it only notes where one wants to go."""
                with outer.lock:
                    outer.asked.append(Asked(self.command, self.path, self.headers, b""))
                self.send_error(403)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def set(self, method, path, body, status=200, headers=None):
        text = body if isinstance(body, str) else json.dumps(body)
        self.answers[method, path] = (status, headers or {}, text)

    def during(self, run):
        """What `run` answered, and what was asked meanwhile."""
        with self.lock:
            self.asked = []
        result = run()
        with self.lock:
            return result, list(self.asked)


class Ours:
    """The example `ask`: a line of question, a line of answer."""

    def __init__(self, program, proxy=None):
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        env.update({"HTTPS_PROXY": proxy} if proxy else {})
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def said(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, **question):
        answer = self.said(**question)
        if "error" in answer:
            raise AssertionError(f"ours says: {answer['error']}")
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


class Checks:
    def __init__(self):
        self.failed = 0

    def check(self, name, run):
        try:
            said = run()
        except Exception as error:  # noqa: BLE001: any failure of a check is reported, and the next one runs
            self.failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
        else:
            print(f"ok   {name}{': ' + said if said else ''}", flush=True)


def equal(what, ours, theirs):
    assert ours == theirs, f"{what} differs\n  ours:   {ours}\n  theirs: {theirs}"


def jwt(token):
    """Header and claims of a JWT, unverified."""
    token = token.decode() if isinstance(token, bytes) else token
    header, claims, _ = token.split(".")
    read = lambda part: json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return read(header), read(claims)


def same_request(ours, theirs, headers=(), form=None):
    """Both sides asked the same; `form` changes a form before it is compared."""
    assert len(ours) == len(theirs), f"ours asked {len(ours)} times, theirs {len(theirs)}"
    for a, b in zip(ours, theirs):
        equal("method and path", (a.method, a.path), (b.method, b.path))
        equal("query", urllib.parse.parse_qs(a.query), urllib.parse.parse_qs(b.query))
        for name in headers:
            equal(f"header {name}", a.headers.get(name), b.headers.get(name))
        if form:
            equal("form", form(a.form()), form(b.form()))
        else:
            equal("body", a.body, b.body)
