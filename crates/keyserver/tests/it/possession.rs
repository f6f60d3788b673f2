//! Keys that are bound to a private key: without it they are of no use (RFC 9449, RFC 8705).

use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use axum::body::Body;
use base64::Engine as _;
use http::{HeaderMap, Method, Request};
use portunus_auth_core::{AuthError, Authenticator, BearerToken, Confirmation, Outcome, Principal, Reason};
use portunus_keyserver::{
    ClientCertificate, ExchangeError, IssuedKey, KeyServer, Possession, TokenKind, TokenRequest,
};
use portunus_mock::{Algorithm, DpopKey, DpopProof};
use proptest::prelude::*;
use serde_json::json;

use crate::properties::runtime;
use crate::support::{
    Answer, ENGINEERS, NOW, PUBLIC_URL, World, admin, basic, configuration, exchange_of, form, server,
};

const MESSAGES: &str = "/v1/messages";

fn now(world: &World) -> SystemTime {
    use portunus_auth_core::Clock as _;
    world.clock.now()
}

fn mine() -> DpopKey {
    DpopKey::bundled(Algorithm::Es256, 0)
}

fn url(path: &str) -> String {
    format!("{PUBLIC_URL}{path}")
}

fn shown(method: &str, path: &str, proof: impl Into<String>) -> Possession {
    let proof = BearerToken::new(proof);
    Possession::new(Method::from_bytes(method.as_bytes()).unwrap(), path).with_proof(proof)
}

/// A request to the token endpoint with this proof.
fn at_the_token_endpoint(proof: DpopProof<'_>) -> Possession {
    shown("POST", "/oauth/token", proof.sign())
}

fn token_proof<'k>(world: &World, key: &'k DpopKey) -> DpopProof<'k> {
    key.proof("POST", &url("/oauth/token"), now(world))
}

/// A key of somebody's, bound to this private key.
async fn bound(world: &World, subject: &str, key: &DpopKey) -> IssuedKey {
    let possession = at_the_token_endpoint(token_proof(world, key));
    let token = world.engineer(subject).id_token();
    world.exchange_for(token, |request| request.possession = possession).await.unwrap()
}

fn use_proof<'k>(world: &World, key: &'k DpopKey, issued: &IssuedKey) -> DpopProof<'k> {
    key.proof("POST", &url(MESSAGES), now(world)).for_token(issued.access_token.expose())
}

fn prove(world: &World, issued: &IssuedKey, shown: &Possession) -> Result<(), Reason> {
    let principal = world.server.find(&issued.access_token).unwrap();
    proven(&world.server, &principal, &issued.access_token, shown)
}

fn proven(
    server: &KeyServer,
    principal: &Principal,
    token: &BearerToken,
    shown: &Possession,
) -> Result<(), Reason> {
    server.prove(principal, token, shown).map_err(|error| match error {
        AuthError::Unproven(reason) => reason,
        other => panic!("{other:?}"),
    })
}

async fn post(world: &World, proofs: &[&str], parameters: &[(&str, &str)]) -> Answer {
    let mut request =
        Request::post("/oauth/token").header("content-type", "application/x-www-form-urlencoded");
    for proof in proofs {
        request = request.header("DPoP", *proof);
    }
    world.call(request.body(Body::from(form(parameters))).unwrap()).await
}

#[tokio::test]
async fn a_proof_binds_the_key_and_every_use_needs_another() {
    let world = World::new(ENGINEERS).await;
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let mine = DpopKey::bundled(algorithm, 0);
        let token = world.engineer("alice").id_token();
        let proof = token_proof(&world, &mine).sign();
        let answer = post(&world, &[&proof], &exchange_of(&token)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json["token_type"]),
            (200, &json!("DPoP")),
            "{}",
            answer.text
        );
        let key = BearerToken::new(answer.json["access_token"].as_str().unwrap());
        let asked = world.send("/oauth/introspect", &admin(), &[("token", key.expose())]).await;
        assert_eq!(asked.json["cnf"], json!({"jkt": mine.thumbprint()}));
        assert_eq!(asked.json["token_type"], "DPoP");

        let principal = world.server.find(&key).unwrap();
        let proof = mine.proof("POST", &url(MESSAGES), now(&world)).for_token(key.expose()).sign();
        let shown = shown("POST", MESSAGES, proof);
        assert_eq!(proven(&world.server, &principal, &key, &shown), Ok(()));
        assert_eq!(proven(&world.server, &principal, &key, &shown), Err(Reason::ReplayedProof));
    }
}

#[tokio::test]
async fn a_bound_key_is_useless_without_its_proof() {
    let world = World::new(ENGINEERS).await;
    let key = bound(&world, "alice", &mine()).await;
    let nothing = Possession::new(Method::POST, MESSAGES);
    assert_eq!(prove(&world, &key, &nothing), Err(Reason::MissingProof));
    let alone = world.server.authenticate(&key.access_token).await;
    assert!(matches!(alone, Err(AuthError::Unproven(Reason::MissingProof))));
    let certificate = nothing.with_certificate(ClientCertificate::from_der(b"certificate"));
    assert_eq!(prove(&world, &key, &certificate), Err(Reason::MissingProof));
    let other = DpopKey::bundled(Algorithm::Es256, 1);
    let stolen = shown("POST", MESSAGES, use_proof(&world, &other, &key).sign());
    assert_eq!(prove(&world, &key, &stolen), Err(Reason::ProofOfOtherKey));
    let asks = format!("Bearer {}", key.access_token.expose());
    let answer = world.send("/oauth/introspect", &asks, &[("token", key.access_token.expose())]).await;
    assert_eq!(answer.error(), (401, "invalid_client"));
    // Nor does it become one that works without.
    let narrower = world.narrow(&key, |_| {}).await;
    assert!(matches!(narrower, Err(ExchangeError::BadProof(Reason::MissingProof))));
}

#[tokio::test]
async fn a_proof_that_is_not_for_this_request_or_not_right_is_refused() {
    let world = World::new(ENGINEERS).await;
    let mine = mine();
    let key = bound(&world, "alice", &mine).await;
    let right = || use_proof(&world, &mine, &key);
    let with = |name: &str| {
        let signed = right().sign();
        let header = signed.split('.').next().unwrap();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
        let mut jwk = serde_json::from_slice::<serde_json::Value>(&header).unwrap()["jwk"].take();
        jwk[name] = json!("AAAA");
        jwk
    };
    let another = json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y"});
    let wrong = [
        (right().claim("htm", "GET"), Reason::ProofOfOtherRequest),
        (right().claim("htm", "post"), Reason::ProofOfOtherRequest),
        (right().claim("htu", url("/v1/chat/completions")), Reason::ProofOfOtherRequest),
        (right().claim("htu", format!("https://evil.example{MESSAGES}")), Reason::ProofOfOtherRequest),
        (right().claim("htu", MESSAGES), Reason::ProofOfOtherRequest),
        (right().claim("ath", json!(null)), Reason::ProofOfOtherRequest),
        (right().for_token("another"), Reason::ProofOfOtherRequest),
        (right().claim("ath", json!(1)), Reason::ProofOfOtherRequest),
        (right().claim("htm", json!(null)), Reason::BadProof),
        (right().claim("htu", json!(null)), Reason::BadProof),
        (right().claim("jti", json!(null)), Reason::BadProof),
        (right().claim("jti", ""), Reason::BadProof),
        (right().claim("jti", "x".repeat(257)), Reason::BadProof),
        (right().claim("jti", json!(7)), Reason::BadProof),
        (right().claim("iat", json!(null)), Reason::BadProof),
        (right().claim("iat", NOW.to_string()), Reason::BadProof),
        (right().claim("iat", json!(NOW as f64 + 0.5)), Reason::BadProof),
        (right().claim("iat", json!(u64::MAX)), Reason::BadProof),
        (right().claim("iat", NOW - 60), Reason::StaleProof),
        (right().claim("iat", NOW + 31), Reason::StaleProof),
        (right().header("typ", "jwt"), Reason::BadProof),
        (right().header("typ", json!(null)), Reason::BadProof),
        (right().header("alg", "none"), Reason::BadProof),
        (right().header("alg", "HS256"), Reason::BadProof),
        (right().header("alg", "RS256"), Reason::BadProof),
        (right().header("jwk", json!(null)), Reason::BadProof),
        (right().header("jwk", with("d")), Reason::BadProof),
        (right().header("jwk", with("k")), Reason::BadProof),
        (right().header("jwk", another), Reason::ProofOfOtherKey),
        (right().header("jwk", json!({"kty": "oct", "k": "AAAA"})), Reason::BadProof),
        (right().header("jwk", "key"), Reason::BadProof),
        (right().header("crit", json!(["exp"])), Reason::BadProof),
    ];
    for (n, (proof, reason)) in wrong.into_iter().enumerate() {
        assert_eq!(prove(&world, &key, &shown("POST", MESSAGES, proof.sign())), Err(reason), "number {n}");
    }
    for text in ["", "a.b.c", "x"] {
        assert_eq!(prove(&world, &key, &shown("POST", MESSAGES, text)), Err(Reason::BadProof), "{text}");
    }
}

#[tokio::test]
async fn one_proof_counts_and_for_a_minute_from_when_it_was_made() {
    let world = World::new(ENGINEERS).await;
    let mine = mine();
    let key = bound(&world, "alice", &mine).await;
    let right = || use_proof(&world, &mine, &key);
    let two = right().sign();
    let mut headers = HeaderMap::new();
    headers.append("dpop", two.parse().unwrap());
    headers.append("dpop", right().sign().parse().unwrap());
    let two = Possession::of(&Method::POST, MESSAGES, &headers, &http::Extensions::new());
    assert_eq!(prove(&world, &key, &two), Err(Reason::BadProof));

    // One that was made before this server began might have been used before that.
    let earlier = right().claim("iat", NOW - 1).sign();
    assert_eq!(prove(&world, &key, &shown("POST", MESSAGES, earlier)), Err(Reason::StaleProof));
    world.pass(59);
    for iat in [NOW, NOW + 59 + 30] {
        let edge = right().claim("iat", iat).sign();
        assert_eq!(prove(&world, &key, &shown("POST", MESSAGES, edge)), Ok(()));
    }
    let with_query = right().claim("htu", format!("{}?beta=true", url(MESSAGES))).sign();
    assert_eq!(prove(&world, &key, &shown("POST", MESSAGES, with_query)), Ok(()));
}

#[tokio::test]
async fn any_changed_bit_of_a_proof_is_refused() {
    let world = World::new(ENGINEERS).await;
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let mine = DpopKey::bundled(algorithm, 0);
        let key = bound(&world, "alice", &mine).await;
        let proof = use_proof(&world, &mine, &key).sign();
        for place in 0..proof.len() {
            for bit in 0..7 {
                let mut bytes = proof.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(
                    prove(&world, &key, &shown("POST", MESSAGES, changed)).is_err(),
                    "{algorithm:?}: bit {bit} of character {place}"
                );
            }
        }
        for cut in 0..proof.len() {
            assert!(prove(&world, &key, &shown("POST", MESSAGES, &proof[..cut])).is_err());
        }
        assert_eq!(prove(&world, &key, &shown("POST", MESSAGES, proof)), Ok(()));
    }
}

#[tokio::test]
async fn a_proof_of_the_token_endpoint_is_used_once_on_all_servers_and_spends_nothing_in_vain() {
    let world = World::new(ENGINEERS).await;
    let other = world.another(ENGINEERS).await;
    let mine = mine();
    let proof = token_proof(&world, &mine).sign();
    let possession = shown("POST", "/oauth/token", proof);
    let (first, second) = (world.engineer("alice").id_token(), world.engineer("alice").id_token());
    world.exchange_for(first, |request| request.possession = possession.clone()).await.unwrap();
    let mut request = TokenRequest::new(BearerToken::new(second.clone()), TokenKind::Identity);
    request.possession = possession;
    let replayed = other.exchange(request, portunus_keyserver::Peer::default()).await;
    assert!(matches!(replayed, Err(ExchangeError::BadProof(Reason::ReplayedProof))));
    assert!(world.exchange(second).await.is_ok());
}

#[tokio::test]
async fn a_bad_proof_at_the_token_endpoint_is_answered_as_such_and_spends_no_token() {
    let world = World::new(ENGINEERS).await;
    let mine = mine();
    let token = world.engineer("alice").id_token();
    let elsewhere = mine.proof("POST", &url("/auth/token"), now(&world)).sign();
    let (one, two) = (token_proof(&world, &mine).sign(), token_proof(&world, &mine).sign());
    for proofs in [&["rubbish"][..], &[&elsewhere], &[&one, &two]] {
        let answer = post(&world, proofs, &exchange_of(&token)).await;
        assert_eq!(answer.error(), (400, "invalid_dpop_proof"));
    }
    let reasons: Vec<_> = world.events().iter().map(|event| event.outcome).collect();
    assert_eq!(
        reasons,
        [Reason::BadProof, Reason::ProofOfOtherRequest, Reason::BadProof].map(Outcome::Refused)
    );
    assert_eq!(post(&world, &[&one], &exchange_of(&token)).await.status, 200);
}

#[tokio::test]
async fn a_narrower_key_is_bound_as_its_parent_or_by_its_own_proof() {
    let world = World::new(ENGINEERS).await;
    let (mine, theirs) = (mine(), DpopKey::bundled(Algorithm::EdDsa, 0));
    let parent = bound(&world, "alice", &mine).await;
    let attempt = async |parent: &IssuedKey, proof: DpopProof<'_>| {
        let possession = at_the_token_endpoint(proof);
        world.narrow(parent, |request| request.possession = possession).await
    };
    let child = attempt(&parent, token_proof(&world, &mine)).await.unwrap();
    assert_eq!(child.grant.confirmation, Some(Confirmation::Jkt(mine.thumbprint().into())));
    assert_eq!(child.token_type(), "DPoP");
    let stolen = attempt(&parent, token_proof(&world, &theirs)).await;
    assert!(matches!(stolen, Err(ExchangeError::BadProof(Reason::ProofOfOtherKey))));
    let of_other_token = attempt(&parent, token_proof(&world, &mine).for_token("another")).await;
    assert!(matches!(of_other_token, Err(ExchangeError::BadProof(Reason::ProofOfOtherRequest))));
    let named = token_proof(&world, &mine).for_token(parent.access_token.expose());
    assert!(attempt(&parent, named).await.is_ok());

    let free = world.key("bob").await;
    let tied = attempt(&free, token_proof(&world, &theirs)).await.unwrap();
    assert_eq!(tied.grant.confirmation, Some(Confirmation::Jkt(theirs.thumbprint().into())));
    assert!(free.grant.covers(&tied.grant) && !tied.grant.covers(&free.grant));
}

#[tokio::test]
async fn a_token_that_its_issuer_bound_is_not_freed_by_an_exchange_or_by_direct_use() {
    let world = World::new(ENGINEERS).await;
    let (mine, theirs) = (mine(), DpopKey::bundled(Algorithm::Es256, 1));
    let mint = || world.engineer("alice").claim("cnf", json!({"jkt": mine.thumbprint()})).id_token();
    let token = mint();
    let exchanged = world.exchange(token.clone()).await;
    assert!(matches!(exchanged, Err(ExchangeError::BadProof(Reason::MissingProof))));
    let stolen = at_the_token_endpoint(token_proof(&world, &theirs));
    let exchanged = world.exchange_for(token.clone(), |request| request.possession = stolen).await;
    assert!(matches!(exchanged, Err(ExchangeError::BadProof(Reason::ProofOfOtherKey))));
    let right = at_the_token_endpoint(token_proof(&world, &mine));
    let key = world.exchange_for(token, |request| request.possession = right).await.unwrap();
    assert_eq!(key.token_type(), "DPoP");

    let token = BearerToken::new(mint());
    assert!(matches!(world.server.authenticate(&token).await, Err(AuthError::Unproven(_))));
    for _ in 0..2 {
        let principal = match world.server.verified(&token) {
            Some(principal) => principal,
            None => world.server.verify(&token).await.unwrap(),
        };
        let nothing = Possession::new(Method::POST, MESSAGES);
        assert_eq!(proven(&world.server, &principal, &token, &nothing), Err(Reason::MissingProof));
        let proof = mine.proof("POST", &url(MESSAGES), now(&world)).for_token(token.expose()).sign();
        assert_eq!(proven(&world.server, &principal, &token, &shown("POST", MESSAGES, proof)), Ok(()));
    }
    // Bound in a way that cannot be checked.
    let unknown = world.engineer("alice").claim("cnf", json!({"kid": "1"})).id_token();
    let exchanged = world.exchange(unknown.clone()).await;
    assert!(matches!(exchanged, Err(ExchangeError::BadSubject(Reason::WrongClaims))));
    assert!(world.server.verify(&BearerToken::new(unknown)).await.is_err());
}

#[tokio::test]
async fn a_certificate_binds_the_key_and_no_other_will_do() {
    let world = World::new(ENGINEERS).await;
    let (mine, theirs) = (ClientCertificate::from_der(b"mine"), ClientCertificate::from_der(b"theirs"));
    let token = world.engineer("alice").id_token();
    let mut request = Request::post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form(&exchange_of(&token))))
        .unwrap();
    request.extensions_mut().insert(mine.clone());
    let answer = world.call(request).await;
    assert_eq!(answer.json["token_type"], "Bearer", "RFC 8705 section 3");
    let token = answer.json["access_token"].as_str().unwrap();
    let asked =
        world.send("/oauth/introspect", &basic("proxy", crate::support::CLIENT), &[("token", token)]).await;
    assert_eq!(asked.json["cnf"], json!({"x5t#S256": mine.thumbprint()}));

    let token = BearerToken::new(token);
    let principal = world.server.find(&token).unwrap();
    let request = Possession::new(Method::POST, MESSAGES);
    assert_eq!(proven(&world.server, &principal, &token, &request), Err(Reason::MissingProof));
    let stolen = request.clone().with_certificate(theirs.clone());
    assert_eq!(proven(&world.server, &principal, &token, &stolen), Err(Reason::ProofOfOtherKey));
    for _ in 0..2 {
        let right = request.clone().with_certificate(mine.clone());
        assert_eq!(proven(&world.server, &principal, &token, &right), Ok(()));
    }
    let narrow = async |certificate: Option<ClientCertificate>| {
        let mut request = TokenRequest::new(token.clone(), TokenKind::Access);
        request.possession = certificate.into_iter().fold(Possession::none(), Possession::with_certificate);
        world.server.exchange(request, portunus_keyserver::Peer::default()).await
    };
    assert!(matches!(narrow(None).await, Err(ExchangeError::BadSubject(Reason::MissingProof))));
    assert!(matches!(narrow(Some(theirs)).await, Err(ExchangeError::BadSubject(Reason::ProofOfOtherKey))));
    let child = narrow(Some(mine.clone())).await.unwrap();
    assert_eq!(child.grant.confirmation, Some(Confirmation::X5tS256(mine.thumbprint().into())));
}

#[tokio::test]
async fn without_a_public_address_no_proof_is_believed() {
    let world = World::new(ENGINEERS).await;
    let mut config = configuration(world.idp.issuer(), ENGINEERS);
    config.server.public_url = None;
    let nameless = server(config, world.store.clone(), &world.clock, &world.audit).await.unwrap();
    let mut request =
        TokenRequest::new(BearerToken::new(world.engineer("alice").id_token()), TokenKind::Identity);
    let mine = mine();
    request.possession = at_the_token_endpoint(token_proof(&world, &mine));
    let refused = nameless.exchange(request, portunus_keyserver::Peer::default()).await;
    assert!(matches!(refused, Err(ExchangeError::BadProof(Reason::ProofOfOtherRequest))));
}

#[tokio::test]
async fn a_remembered_proof_is_forgotten_only_when_it_is_too_old() {
    let world = World::new(ENGINEERS).await;
    let mine = mine();
    let key = bound(&world, "alice", &mine).await;
    let ahead = use_proof(&world, &mine, &key).claim("iat", NOW + 30).sign();
    let shown = shown("POST", MESSAGES, ahead);
    assert_eq!(prove(&world, &key, &shown), Ok(()));
    for _ in 0..89 {
        world.pass(1);
        assert_eq!(prove(&world, &key, &shown), Err(Reason::ReplayedProof));
    }
    world.pass(1);
    assert_eq!(prove(&world, &key, &shown), Err(Reason::StaleProof));
}

/// Two private keys, and a key bound to each.
static HELD: LazyLock<(World, Vec<(DpopKey, IssuedKey)>)> = LazyLock::new(|| {
    runtime().block_on(async {
        let world = World::new(ENGINEERS).await;
        let mut held = Vec::new();
        for number in 0..2 {
            let key = DpopKey::bundled(Algorithm::EdDsa, number);
            let issued = bound(&world, "alice", &key).await;
            held.push((key, issued));
        }
        (world, held)
    })
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_proof_for_one_request_is_none_for_any_other(
        methods in prop::array::uniform2("(GET|POST|PUT|DELETE)"),
        paths in prop::array::uniform2("(/[a-c]{1,2}){1,2}"),
        tokens in prop::array::uniform2(0..2_usize),
        keys in prop::array::uniform2(0..2_usize),
    ) {
        let (world, held) = &*HELD;
        let [made, came] = [0, 1].map(|n| (&methods[n], &paths[n], tokens[n], keys[n]));
        let stated = held[made.2].1.access_token.expose();
        let proof = held[made.3].0.proof(made.0, &url(made.1), now(world)).for_token(stated).sign();
        let (_, issued) = &held[came.2];
        let principal: Arc<Principal> = world.server.find(&issued.access_token).unwrap();
        let found = proven(&world.server, &principal, &issued.access_token, &shown(came.0, came.1, proof));
        // The key that signs must be the one that the presented token is bound to.
        let is_right = (made.0, made.1, made.2) == (came.0, came.1, came.2) && made.3 == came.2;
        prop_assert_eq!(found.is_ok(), is_right, "{:?}", found);
    }

    #[test]
    fn no_text_makes_the_proof_reader_panic(text in any::<String>(), header in "[ -~]{0,80}", claims in "[ -~]{0,80}") {
        use base64::Engine as _;
        let encode = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
        let (world, held) = &*HELD;
        for text in [text, format!("{}.{}.AAAA", encode(&header), encode(&claims))] {
            prop_assert!(prove(world, &held[0].1, &shown("POST", MESSAGES, text)).is_err());
        }
    }
}
