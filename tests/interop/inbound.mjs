// A certified provider's ID tokens, exchanged for keys by the gateway; and a generic OAuth client on the key server's
// own endpoints. Loopback only.
//
//   node inbound.mjs PATH-OF-portunus
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { check, done } from './lib.mjs';

const here = import.meta.dirname;
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portunus-'));
const children = [];
process.on('exit', () => children.forEach((child) => child.kill()));

const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

// Starts a program, and answers the first line that it prints.
const start = (program, args, options) => new Promise((resolve, reject) => {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options });
  children.push(child);
  child.on('exit', (code) => reject(new Error(`${program} ended with ${code}`)));
  child.stdout.once('data', (data) => resolve(String(data).split('\n')[0]));
});

const port = await freePort();
const issuer = `http://127.0.0.1:${port}`;
await start(process.execPath, [path.join(here, 'idp.mjs')], { env: { ...process.env, PORT: String(port) } });

const gatewayPort = await freePort();
const gateway = `http://127.0.0.1:${gatewayPort}`;
const admin = 'admin-token-of-this-test-only';
const secret = 'secret-of-the-proxy-of-this-test';
const algorithms = ['RS256', 'ES256', 'EdDSA'];
fs.writeFileSync(path.join(folder, 'portunus.toml'), `
[server]
listen = "127.0.0.1:${gatewayPort}"
public_url = "${gateway}"

[state]
url = "memory:"

[audit]
file = "audit.jsonl"

[key_server]
audience = "portunus"
admin = { bearer_token = "\${env:ADMIN}" }

[[key_server.clients]]
id = "proxy"
secret = "\${env:PROXY}"
tenant = "acme"

[[issuers]]
name = "idp"
issuer = "${issuer}"
tenant = "acme"
audience = ${JSON.stringify(algorithms.map((alg) => `client-${alg}`))}

[[policies]]
name = "engineers"
match = { issuer = "idp", groups = ["eng"] }
grant = { models = ["gpt-4o*"], tier = "standard", ttl = "1h" }

[[tiers]]
name = "standard"
requests_per_minute = 1000
`);
await start(process.argv[2], ['serve', '--config', 'portunus.toml'], { cwd: folder, env: { ...process.env, ADMIN: admin, PROXY: secret } });

// Follows the redirects of a sign-in to the callback, keeping the cookies as a browser does.
async function signIn(url) {
  const cookies = new Map();
  for (let hops = 0; hops < 10; hops += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [pair] = line.split(';');
      cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1));
    }
    const location = response.headers.get('location');
    assert(location, `${response.status} without a redirect at ${url}`);
    url = new URL(location, url);
    if (url.pathname === '/callback') return url;
  }
  throw new Error('too many redirects');
}

async function idToken(alg, user = 'alice') {
  const config = await openid.discovery(
    new URL(issuer), `client-${alg}`, { id_token_signed_response_alg: alg }, openid.ClientSecretBasic(`secret-of-${alg}`),
    { execute: [openid.allowInsecureRequests] },
  );
  const [verifier, state, nonce] = [openid.randomPKCECodeVerifier(), openid.randomState(), openid.randomNonce()];
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: 'http://127.0.0.1:9/callback', scope: 'openid email', state, nonce, login_hint: user,
    code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  const tokens = await openid.authorizationCodeGrant(config, await signIn(url), {
    pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce,
  });
  return tokens.id_token;
}

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';
const exchange = (token, more = {}) => fetch(`${gateway}/oauth/token`, {
  method: 'POST',
  body: new URLSearchParams({ grant_type: EXCHANGE, subject_token: token, subject_token_type: ID_TOKEN, ...more }),
});

for (const alg of algorithms) {
  await check(`oidc-provider: an ${alg} ID token is exchanged for a key, once`, async () => {
    const token = await idToken(alg);
    const response = await exchange(token);
    const key = await response.json();
    assert.equal(response.status, 200, JSON.stringify(key));
    assert(key.access_token.startsWith('ptk_') && key.token_type === 'Bearer', 'a key');
    assert.equal(response.headers.get('cache-control'), 'no-store');
    assert.equal((await exchange(token)).status, 400, 'a second exchange');
    return key.scope;
  });
}

await check('oidc-provider: a user whom no policy admits gets none', async () => {
  const response = await exchange(await idToken('RS256', 'bob'));
  assert.equal(response.status, 400);
  assert.equal((await response.json()).error, 'invalid_request');
});

await check('oidc-provider: keys rotate, and one fetch picks them up', async () => {
  const stats = async () => (await (await fetch(`${issuer}/stats`)).json())['/jwks'] ?? 0;
  await fetch(`${issuer}/rotate?keep=1`, { method: 'POST' });
  const before = await stats();
  for (const alg of algorithms) {
    // Signing in fetches the keys as well: only what the exchange adds is counted.
    const token = await idToken(alg);
    const asked = await stats();
    assert.equal((await exchange(token)).status, 200, alg);
    if (alg === algorithms[0]) assert((await stats()) - asked <= 1, 'fetches of the first exchange');
    else assert.equal(await stats(), asked, `fetches for ${alg}`);
  }
  return `${(await stats()) - before} fetches, sign-ins included`;
});

// As any OAuth client would, by what the server says about itself.
const insecure = { [oauth.allowInsecureRequests]: true };
const proxy = { client_id: 'proxy' };
let server;
await check('oauth4webapi: the server describes itself (RFC 8414)', async () => {
  const url = new URL(gateway);
  const response = await oauth.discoveryRequest(url, { algorithm: 'oauth2', ...insecure });
  server = await oauth.processDiscoveryResponse(url, response);
  assert(server.grant_types_supported.includes(EXCHANGE), 'the grant type is listed');
  return server.token_endpoint;
});

await check('oauth4webapi: a protected resource describes itself (RFC 9728)', async () => {
  const url = new URL(gateway);
  const response = await oauth.resourceDiscoveryRequest(url, insecure);
  const resource = await oauth.processResourceDiscoveryResponse(url, response);
  return resource.authorization_servers.join(' ');
});

await check('oauth4webapi: exchange, introspection and revocation', async () => {
  const asked = await oauth.genericTokenEndpointRequest(
    server, { client_id: 'anybody' }, oauth.None(), EXCHANGE,
    { subject_token: await idToken('ES256'), subject_token_type: ID_TOKEN }, insecure,
  );
  const key = await oauth.processGenericTokenEndpointResponse(server, { client_id: 'anybody' }, asked);
  assert.equal(key.token_type, 'bearer');
  const look = async (authentication) => oauth.processIntrospectionResponse(
    server, proxy, await oauth.introspectionRequest(server, proxy, authentication, key.access_token, insecure),
  );
  for (const authentication of [oauth.ClientSecretBasic(secret), oauth.ClientSecretPost(secret)]) {
    const found = await look(authentication);
    assert(found.active && found.jti === key.jti && found.scope === key.scope, JSON.stringify(found));
  }
  await assert.rejects(look(oauth.ClientSecretBasic('wrong')), 'a wrong secret');
  const revoked = await oauth.revocationRequest(server, proxy, oauth.ClientSecretBasic(secret), key.access_token, insecure);
  await oauth.processRevocationResponse(revoked);
  assert.deepEqual(await look(oauth.ClientSecretBasic(secret)), { active: false });
});

// Python's turn: its generic client, and whatever the OpenAPI document promises.
let failed = false;
if (process.argv[3]) {
  const tokens = { ES256: await idToken('ES256'), RS256: await idToken('RS256') };
  const python = spawn(process.argv[3], [path.join(here, 'inbound.py')], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, GATEWAY: gateway, ADMIN: admin, PROXY: secret },
  });
  python.stdin.end(JSON.stringify(tokens));
  failed = await new Promise((resolve) => python.on('exit', resolve)) !== 0;
}

done(failed);
