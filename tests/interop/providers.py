"""The vendors' own SDKs against the mock, which has to pass for each of their services. Loopback only.

    python providers.py URL-OF-THE-MOCK

The mock admits KEY, and signatures of AWS_ID and AWS_SECRET. The models that fail are in its README.
"""
import json
import os
import sys
import time
import uuid

for name in list(os.environ):
    if name.lower().endswith("_proxy") or name.startswith(("AWS_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_")):
        del os.environ[name]

import anthropic  # noqa: E402
import boto3  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402
import google.oauth2.credentials  # noqa: E402
import httpx2  # noqa: E402
import openai  # noqa: E402
import urllib3.exceptions  # noqa: E402
from google import genai  # noqa: E402
from google.genai import errors, types  # noqa: E402

from lib import Checks, equal  # noqa: E402

url = sys.argv[1]
KEY, AWS_ID, AWS_SECRET = "test-key", "AKIDEXAMPLE", "secr/et+x"
TEXT = "Hello from the mock."
SAY_HI = [{"role": "user", "content": "hi"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PARIS = {"city": "Paris"}
# How a connection that breaks off looks below the SDKs that do not word it themselves.
CUT = (httpx2.ReadError, httpx2.RemoteProtocolError)
checks = Checks()


def refused(run, kind, status=None):
    """The error of that kind, and with that status, with which it ends."""
    try:
        run()
    except kind as error:
        found = getattr(error, "status_code", None) or getattr(error, "code", None)
        if status:
            equal("status", found or error.response["ResponseMetadata"]["HTTPStatusCode"], status)
        return error
    raise AssertionError("was not refused")


def waited(run):
    """It succeeds, but only after the second that `retry-after` names."""
    start = time.monotonic()
    run(f"mock-429-once-{uuid.uuid4().hex}")
    took = time.monotonic() - start
    assert 0.9 <= took < 10, f"{took:.2f} s"


def failures(client, ask, sdk, names):
    """What is the same in the SDKs of OpenAI and Anthropic: classes by status, and their own retries."""
    kinds = [sdk.AuthenticationError, sdk.NotFoundError, sdk.RateLimitError, sdk.InternalServerError]
    asked = [(client(key="x"), "m"), (client(), "no-such-model"), (client(), "mock-429"), (client(), "mock-529")]
    for (one, model), kind, status, expected in zip(asked, kinds, (401, 404, 429, 529), names):
        error = refused(lambda: ask(one, model), kind, status)  # noqa: B023
        equal("error", error.type or error.code, expected)
        equal("retry-after", error.response.headers.get("retry-after"), "1" if status == 429 else None)
    waited(lambda model: ask(client(retries=2), model))
    error = refused(lambda: list(ask(client(), "mock-midstream", stream=True)), sdk.APIError)
    equal("mid-stream", error.type, names[-1])
    refused(lambda: list(ask(client(), "mock-cut", stream=True)), (*CUT, sdk.APIConnectionError))


def openai_client(key=KEY, retries=0):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)


def chat(client, model="m", **more):
    return client.chat.completions.create(model=model, messages=SAY_HI, **more)


def openai_chat():
    client = openai_client()
    said = chat(client)
    equal("answer", (said.choices[0].message.content, said.choices[0].finish_reason), (TEXT, "stop"))
    equal("usage", said.usage.total_tokens, said.usage.prompt_tokens + said.usage.completion_tokens)
    parts = list(chat(client, stream=True, stream_options={"include_usage": True}))
    equal("text", "".join(part.choices[0].delta.content or "" for part in parts if part.choices), TEXT)
    equal("usage at the end", [part.usage for part in parts if part.usage], [said.usage])
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY, "strict": True}}]
    asked = chat(client, tools=tools).choices[0]
    call = asked.message.tool_calls[0]
    equal("call", (asked.finish_reason, json.loads(call.function.arguments)), ("tool_calls", PARIS))
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
    after = client.chat.completions.create(model="m", messages=[*SAY_HI, asked.message, result], tools=tools)
    equal("after the result", after.choices[0].message.content, TEXT)
    with client.chat.completions.stream(model="m", messages=SAY_HI, tools=tools) as stream:
        kinds = {event.type for event in stream}
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert "tool_calls.function.arguments.done" in kinds, kinds
    equal("arguments", json.loads(call.function.arguments), PARIS)
    assert "mock-model" in [model.id for model in client.models.list()]
    equal("model", client.models.retrieve("m").id, "m")


def openai_failures():
    failures(openai_client, chat, openai, ["invalid_request_error"] * 2 + ["tokens", "server_error"])


def openai_responses():
    client = openai_client()
    equal("text", client.responses.create(model="m", input="hi").output_text, TEXT)
    with client.responses.stream(model="m", input="hi") as stream:
        kinds = [event.type for event in stream]
        equal("text", stream.get_final_response().output_text, TEXT)
    equal("first and last", (kinds[0], kinds[-1]), ("response.created", "response.completed"))
    tools = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": True}]
    call = client.responses.create(model="m", input=SAY_HI, tools=tools).output[0]
    equal("arguments", json.loads(call.arguments), PARIS)
    vectors = client.embeddings.create(model="m", input=["a", "b"]).data
    equal("vectors", [len(vector.embedding) for vector in vectors], [8, 8])
    for model in ("mock-midstream", "mock-cut"):
        asked = lambda: list(client.responses.create(model=model, input="hi", stream=True))  # noqa: E731, B023
        refused(asked, openai.APIError if model == "mock-midstream" else (*CUT, openai.APIConnectionError))


def azure():
    client = openai.AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2024-10-21", max_retries=0)
    equal("model", chat(client, "dep").model, "dep")
    parts = chat(client, "dep", stream=True)
    equal("text", "".join(part.choices[0].delta.content or "" for part in parts), TEXT)
    equal("vectors", len(client.embeddings.create(model="dep", input=["a", "b"]).data), 2)
    wrong = openai.AzureOpenAI(azure_endpoint=url, api_key="x", api_version="2024-10-21", max_retries=0)
    equal("code", refused(lambda: chat(wrong), openai.AuthenticationError, 401).code, "401")


def gemini(client, models=True):
    model = "gemini-2.5-flash"
    equal("text", client.models.generate_content(model=model, contents="hi").text, TEXT)
    parts = list(client.models.generate_content_stream(model=model, contents="hi"))
    equal("text", "".join(part.text for part in parts), TEXT)
    used = [part.usage_metadata.candidates_token_count for part in parts]
    equal("usage grows", used, sorted(used))
    equal("tokens", client.models.count_tokens(model=model, contents="12345678").total_tokens, 2)
    declared = types.Tool(function_declarations=[{"name": "get_weather", "parameters_json_schema": CITY}])
    asked = types.GenerateContentConfig(tools=[declared])
    call = client.models.generate_content(model=model, contents="hi", config=asked).function_calls[0]
    equal("call", (call.name, call.args), ("get_weather", PARIS))
    if models:
        equal("vectors", len(client.models.embed_content(model="e", contents=["a", "b"]).embeddings), 2)
        assert "models/mock-model" in [listed.name for listed in client.models.list()]
        equal("model", client.models.get(model=model).name, f"models/{model}")
    for model, kind, status, name in [
        ("no-such-model", errors.ClientError, 404, "NOT_FOUND"),
        ("mock-429", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("mock-529", errors.ServerError, 529, "UNAVAILABLE"),
    ]:
        ask = lambda: client.models.generate_content(model=model, contents="hi")  # noqa: E731, B023
        error = refused(ask, kind, status)
        equal("kind", error.status, name)
        delays = [one["retryDelay"] for one in error.details["error"].get("details", []) if "retryDelay" in one]
        equal("delay", delays, ["1s"] if status == 429 else [])
    broken = lambda: list(client.models.generate_content_stream(model="mock-midstream", contents="hi"))  # noqa: E731
    refused(broken, (errors.APIError, errors.UnknownApiResponseError))
    cut = lambda: list(client.models.generate_content_stream(model="mock-cut", contents="hi"))  # noqa: E731
    refused(cut, CUT)


def gemini_api():
    gemini(genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)))
    wrong = genai.Client(api_key="x", http_options=types.HttpOptions(base_url=url))
    error = refused(lambda: wrong.models.generate_content(model="m", contents="hi"), errors.ClientError, 400)
    equal("reason", error.details["error"]["details"][0]["reason"], "API_KEY_INVALID")


def vertex_google():
    at = types.HttpOptions(base_url=url)
    client = lambda token: genai.Client(  # noqa: E731
        vertexai=True, project="p", location="l", http_options=at,
        credentials=google.oauth2.credentials.Credentials(token),
    )
    gemini(client(KEY), models=False)
    wrong = client("x")
    refused(lambda: wrong.models.generate_content(model="m", contents="hi"), errors.ClientError, 401)


def messages(client, model, **more):
    return client.messages.create(model=model, max_tokens=9, messages=SAY_HI, **more)


def anthropic_messages(client, model):
    equal("text", messages(client, model).content[0].text, TEXT)
    with client.messages.stream(model=model, max_tokens=9, messages=SAY_HI) as stream:
        equal("text", stream.get_final_text(), TEXT)
    tools = [{"name": "get_weather", "input_schema": CITY}]
    called = messages(client, model, tools=tools)
    equal("input", (called.stop_reason, called.content[0].input), ("tool_use", PARIS))
    result = {"type": "tool_result", "tool_use_id": called.content[0].id, "content": "22 degrees"}
    turns = [*SAY_HI, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(model=model, max_tokens=9, messages=turns, tools=tools)
    equal("after the result", (after.stop_reason, after.content[0].text), ("end_turn", TEXT))
    with client.messages.stream(model=model, max_tokens=9, messages=SAY_HI, tools=tools) as stream:
        equal("input", stream.get_final_message().content[0].input, PARIS)


def anthropic_client(key=KEY, retries=0):
    return anthropic.Anthropic(base_url=url, api_key=key, max_retries=retries)


def anthropic_api():
    client = anthropic_client()
    anthropic_messages(client, "claude-sonnet-4-5")
    assert messages(client, "m")._request_id, "no request-id"
    equal("tokens", client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "12345678"}]).input_tokens, 2)
    assert "mock-model" in [model.id for model in client.models.list()]
    anthropic_messages(anthropic.Anthropic(base_url=url, auth_token=KEY, max_retries=0), "m")
    names = ["authentication_error", "not_found_error", "rate_limit_error", "overloaded_error"]
    failures(anthropic_client, messages, anthropic, names)


def vertex_anthropic():
    client = anthropic.AnthropicVertex(base_url=f"{url}/v1", region="us-east5", project_id="p", access_token=KEY)
    anthropic_messages(client, "claude-sonnet-4-5@20250929")
    counted = client.messages.count_tokens(model="claude", messages=[{"role": "user", "content": "12345678"}])
    equal("tokens", counted.input_tokens, 2)


def bedrock_anthropic():
    keys = {"aws_access_key": AWS_ID, "aws_secret_key": AWS_SECRET, "aws_region": "us-east-1"}
    client = anthropic.AnthropicBedrock(base_url=url, max_retries=0, **keys)
    anthropic_messages(client, "anthropic.claude-sonnet-4-5-20250929-v1:0")
    refused(lambda: messages(client, "mock-429"), anthropic.RateLimitError, 429)


def bedrock(secret=AWS_SECRET, attempts=1, **more):
    config = botocore.config.Config(retries={"total_max_attempts": attempts, "mode": "standard"})
    return boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config,
                        aws_access_key_id=AWS_ID, aws_secret_access_key=secret, **more)


def bedrock_converse():
    client, arn = bedrock(), "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v1:0"
    say_hi = [{"role": "user", "content": [{"text": "hi"}]}]
    said = client.converse(modelId=arn, messages=say_hi)
    equal("text", said["output"]["message"]["content"], [{"text": TEXT}])
    events = list(client.converse_stream(modelId=arn, messages=say_hi)["stream"])
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    equal("text", "".join(deltas), TEXT)
    equal("last", list(events[-1]), ["metadata"])
    tools = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}]}
    called = client.converse(modelId="m", messages=say_hi, toolConfig=tools)["output"]["message"]
    call = called["content"][0]["toolUse"]
    equal("input", call["input"], PARIS)
    result = {"toolUseId": call["toolUseId"], "content": [{"text": "22 degrees"}]}
    turns = [*say_hi, called, {"role": "user", "content": [{"toolResult": result}]}]
    equal("after the result", client.converse(modelId="m", messages=turns, toolConfig=tools)["stopReason"], "end_turn")
    events = client.converse_stream(modelId="m", messages=say_hi, toolConfig=tools)["stream"]
    deltas = [event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event]
    equal("input", json.loads("".join(deltas)), PARIS)


def bedrock_failures():
    known = bedrock().exceptions
    say_hi = [{"role": "user", "content": [{"text": "hi"}]}]
    ask = lambda model, **how: bedrock(**how).converse(modelId=model, messages=say_hi)  # noqa: E731
    refused(lambda: ask("no-such-model"), known.ResourceNotFoundException, 404)
    refused(lambda: ask("mock-429"), known.ThrottlingException, 429)
    refused(lambda: ask("mock-529"), known.ServiceUnavailableException, 529)
    for how, code in [
        ({"secret": "other"}, "InvalidSignatureException"),
        ({"aws_session_token": "unasked"}, "UnrecognizedClientException"),
    ]:
        error = refused(lambda: ask("m", **how), botocore.exceptions.ClientError, 403)  # noqa: B023
        equal("code", error.response["Error"]["Code"], code)
    equal("retried", ask(f"mock-429-once-{uuid.uuid4().hex}", attempts=2)["stopReason"], "end_turn")
    stream = lambda model: list(bedrock().converse_stream(modelId=model, messages=say_hi)["stream"])  # noqa: E731
    error = refused(lambda: stream("mock-midstream"), botocore.exceptions.EventStreamError)
    equal("code", error.response["Error"]["Code"], "serviceUnavailableException")
    refused(lambda: stream("mock-cut"), urllib3.exceptions.ProtocolError)


def bedrock_invoke():
    client = bedrock()
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": SAY_HI})
    said = json.loads(client.invoke_model(modelId="m", body=body)["body"].read())
    equal("text", said["content"][0]["text"], TEXT)
    stream = client.invoke_model_with_response_stream(modelId="m", body=body)["body"]
    kinds = [json.loads(event["chunk"]["bytes"])["type"] for event in stream]
    equal("first and last", (kinds[0], kinds[-1]), ("message_start", "message_stop"))


for name, run in [
    ("openai: chat, streams, tools and models", openai_chat),
    ("openai: errors, retries and broken streams", openai_failures),
    ("openai: Responses and embeddings", openai_responses),
    ("openai: Azure", azure),
    ("google-genai: the Gemini API", gemini_api),
    ("google-genai: Vertex AI", vertex_google),
    ("anthropic: messages, streams, tools and errors", anthropic_api),
    ("anthropic: Vertex AI", vertex_anthropic),
    ("anthropic: Bedrock", bedrock_anthropic),
    ("boto3: Bedrock's Converse, signed", bedrock_converse),
    ("boto3: Bedrock's errors, retries and broken streams", bedrock_failures),
    ("boto3: Bedrock's invoke, signed", bedrock_invoke),
]:
    checks.check(name, run)
sys.exit(1 if checks.failed else 0)
