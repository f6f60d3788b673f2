// openid-client, a certified relying party, against the mock's OAuth server. Loopback only.
//
//   node oauth.mjs ISSUER
//
// The server is the mock's example `idp`: its clients and its user alice are named there.
import assert from 'node:assert/strict';
import * as openid from 'openid-client';
import { check, done } from './lib.mjs';

const issuer = process.argv[2];
const insecure = { execute: [openid.allowInsecureRequests] };
const BACK = 'http://127.0.0.1:8080/callback';
const ALICE = { username: 'alice', password: 'alice-pw' };

async function configured(id, authentication) {
  const config = await openid.discovery(new URL(issuer), id, undefined, authentication, insecure);
  // Signatures of ID tokens are verified as well, although they come from the issuer itself.
  openid.enableNonRepudiationChecks(config);
  return config;
}

const post = (to, fields) => fetch(to, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });

// Asks for a code, and signs in at the page that comes.
async function authorize(config, more = {}) {
  const checks = {
    pkceCodeVerifier: openid.randomPKCECodeVerifier(),
    expectedState: openid.randomState(),
    expectedNonce: openid.randomNonce(),
    idTokenExpected: true,
  };
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: BACK,
    scope: 'openid email offline_access',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    code_challenge: await openid.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    ...more,
  });
  const page = await fetch(url);
  assert.match(await page.text(), /<form method=post/);
  const answer = await post(url.origin + url.pathname, [...url.searchParams, ...Object.entries(ALICE)]);
  assert.equal(answer.status, 302);
  return { back: new URL(answer.headers.get('location')), checks };
}

async function signIn(config, more, options) {
  const { back, checks } = await authorize(config, more);
  return openid.authorizationCodeGrant(config, back, checks, undefined, options);
}

async function refused(run, error) {
  await assert.rejects(run, (found) => {
    assert.equal(found.error ?? found.cause?.error ?? found.code, error);
    return true;
  });
}

const web = await configured('gateway-web', openid.ClientSecretBasic('gateway-web-secret'));
const app = await configured('cli', openid.None());

// A public client's loopback address has any port (RFC 8252 §7.3).
for (const [name, config, redirect_uri] of [
  ['a public client', app, 'http://127.0.0.1:41234/callback'],
  ['a client with a secret', web, BACK],
]) {
  await check(`openid-client: code, PKCE, nonce, signature and userinfo of ${name}`, async () => {
    const tokens = await signIn(config, { redirect_uri });
    assert.deepEqual([tokens.claims().sub, tokens.claims().email], ['alice', 'alice@example.com']);
    const user = await openid.fetchUserInfo(config, tokens.access_token, 'alice');
    assert.equal(user.email, 'alice@example.com');
  });
}

await check('openid-client: a code is good once, with its own verifier', async () => {
  const { back, checks } = await authorize(web);
  const others = { ...checks, pkceCodeVerifier: openid.randomPKCECodeVerifier() };
  await refused(() => openid.authorizationCodeGrant(web, back, others), 'invalid_grant');
  const second = await authorize(web);
  await openid.authorizationCodeGrant(web, second.back, second.checks);
  await refused(() => openid.authorizationCodeGrant(web, second.back, second.checks), 'invalid_grant');
});

await check('openid-client: a refresh token rotates, and its reuse ends the family', async () => {
  const first = await signIn(web);
  const second = await openid.refreshTokenGrant(web, first.refresh_token);
  assert.equal(second.claims().sub, 'alice');
  assert.notEqual(second.refresh_token, first.refresh_token);
  await refused(() => openid.refreshTokenGrant(web, first.refresh_token), 'invalid_grant');
  await refused(() => openid.refreshTokenGrant(web, second.refresh_token), 'invalid_grant');
});

await check('openid-client: introspection and revocation', async () => {
  const tokens = await signIn(web);
  const found = await openid.tokenIntrospection(web, tokens.access_token);
  assert.deepEqual([found.active, found.client_id, found.sub], [true, 'gateway-web', 'alice']);
  await openid.tokenRevocation(web, tokens.refresh_token, { token_type_hint: 'refresh_token' });
  assert.deepEqual(await openid.tokenIntrospection(web, tokens.access_token), { active: false });
  await refused(() => openid.refreshTokenGrant(web, tokens.refresh_token), 'invalid_grant');
  await openid.tokenRevocation(web, 'no-such-token');
});

await check('openid-client: device flow, approved and denied at the page', async () => {
  const grant = 'urn:ietf:params:oauth:grant-type:device_code';
  const start = () => openid.initiateDeviceAuthorization(app, { scope: 'openid email' });
  const flow = await start();
  await refused(() => openid.genericGrantRequest(app, grant, { device_code: flow.device_code }), 'authorization_pending');
  const approved = await post(flow.verification_uri, { user_code: flow.user_code.toLowerCase(), ...ALICE });
  assert.equal(approved.status, 200);
  const tokens = await openid.pollDeviceAuthorizationGrant(app, flow);
  assert.equal(tokens.claims().sub, 'alice');
  const other = await start();
  await post(other.verification_uri, { user_code: other.user_code, deny: 'yes', ...ALICE });
  await refused(() => openid.pollDeviceAuthorizationGrant(app, other), 'access_denied');
});

await check('openid-client: client credentials, by both ways of saying a secret', async () => {
  for (const authentication of [openid.ClientSecretBasic, openid.ClientSecretPost]) {
    const service = await configured('service', authentication('service-secret'));
    const tokens = await openid.clientCredentialsGrant(service, { scope: 'api' });
    assert.deepEqual([tokens.scope, tokens.refresh_token, tokens.id_token], ['api', undefined, undefined]);
    const wrong = await configured('service', authentication('wrong'));
    await assert.rejects(() => openid.clientCredentialsGrant(wrong), (error) => error.status === 401);
  }
});

await check('openid-client: DPoP binds the tokens to a key', async () => {
  const DPoP = openid.getDPoPHandle(app, await openid.randomDPoPKeyPair());
  const tokens = await signIn(app, { dpop_jkt: await DPoP.calculateThumbprint() }, { DPoP });
  assert.equal(tokens.token_type, 'dpop');
  assert.equal((await openid.fetchUserInfo(app, tokens.access_token, 'alice', { DPoP })).sub, 'alice');
  await assert.rejects(() => openid.fetchUserInfo(app, tokens.access_token, 'alice'), (error) => error.status === 401);
  const next = await openid.refreshTokenGrant(app, tokens.refresh_token, undefined, { DPoP });
  assert.equal(next.token_type, 'dpop');
});

await check('openid-client: dynamic registration', async () => {
  const registered = await openid.dynamicClientRegistration(new URL(issuer), { redirect_uris: [BACK] }, undefined, insecure);
  const tokens = await signIn(registered, { scope: 'openid' });
  assert.equal(tokens.claims().aud, registered.clientMetadata().client_id);
});

done();
