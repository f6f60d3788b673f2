//! An issuer whose documents and keys a test makes up: every algorithm, any header, any key set.

use std::sync::atomic::{AtomicU8, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portunus_keyserver::KeyServer;
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::{NOW, World, configuration, server};

/// Every algorithm that there is.
pub(crate) const ALL: [&str; 10] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];

/// The same, as a configuration lists them.
pub(crate) const ALL_CONFIGURED: &str = "algorithms = [\"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \
                                         \"PS512\", \"ES256\", \"ES384\", \"ES512\", \"EdDSA\"]";

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of each kind.
pub(crate) struct Signer {
    rsa: RsaKeyPair,
    ec: [EcdsaKeyPair; 3],
    ed: Ed25519KeyPair,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let ec = |algorithm| EcdsaKeyPair::generate(algorithm).unwrap();
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: [
                ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
                ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
                ec(&ECDSA_P521_SHA512_FIXED_SIGNING),
            ],
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    /// The public key for an algorithm, named by the algorithm.
    pub(crate) fn jwk(&self, algorithm: &str) -> Value {
        let curve = |place: usize, name: &str| {
            let point = &self.ec[place].public_key().as_ref()[1..];
            let (x, y) = point.split_at(point.len() / 2);
            json!({"kty": "EC", "crv": name, "x": base64(x), "y": base64(y), "kid": algorithm})
        };
        match algorithm {
            "ES256" => curve(0, "P-256"),
            "ES384" => curve(1, "P-384"),
            "ES512" => curve(2, "P-521"),
            "EdDSA" => {
                let x = base64(self.ed.public_key());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": algorithm})
            }
            _ => {
                // RSAPublicKey (RFC 8017 appendix A.1.1) of 2048 bits, with the exponent 65537.
                let n = base64(&self.rsa.public_key().as_ref()[9..265]);
                json!({"kty": "RSA", "n": n, "e": "AQAB", "alg": algorithm, "kid": algorithm})
            }
        }
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": ALL.map(|algorithm| self.jwk(algorithm))})
    }

    fn signature(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let rsa = |encoding: &'static dyn RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(encoding, &random, signed, &mut signature).unwrap();
            signature
        };
        let ec = |place: usize| self.ec[place].sign(&random, signed).unwrap().as_ref().to_vec();
        match algorithm {
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => ec(0),
            "ES384" => ec(1),
            "ES512" => ec(2),
            _ => self.ed.sign(signed).as_ref().to_vec(),
        }
    }

    /// A token with exactly this header and payload, signed by that algorithm whatever the header says.
    pub(crate) fn sign_text(&self, algorithm: &str, header: &str, payload: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", base64(header), base64(payload));
        let signature = base64(self.signature(algorithm, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// A token with the key's name, and these members of the header as well.
    pub(crate) fn sign(&self, algorithm: &str, more: Value, claims: &Value) -> String {
        let mut header = json!({"alg": algorithm, "kid": algorithm});
        let Value::Object(more) = more else { panic!() };
        header.as_object_mut().unwrap().extend(more);
        self.sign_text(algorithm, &header.to_string(), claims.to_string())
    }
}

/// A world in which the issuer `p` publishes what a test says.
pub(crate) struct Published {
    pub(crate) world: World,
    pub(crate) site: MockServer,
    pub(crate) signer: Signer,
    newest: AtomicU8,
}

impl Published {
    /// Publishes a discovery document and the keys, under the issuer's own address.
    pub(crate) async fn new(settings: &str) -> Self {
        let published = Self::silent(settings).await;
        published.discovery(&published.site.uri(), "/jwks.json").await;
        let keys = published.signer.jwks();
        published.keys(&keys).await;
        published
    }

    /// Publishes nothing yet.
    pub(crate) async fn silent(settings: &str) -> Self {
        let (world, site) = (World::new("").await, MockServer::start().await);
        let mut published = Self { world, site, signer: Signer::new(), newest: AtomicU8::new(u8::MAX) };
        let issuer = published.site.uri();
        published.world.server = published.configured(&issuer, settings).await;
        published
    }

    /// A server for which the issuer `p` has this name and these settings.
    pub(crate) async fn configured(&self, issuer: &str, settings: &str) -> KeyServer {
        let more = format!(
            "[[issuers]]\nname = \"p\"\ntenant = \"acme\"\nissuer = \"{issuer}\"\n{settings}\n[[policies]]\n\
             name = \"all\"\nmatch = {{ issuer = \"p\", subject = [\"alice*\", \"spiffe://*\", \"*/*\"] }}\n\
             grant = {{ models = \"all\", tier = \"t\", ttl = \"1h\" }}\n"
        );
        let world = &self.world;
        let config = configuration(world.idp.issuer(), &more);
        server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap()
    }

    pub(crate) async fn discovery(&self, issuer: &str, jwks_path: &str) {
        let document = json!({"issuer": issuer, "jwks_uri": format!("{}{jwks_path}", self.site.uri())});
        self.answers("/.well-known/openid-configuration", ResponseTemplate::new(200).set_body_json(document))
            .await;
    }

    pub(crate) async fn keys(&self, set: &Value) {
        self.answers("/jwks.json", ResponseTemplate::new(200).set_body_json(set)).await;
    }

    /// From now on.
    pub(crate) async fn answers(&self, at: &str, answer: ResponseTemplate) {
        // Of several that match, the one of the highest priority and then the first counts.
        let priority = self.newest.fetch_sub(1, Ordering::SeqCst);
        Mock::given(path(at)).respond_with(answer).with_priority(priority).mount(&self.site).await;
    }

    pub(crate) async fn asked(&self, at: &str) -> usize {
        let requests = self.site.received_requests().await.unwrap();
        requests.iter().filter(|request| request.url.path() == at).count()
    }

    /// Good claims.
    pub(crate) fn claims(&self) -> Value {
        json!({"iss": self.site.uri(), "sub": "alice", "aud": "portunus", "iat": NOW, "exp": NOW + 600})
    }

    /// Good claims, but for these: `null` takes one out.
    pub(crate) fn claims_but(&self, changed: Value) -> Value {
        let mut claims = self.claims();
        let members = claims.as_object_mut().unwrap();
        for (name, value) in changed.as_object().unwrap() {
            match value {
                Value::Null => drop(members.remove(name)),
                value => drop(members.insert(name.clone(), value.clone())),
            }
        }
        claims
    }
}
