"""Drives a running `portunus quickstart` with the official SDKs.

    e2e.py READY SECRETS

READY is the JSON line that the quick start printed. Every secret that is made here is written to SECRETS, a line each, so
that the caller can search for it. One line for each check: `ok NAME` or `FAIL NAME: why`. Exit code 1 when one failed.
"""

import json
import os
import pathlib
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings

# The mock answers as whatever model it is asked for, also as one that its vendor has retired.
warnings.simplefilter("ignore", DeprecationWarning)
# Nothing of the developer's own set-up may steer the SDKs.
for name in list(os.environ):
    if name.startswith(("OPENAI_", "ANTHROPIC_")) or name.lower().endswith("_proxy"):
        del os.environ[name]

import anthropic  # noqa: E402
import openai  # noqa: E402

ready = json.loads(pathlib.Path(sys.argv[1]).read_text())
secrets = pathlib.Path(sys.argv[2])
base, mock = ready["base_url"], ready["mock_url"]

CLAUDE = "claude-sonnet-4-5"
ASK = [{"role": "user", "content": "What is the weather in Paris?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "weather", "parameters": CITY}}
ANTHROPIC_TOOL = {"name": "get_weather", "description": "weather", "input_schema": CITY}
failed = []
secrets.touch()


def check(test):
    """Runs a function whose name is the check's."""
    name = test.__name__.replace("_", "-")
    try:
        test()
    except Exception as error:  # noqa: BLE001 - whatever it is, the check failed
        failed.append(name)
        print(f"FAIL {name}: {type(error).__name__}: {' '.join(str(error).split())[:500]}", flush=True)
    else:
        print(f"ok {name}", flush=True)


def equal(have, want):
    assert have == want, f"{have!r} instead of {want!r}"


def keep_secret(text):
    with secrets.open("a") as file:
        file.write(text + "\n")
    return text


def http(method, url, data=None, **headers):
    """The status, the content type and the body of the answer."""
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers["content-type"], answer.read()


def id_token():
    query = urllib.parse.urlencode({"sub": "alice", "groups": "eng", "aud": "portunus"})
    status, _, token = http("GET", f"{ready['issuer']}/__mock/id_token?{query}")
    equal(status, 200)
    return keep_secret(token.decode().strip())


def exchange(token):
    """The status and the JSON of the answer."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
    }
    status, _, body = http("POST", f"{base}/auth/token", urllib.parse.urlencode(form).encode())
    answer = json.loads(body)
    if "access_token" in answer:
        keep_secret(answer["access_token"])
    return status, answer


def new_key():
    """A fresh key and its public name."""
    status, answer = exchange(id_token())
    equal((status, answer.get("error")), (200, None))
    return answer["access_token"], answer["jti"]


def open_ai(key):
    return openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0, timeout=30)


def claude(key):
    return anthropic.Anthropic(base_url=base, api_key=key, max_retries=0, timeout=30)


def chat(key, model="gpt-4o", **more):
    return open_ai(key).chat.completions.create(model=model, messages=ASK, **more)


def message(key, model=CLAUDE, **more):
    return claude(key).messages.create(model=model, max_tokens=64, messages=ASK, **more)


def refused(kind, call):
    """The error of that kind that the call must raise; it must not repeat a secret."""
    try:
        call()
    except kind as error:
        text = json.dumps(error.body)
        assert not any(secret in text for secret in secrets.read_text().split()), "the error repeats a secret"
        return error
    raise AssertionError(f"accepted; it must raise {kind.__name__}")


@check
def an_identity_becomes_a_key():
    global KEY
    KEY, jti = new_key()
    assert KEY.startswith("ptk_") and jti and jti not in KEY, "not a Portunus key with a public name"


@check
def an_identity_token_is_spent_once():
    token = id_token()
    equal(exchange(token)[0], 200)
    status, answer = exchange(token)
    equal((status, answer["error"]), (400, "invalid_request"))


@check
def the_printed_key_works():
    assert chat(ready["key"]).choices[0].message.content


@check
def openai_chat():
    answer = chat(KEY)
    assert answer.choices[0].message.content and answer.usage.total_tokens > 0, answer
    equal(answer.choices[0].finish_reason, "stop")


@check
def openai_chat_streamed():
    parts = list(chat(KEY, stream=True, stream_options={"include_usage": True}))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    equal(text, chat(KEY).choices[0].message.content)
    assert len(parts) >= 3 and parts[-1].usage.total_tokens > 0, parts


@check
def openai_tool_call():
    choice = chat(KEY, tools=[OPENAI_TOOL]).choices[0]
    equal((choice.finish_reason, choice.message.tool_calls[0].function.name), ("tool_calls", "get_weather"))
    assert json.loads(choice.message.tool_calls[0].function.arguments)["city"], choice


@check
def openai_tool_call_streamed():
    with open_ai(KEY).chat.completions.stream(model="gpt-4o", messages=ASK, tools=[OPENAI_TOOL]) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather" and json.loads(call.function.arguments)["city"], call


@check
def anthropic_message():
    answer = message(KEY)
    assert answer.content[0].text and answer.usage.output_tokens > 0, answer
    equal(answer.stop_reason, "end_turn")


@check
def anthropic_message_streamed():
    with claude(KEY).messages.stream(model=CLAUDE, max_tokens=64, messages=ASK) as stream:
        parts = list(stream.text_stream)
        answer = stream.get_final_message()
    assert len(parts) >= 2, parts
    equal(("".join(parts), answer.content[0].text), (message(KEY).content[0].text,) * 2)


@check
def anthropic_tool_call():
    answer = message(KEY, tools=[ANTHROPIC_TOOL])
    call = next(block for block in answer.content if block.type == "tool_use")
    equal((answer.stop_reason, call.name), ("tool_use", "get_weather"))
    assert call.input["city"], call


@check
def anthropic_bearer_token():
    bearer = anthropic.Anthropic(base_url=base, auth_token=KEY, max_retries=0, timeout=30)
    assert bearer.messages.create(model=CLAUDE, max_tokens=64, messages=ASK).content[0].text


@check
def a_wrong_key_is_refused():
    for wrong in ("sk-wrong", KEY[:-1] + ("a" if KEY[-1] != "a" else "b")):
        refused(openai.AuthenticationError, lambda key=wrong: chat(key))
        refused(openai.AuthenticationError, lambda key=wrong: chat(key, stream=True))
        refused(anthropic.AuthenticationError, lambda key=wrong: message(key))


@check
def a_model_outside_the_grant_is_refused():
    refused(openai.PermissionDeniedError, lambda: chat(KEY, "forbidden-model"))
    refused(anthropic.PermissionDeniedError, lambda: message(KEY, "forbidden-model"))


@check
def a_revoked_key_is_refused_at_once():
    key, jti = new_key()
    assert chat(key).choices
    url = f"{base}/auth/token/{jti}"
    equal(http("DELETE", url, authorization=f"Bearer {key}")[0], 401)
    assert chat(key).choices, "a refused revocation took the key back"
    equal(http("DELETE", url, authorization=f"Bearer {ready['admin_token']}")[0], 204)
    refused(openai.AuthenticationError, lambda: chat(key))
    refused(anthropic.AuthenticationError, lambda: message(key))
    assert chat(KEY).choices, "another key was taken back as well"


@check
def an_upstreams_error_arrives_unaltered():
    assert chat(KEY, "limited").choices, "the one use"
    error = refused(openai.AuthenticationError, lambda: chat(KEY, "limited"))
    equal(error.body["message"], "Invalid bearer token")

    body = json.dumps({"model": "limited", "messages": ASK}).encode()

    def raw(url, key):
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        return http("POST", f"{url}/v1/chat/completions", body, **headers)

    equal(raw(base, KEY), raw(mock, "sk-wrong"))


print(f"FAIL: {', '.join(failed)}" if failed else "PASS", flush=True)
sys.exit(1 if failed else 0)
