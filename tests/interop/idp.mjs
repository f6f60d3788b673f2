// A certified OpenID provider (npm oidc-provider) on loopback, whose users sign in without a page.
//
//   PORT=… node idp.mjs      prints READY once it listens
//   POST /rotate?keep=1|0    new signing keys of every algorithm; keep=0 drops the old ones
//   GET /stats               requests per path
import crypto from 'node:crypto';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const port = Number(process.env.PORT);
const issuer = `http://127.0.0.1:${port}`;
const users = {
  alice: { email: 'alice@example.test', email_verified: true, groups: ['eng'] },
  bob: { email: 'bob@example.test', email_verified: true, groups: ['sales'] },
};
const algorithms = {
  RS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  EdDSA: ['ed25519', {}],
};
const client = (alg) => ({
  client_id: `client-${alg}`,
  client_secret: `secret-of-${alg}`,
  redirect_uris: ['http://127.0.0.1:9/callback'],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  id_token_signed_response_alg: alg,
});

let generation = 0;
function fresh() {
  generation += 1;
  return Object.entries(algorithms).map(([alg, [type, options]]) => ({
    ...crypto.generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }),
    alg,
    use: 'sig',
    kid: `${alg}-${generation}`,
  }));
}

let keys = fresh();
const cookies = [crypto.randomBytes(24).toString('hex')];
const stored = new Map();

// Kept apart from the provider, which is built anew when its keys rotate.
class Kept {
  constructor(model) {
    this.model = model;
  }

  async upsert(id, value) {
    stored.set(`${this.model}:${id}`, value);
    if (value.uid) stored.set(`uid:${this.model}:${value.uid}`, id);
  }

  async find(id) {
    return stored.get(`${this.model}:${id}`);
  }

  async findByUid(uid) {
    return this.find(stored.get(`uid:${this.model}:${uid}`));
  }

  async findByUserCode() {}

  async consume(id) {
    const value = await this.find(id);
    if (value) value.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    stored.delete(`${this.model}:${id}`);
  }

  async revokeByGrantId() {}
}

function provider() {
  return new Provider(issuer, {
    adapter: Kept,
    clients: Object.keys(algorithms).map(client),
    jwks: { keys },
    cookies: { keys: cookies },
    claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'] },
    // An enterprise's provider puts its own claims into the ID token.
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false } },
    ttl: { IdToken: 600, AuthorizationCode: 60, AccessToken: 600, Interaction: 600, Session: 600, Grant: 600 },
    interactions: { url: (_, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: async (_, id) => users[id] && { accountId: id, claims: async () => ({ sub: id, ...users[id] }) },
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({
        clientId: context.oidc.client.clientId,
        accountId: context.oidc.session.accountId,
      });
      grant.addOIDCScope('openid email');
      await grant.save();
      return grant;
    },
  });
}

let current = provider();
const stats = {};

http.createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  const json = (body) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  if (url.pathname === '/rotate') {
    keys = url.searchParams.get('keep') === '1' ? [...fresh(), ...keys] : fresh();
    current = provider();
    return json({ kids: keys.map((key) => key.kid) });
  }
  if (url.pathname === '/stats') return json(stats);
  stats[url.pathname] = (stats[url.pathname] ?? 0) + 1;
  if (url.pathname.startsWith('/sign-in/')) {
    const details = await current.interactionDetails(request, response);
    const accountId = details.params.login_hint;
    return current.interactionFinished(request, response, { login: { accountId } });
  }
  return current.callback()(request, response);
}).listen(port, '127.0.0.1', () => console.log('READY'));
