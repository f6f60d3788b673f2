"""The vendors' own SDKs against the mock, which has to pass for each of their services. Loopback only.

    python providers.py PATH-OF-THE-EXAMPLE-serve
"""
import json
import os
import subprocess
import sys

for name in list(os.environ):
    if name.lower().endswith("_proxy") or name.startswith(("AWS_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_")):
        del os.environ[name]

import anthropic  # noqa: E402
import botocore.config  # noqa: E402
import botocore.exceptions  # noqa: E402
import botocore.session  # noqa: E402
import google.oauth2.credentials  # noqa: E402
import openai  # noqa: E402
from google import genai  # noqa: E402
from google.genai import errors, types  # noqa: E402

from lib import Checks, equal  # noqa: E402

KEY, AWS_ID, AWS_SECRET = "test-key", "AKIDEXAMPLE", "secr/et+x"
TEXT = "Hello from the mock."
SAY_HI = [{"role": "user", "content": "hi"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

mock = subprocess.Popen([sys.argv[1], "0", KEY, f"{AWS_ID}:{AWS_SECRET}"], stdout=subprocess.PIPE, text=True)
url = mock.stdout.readline().split()[1]
checks = Checks()


def refused(run, kind, status):
    try:
        run()
    except kind as error:
        found = getattr(error, "status_code", None) or getattr(error, "code", None)
        found = found or error.response["ResponseMetadata"]["HTTPStatusCode"]
        equal("status", found, status)
        return error
    raise AssertionError("was not refused")


def openai_responses():
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    equal("text", client.responses.create(model="m", input="hi").output_text, TEXT)
    with client.responses.stream(model="m", input="hi") as stream:
        kinds = [event.type for event in stream]
        equal("text", stream.get_final_response().output_text, TEXT)
    equal("first and last", (kinds[0], kinds[-1]), ("response.created", "response.completed"))
    tools = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": True}]
    call = client.responses.create(model="m", input=SAY_HI, tools=tools).output[0]
    equal("arguments", json.loads(call.arguments), {"city": "Paris"})
    vectors = client.embeddings.create(model="m", input=["a", "b"]).data
    equal("vectors", [len(vector.embedding) for vector in vectors], [8, 8])


def azure():
    client = openai.AzureOpenAI(azure_endpoint=url, api_key=KEY, api_version="2024-10-21", max_retries=0)
    equal("model", client.chat.completions.create(model="dep", messages=SAY_HI).model, "dep")
    parts = client.chat.completions.create(model="dep", messages=SAY_HI, stream=True)
    equal("text", "".join(part.choices[0].delta.content or "" for part in parts), TEXT)
    equal("vectors", len(client.embeddings.create(model="dep", input=["a", "b"]).data), 2)
    wrong = openai.AzureOpenAI(azure_endpoint=url, api_key="x", api_version="2024-10-21", max_retries=0)
    refused(lambda: wrong.chat.completions.create(model="d", messages=SAY_HI), openai.AuthenticationError, 401)


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
    equal("call", (call.name, call.args), ("get_weather", {"city": "Paris"}))
    if models:
        equal("vectors", len(client.models.embed_content(model="e", contents=["a", "b"]).embeddings), 2)
        assert "models/mock-model" in [listed.name for listed in client.models.list()]
        equal("model", client.models.get(model=model).name, f"models/{model}")
    missing = lambda: client.models.generate_content(model="no-such-model", contents="hi")  # noqa: E731
    equal("kind", refused(missing, errors.APIError, 404).status, "NOT_FOUND")


def gemini_api():
    gemini(genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url)))
    wrong = genai.Client(api_key="x", http_options=types.HttpOptions(base_url=url))
    refused(lambda: wrong.models.generate_content(model="m", contents="hi"), errors.APIError, 401)


def vertex_google():
    known = google.oauth2.credentials.Credentials(KEY)
    at = types.HttpOptions(base_url=url)
    gemini(genai.Client(vertexai=True, project="p", location="l", credentials=known, http_options=at), models=False)


def messages(client, model):
    said = client.messages.create(model=model, max_tokens=9, messages=SAY_HI)
    equal("text", said.content[0].text, TEXT)
    with client.messages.stream(model=model, max_tokens=9, messages=SAY_HI) as stream:
        equal("text", stream.get_final_text(), TEXT)
    tools = [{"name": "get_weather", "input_schema": CITY}]
    called = client.messages.create(model=model, max_tokens=9, messages=SAY_HI, tools=tools)
    equal("input", (called.stop_reason, called.content[0].input), ("tool_use", {"city": "Paris"}))


def vertex_anthropic():
    client = anthropic.AnthropicVertex(base_url=f"{url}/v1", region="us-east5", project_id="p", access_token=KEY)
    messages(client, "claude-sonnet-4-5@20250929")
    counted = client.messages.count_tokens(model="claude", messages=[{"role": "user", "content": "12345678"}])
    equal("tokens", counted.input_tokens, 2)


def bedrock_anthropic():
    keys = {"aws_access_key": AWS_ID, "aws_secret_key": AWS_SECRET, "aws_region": "us-east-1"}
    messages(anthropic.AnthropicBedrock(base_url=url, **keys), "anthropic.claude-sonnet-4-5-20250929-v1:0")


def bedrock(secret=AWS_SECRET):
    once = botocore.config.Config(retries={"max_attempts": 0})
    session = botocore.session.get_session()
    return session.create_client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=once,
                                 aws_access_key_id=AWS_ID, aws_secret_access_key=secret)


def bedrock_converse():
    client, model = bedrock(), "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v1:0"
    say_hi = [{"role": "user", "content": [{"text": "hi"}]}]
    said = client.converse(modelId=model, messages=say_hi)
    equal("text", said["output"]["message"]["content"], [{"text": TEXT}])
    events = list(client.converse_stream(modelId=model, messages=say_hi)["stream"])
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    equal("text", "".join(deltas), TEXT)
    equal("last", list(events[-1]), ["metadata"])
    tools = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": CITY}}}]}
    called = client.converse(modelId="m", messages=say_hi, toolConfig=tools)
    equal("input", called["output"]["message"]["content"][0]["toolUse"]["input"], {"city": "Paris"})
    limited = lambda: client.converse(modelId="mock-429", messages=say_hi)  # noqa: E731
    refused(limited, client.exceptions.ThrottlingException, 429)
    wrong = lambda: bedrock("other").converse(modelId="m", messages=say_hi)  # noqa: E731
    error = refused(wrong, botocore.exceptions.ClientError, 403)
    equal("code", error.response["Error"]["Code"], "InvalidSignatureException")


def bedrock_invoke():
    client = bedrock()
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": SAY_HI})
    said = json.loads(client.invoke_model(modelId="m", body=body)["body"].read())
    equal("text", said["content"][0]["text"], TEXT)
    stream = client.invoke_model_with_response_stream(modelId="m", body=body)["body"]
    kinds = [json.loads(event["chunk"]["bytes"])["type"] for event in stream]
    equal("first and last", (kinds[0], kinds[-1]), ("message_start", "message_stop"))


try:
    for name, run in [
        ("openai: Responses and embeddings", openai_responses),
        ("openai: Azure", azure),
        ("google-genai: the Gemini API", gemini_api),
        ("google-genai: Vertex AI", vertex_google),
        ("anthropic: Vertex AI", vertex_anthropic),
        ("anthropic: Bedrock", bedrock_anthropic),
        ("botocore: Bedrock's Converse, signed", bedrock_converse),
        ("botocore: Bedrock's invoke, signed", bedrock_invoke),
    ]:
        checks.check(name, run)
finally:
    mock.terminate()
    mock.wait(timeout=10)
sys.exit(1 if checks.failed else 0)
