// The vendors' own JavaScript SDKs against the mock, which has to pass for each of their services. Loopback only.
//
//   node providers.mjs URL-OF-THE-MOCK
//
// The mock admits the key `test-key`. The models that fail are in its README.
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { ApiError, GoogleGenAI } from '@google/genai';
import OpenAI, { AzureOpenAI } from 'openai';
import { check, done } from './lib.mjs';

const url = process.argv[2];
const KEY = 'test-key';
const TEXT = 'Hello from the mock.';
const SAY_HI = [{ role: 'user', content: 'hi' }];
const CITY = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const PARIS = { city: 'Paris' };

async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

// The error of that kind with which it ends.
async function refused(run, kind, status) {
  try {
    await run();
  } catch (error) {
    assert(error instanceof kind, `${error.constructor.name} is no ${kind.name}: ${error.message}`);
    if (status) assert.equal(error.status, status);
    return error;
  }
  throw new Error('was not refused');
}

// What is the same in the SDKs of OpenAI and Anthropic: classes by status, and their own retries.
async function failures(client, ask, sdk, names) {
  const cases = [
    [client({ key: 'x' }), 'm', sdk.AuthenticationError, 401],
    [client(), 'no-such-model', sdk.NotFoundError, 404],
    [client(), 'mock-429', sdk.RateLimitError, 429],
    [client(), 'mock-529', sdk.InternalServerError, 529],
  ];
  for (const [index, [one, model, kind, status]] of cases.entries()) {
    const error = await refused(() => ask(one, model), kind, status);
    assert.equal(error.type ?? error.code, names[index]);
    assert.equal(error.headers.get('retry-after'), status === 429 ? '1' : null);
  }
  const start = performance.now();
  await ask(client({ retries: 2 }), `mock-429-once-${crypto.randomUUID()}`);
  const took = performance.now() - start;
  assert(took >= 900 && took < 10_000, `${took} ms`);
  const error = await refused(() => all(ask(client(), 'mock-midstream', { stream: true })), sdk.APIError);
  assert.equal(error.type, names.at(-1));
  await refused(() => all(ask(client(), 'mock-cut', { stream: true })), Error);
}

const openai = ({ key = KEY, retries = 0 } = {}) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: retries });
const chat = (client, model = 'm', more = {}) => client.chat.completions.create({ model, messages: SAY_HI, ...more });
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

await check('openai (npm): chat, streams, tools and models', async () => {
  const client = openai();
  const said = await chat(client);
  assert.deepEqual([said.choices[0].message.content, said.choices[0].finish_reason], [TEXT, 'stop']);
  const chunks = await all(chat(client, 'm', { stream: true, stream_options: { include_usage: true } }));
  assert.equal(textOf(chunks), TEXT);
  assert.deepEqual(chunks.map((chunk) => chunk.usage).filter(Boolean), [said.usage]);
  const tools = [{ type: 'function', function: { name: 'get_weather', parameters: CITY, strict: true } }];
  const { message } = (await chat(client, 'm', { tools })).choices[0];
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), PARIS);
  const result = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: '22 degrees' };
  const after = await chat(client, 'm', { tools, messages: [...SAY_HI, message, result] });
  assert.equal(after.choices[0].message.content, TEXT);
  const streamed = await client.chat.completions.stream({ model: 'm', messages: SAY_HI, tools }).finalChatCompletion();
  assert.deepEqual(JSON.parse(streamed.choices[0].message.tool_calls[0].function.arguments), PARIS);
  assert((await all(client.models.list())).some((model) => model.id === 'mock-model'));
  assert.equal((await client.models.retrieve('m')).id, 'm');
});

await check('openai (npm): errors, retries and broken streams', () => failures(
  openai, chat, OpenAI, ['invalid_request_error', 'invalid_request_error', 'tokens', 'server_error'],
));

await check('openai (npm): Responses and embeddings', async () => {
  const client = openai();
  assert.equal((await client.responses.create({ model: 'm', input: 'hi' })).output_text, TEXT);
  const events = await all(client.responses.create({ model: 'm', input: 'hi', stream: true }));
  assert.deepEqual([events[0].type, events.at(-1).type], ['response.created', 'response.completed']);
  assert.equal((await client.responses.stream({ model: 'm', input: 'hi' }).finalResponse()).output_text, TEXT);
  const tools = [{ type: 'function', name: 'get_weather', parameters: CITY, strict: true }];
  const [call] = (await client.responses.create({ model: 'm', input: 'hi', tools })).output;
  assert.deepEqual(JSON.parse(call.arguments), PARIS);
  // The SDK asks for base64 and decodes it.
  const vectors = (await client.embeddings.create({ model: 'm', input: ['a', 'b'] })).data;
  const plain = (await client.embeddings.create({ model: 'm', input: ['a', 'b'], encoding_format: 'float' })).data;
  const rounded = (list) => list.map(({ embedding }) => embedding.map(Math.fround));
  assert.deepEqual(rounded(vectors), rounded(plain));
  for (const model of ['mock-midstream', 'mock-cut']) {
    await refused(() => all(client.responses.create({ model, input: 'hi', stream: true })), Error);
  }
});

await check('openai (npm): Azure', async () => {
  const client = (apiKey) => new AzureOpenAI({ endpoint: url, apiKey, apiVersion: '2024-10-21', maxRetries: 0 });
  assert.equal((await chat(client(KEY), 'dep')).model, 'dep');
  assert.equal(textOf(await all(chat(client(KEY), 'dep', { stream: true }))), TEXT);
  assert.equal((await refused(() => chat(client('x')), AzureOpenAI.AuthenticationError, 401)).code, '401');
});

const anthropic = ({ key = KEY, retries = 0 } = {}) => new Anthropic({ baseURL: url, apiKey: key, maxRetries: retries });
const messages = (client, model = 'm', more = {}) => client.messages.create({ model, max_tokens: 9, messages: SAY_HI, ...more });

await check('@anthropic-ai/sdk: messages, streams and tools', async () => {
  const client = anthropic();
  const said = await messages(client);
  assert.equal(said.content[0].text, TEXT);
  assert(said._request_id, 'a request id');
  const asked = { model: 'm', max_tokens: 9, messages: SAY_HI };
  assert.equal(await client.messages.stream(asked).finalText(), TEXT);
  const tools = [{ name: 'get_weather', input_schema: CITY }];
  const called = await messages(client, 'm', { tools });
  assert.deepEqual([called.stop_reason, called.content[0].input], ['tool_use', PARIS]);
  const result = { type: 'tool_result', tool_use_id: called.content[0].id, content: '22 degrees' };
  const turns = [...SAY_HI, { role: 'assistant', content: called.content }, { role: 'user', content: [result] }];
  assert.equal((await messages(client, 'm', { tools, messages: turns })).stop_reason, 'end_turn');
  const streamed = await client.messages.stream({ ...asked, tools }).finalMessage();
  assert.deepEqual(streamed.content[0].input, PARIS);
  assert.equal((await client.messages.countTokens({ model: 'm', messages: [{ role: 'user', content: '12345678' }] })).input_tokens, 2);
  assert((await all(client.models.list())).some((model) => model.id === 'mock-model'));
});

await check('@anthropic-ai/sdk: errors, retries and broken streams', () => failures(
  anthropic, messages, Anthropic,
  ['authentication_error', 'not_found_error', 'rate_limit_error', 'overloaded_error'],
));

const google = (apiKey = KEY) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } }).models;

await check('@google/genai: content, streams, tools, embeddings and models', async () => {
  const models = google();
  const asked = { model: 'gemini-2.5-flash', contents: 'hi' };
  assert.equal((await models.generateContent(asked)).text, TEXT);
  const chunks = await all(models.generateContentStream(asked));
  assert.equal(chunks.map((chunk) => chunk.text).join(''), TEXT);
  assert(chunks.every((chunk) => chunk.usageMetadata.promptTokenCount > 0), 'usage in every chunk');
  assert.equal((await models.countTokens({ ...asked, contents: '12345678' })).totalTokens, 2);
  const config = { tools: [{ functionDeclarations: [{ name: 'get_weather', parametersJsonSchema: CITY }] }] };
  const [call] = (await models.generateContent({ ...asked, config })).functionCalls;
  assert.deepEqual([call.name, call.args], ['get_weather', PARIS]);
  assert.equal((await models.embedContent({ model: 'e', contents: ['a', 'b'] })).embeddings.length, 2);
  assert((await all(models.list())).some((model) => model.name === 'models/mock-model'));
  assert.equal((await models.get({ model: 'm' })).name, 'models/m');
});

await check('@google/genai: errors and broken streams', async () => {
  const ask = (model, key) => google(key).generateContent({ model, contents: 'hi' });
  const errorOf = (error) => JSON.parse(error.message).error;
  const invalid = errorOf(await refused(() => ask('m', 'x'), ApiError, 400));
  assert.equal(invalid.details[0].reason, 'API_KEY_INVALID');
  assert.equal(errorOf(await refused(() => ask('no-such-model'), ApiError, 404)).status, 'NOT_FOUND');
  const limited = errorOf(await refused(() => ask('mock-429'), ApiError, 429));
  assert.equal(limited.details.at(-1).retryDelay, '1s');
  assert.equal(errorOf(await refused(() => ask('mock-529'), ApiError, 529)).status, 'UNAVAILABLE');
  const stream = (model) => all(google().generateContentStream({ model, contents: 'hi' }));
  // An `ApiError` only if the last bytes of the stream reach the SDK by themselves.
  await refused(() => stream('mock-midstream'), Error);
  await refused(() => stream('mock-cut'), Error);
});

done();
