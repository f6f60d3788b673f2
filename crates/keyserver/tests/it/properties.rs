//! What holds for every request and every token.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use portunus_auth_core::audit::MemorySink;
use portunus_auth_core::{Allow, AuthError, Authenticator, BearerToken, Grant, Pattern, TenantId};
use portunus_keyserver::{
    Audiences, Issuer, KeyServer, KeySet, Peer, TokenKind, TokenRequest, UnverifiedJwt,
};
use portunus_mock::Algorithm;
use portunus_store::Memory;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::signer::{ALL, Signer};
use crate::support::{ENGINEERS, NOW, World, clock, configuration, exchange_of, idp, server};

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    &RUNTIME
}

/// A list of patterns as TOML.
fn list(patterns: &[String]) -> String {
    let quoted: Vec<String> = patterns.iter().map(|pattern| format!("{pattern:?}")).collect();
    format!("[{}]", quoted.join(", "))
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab*]{1,3}", 0..3)
}

fn allow(patterns: &[String]) -> Allow<Pattern> {
    Allow::only(patterns.iter().map(|pattern| Pattern::new(pattern).unwrap()))
}

fn scopes() -> impl Strategy<Value = Option<String>> {
    let scope =
        ("(model|tool|role|upstream)", "[ab*]{1,3}").prop_map(|(kind, pattern)| format!("{kind}:{pattern}"));
    prop::option::of(prop::collection::vec(scope, 1..4).prop_map(|scopes| scopes.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_granted_lies_within_the_policy(
        models in patterns(), tools in patterns(), roles in patterns(),
        upstreams in prop::collection::vec("[ab*]{1,3}", 1..3), policy_ttl in 1..7200_u64, scope in scopes(), ttl in prop::option::of(1..100_000_u64),
        policy in prop::option::of("(one|two)"), names in prop::collection::vec("[ab]{0,4}", 8),
    ) {
        prop_assume!(!(models.is_empty() && tools.is_empty() && roles.is_empty()));
        let policies = format!(
            "[[policies]]\nname = \"one\"\nmatch = {{ issuer = \"idp\", subject = \"alice\" }}\n\
             grant = {{ models = {}, tools = {}, roles = {}, upstreams = {}, tier = \"t\", \
             ttl = \"{policy_ttl}s\" }}\n\
             [[policies]]\nname = \"two\"\nmatch = {{ issuer = \"idp\", subject = \"a*\" }}\n\
             grant = {{ models = \"all\", tools = \"all\", roles = \"all\", tier = \"t\", ttl = \"2h\" }}\n",
            list(&models), list(&tools), list(&roles), list(&upstreams),
        );
        let granted = runtime().block_on(exchange(&policies, scope.clone(), ttl, policy));
        let Some(granted) = granted else { return Ok(()) };
        for name in &names {
            for (granted, allowed) in [
                (&granted.models, &models), (&granted.tools, &tools), (&granted.roles, &roles),
                (&granted.upstreams, &upstreams),
            ] {
                prop_assert!(!granted.admits(name) || allow(allowed).admits(name));
            }
            if let Some(scope) = &scope {
                let asked = |kind: &str| scope.split(' ').filter_map(|one| one.strip_prefix(kind)).any(|p| {
                    Pattern::new(p).unwrap().matches(name)
                });
                prop_assert!(!granted.models.admits(name) || asked("model:"));
                prop_assert!(!granted.tools.admits(name) || asked("tool:"));
                prop_assert!(!granted.roles.admits(name) || asked("role:"));
                let is_open = !scope.contains("upstream:");
                prop_assert!(!granted.upstreams.admits(name) || is_open || asked("upstream:"));
            }
        }
        let longest = policy_ttl.min(3600).min(ttl.unwrap_or(u64::MAX));
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW + longest);
        prop_assert_eq!(granted.expires_at, end);
    }
}

async fn exchange(
    policies: &str,
    scope: Option<String>,
    ttl: Option<u64>,
    policy: Option<String>,
) -> Option<Grant> {
    let clock = clock();
    let idp = idp(&clock);
    let (store, audit) = (Arc::new(Memory::new(clock.clone())), Arc::new(MemorySink::default()));
    let server: KeyServer =
        server(configuration(idp.issuer(), policies), store, &clock, &audit).await.unwrap();
    let token = idp.mint("alice").audience("portunus").algorithm(Algorithm::EdDsa).id_token();
    let mut request = TokenRequest::new(BearerToken::new(token), TokenKind::Identity);
    (request.scope, request.policy) = (scope, policy);
    request.ttl = ttl.map(Duration::from_secs);
    let key = server.exchange(request, Peer::default()).await.ok()?;
    // What the key can do is what the answer said.
    assert_eq!(*server.find(&key.access_token).unwrap().grant(), key.grant);
    Some(key.grant)
}

/// What somebody may add to a request without having anything to say: a parameter that is empty or unknown, or
/// a scope that is.
fn nothing_said() -> impl Strategy<Value = (String, String)> {
    let known = [
        "scope",
        "policy",
        "ttl",
        "audience",
        "resource",
        "requested_token_type",
        "actor_token",
        "subject_token",
    ];
    let scopes =
        ["", " ", ":", "model:", ":a", "models:a", "MODEL:a", "unknown:a", "model:a unknown:a", "a", "*"];
    let pair = |(name, value): (&str, String)| (name.to_owned(), value);
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(move |name| pair((name, String::new()))),
        prop::sample::select(scopes.to_vec()).prop_map(move |scope| pair(("scope", scope.to_owned()))),
        ("(x|scopes|Scope|ttl_seconds|tier|models|groups)", "[a*]{0,2}"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_says_nothing_in_a_request_widens_nothing(
        scope in scopes(), ttl in prop::option::of(1..5000_u64), more in nothing_said(), place in 0..6_usize,
    ) {
        let policy = "[[policies]]\nname = \"one\"\nmatch = { issuer = \"idp\", groups = \"eng\" }\n\
                      grant = { models = [\"a*\"], tools = [\"*b\"], roles = [\"a\"], tier = \"t\", ttl = \"30m\" }\n";
        runtime().block_on(async {
            let world = World::new(policy).await;
            let (once, again) = (world.engineer("alice").id_token(), world.engineer("alice").id_token());
            let ttl = ttl.map(|ttl| ttl.to_string());
            let plain = |token: &str| {
                let optional = [("scope", &scope), ("ttl", &ttl)];
                let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
                let all = exchange_of(token).into_iter().chain(optional);
                all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
            };
            let granted = async |parameters: Vec<(String, String)>| {
                let parameters: Vec<(&str, &str)> =
                    parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let answer = world.form(&parameters).await;
                let key = BearerToken::new(answer.json["access_token"].as_str()?);
                Some(world.server.find(&key).unwrap().grant().clone())
            };
            let mut with = plain(&again);
            with.insert(place.min(with.len()), more.clone());
            if let Some(with) = granted(with).await {
                let without = granted(plain(&once)).await;
                assert!(without.is_some_and(|without| without.covers(&with)), "{more:?}: {with:?}");
            }
        });
    }
}

/// Every bit of a key matters, too, and most changes are noticed before anything is looked up.
#[tokio::test]
async fn any_changed_bit_of_a_key_is_refused() {
    let world = World::new(ENGINEERS).await;
    let key = world.key("alice").await.access_token;
    let asked = world.store.asked();
    for place in 0..key.expose().len() {
        for bit in 0..7 {
            let mut bytes = key.expose().as_bytes().to_vec();
            bytes[place] ^= 1 << bit;
            let changed = BearerToken::new(String::from_utf8(bytes).unwrap());
            assert!(matches!(world.server.find(&changed), Err(AuthError::Malformed)), "{bit} of {place}");
            assert!(world.server.authenticate(&changed).await.is_err());
        }
        let cut = BearerToken::new(&key.expose()[..place]);
        assert!(matches!(world.server.find(&cut), Err(AuthError::Malformed)));
    }
    assert_eq!(world.store.asked(), asked);
    assert!(world.server.find(&key).is_ok());
}

/// Every bit of a token matters: changed, it is refused.
#[tokio::test]
async fn any_changed_bit_of_a_token_is_refused() {
    let clock = clock();
    let idp = idp(&clock);
    let keys = crate::support::get(&idp.jwks_uri()).await;
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let audiences = Audiences::new(["portunus"]).unwrap();
    let issuer = Issuer::new("idp", idp.issuer(), TenantId::new("acme").unwrap(), audiences);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let accepts = |text: String| {
        let token = BearerToken::new(text);
        let jwt = UnverifiedJwt::read(&token)?;
        issuer.verify(&jwt, TokenKind::Identity, &keys, now)
    };
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let token = idp.mint("alice").audience("portunus").algorithm(algorithm).id_token();
        accepts(token.clone()).unwrap();
        for place in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(accepts(changed).is_err(), "{algorithm:?}: bit {bit} of character {place}");
            }
        }
        for cut in 0..token.len() {
            assert!(accepts(token[..cut].to_owned()).is_err(), "{algorithm:?}: the first {cut} characters");
        }
    }
}

/// A token of each algorithm, and whether a text is accepted in its place.
struct Signed {
    tokens: Vec<String>,
    issuer: Issuer,
    keys: KeySet,
}

impl Signed {
    fn new() -> Self {
        let signer = Signer::new();
        let claims =
            json!({"iss": "https://idp", "sub": "alice", "aud": "portunus", "iat": NOW, "exp": NOW + 600});
        let tokens = ALL.iter().map(|algorithm| signer.sign(algorithm, json!({}), &claims)).collect();
        let keys = KeySet::parse(signer.jwks().to_string().as_bytes()).unwrap();
        let audiences = Audiences::new(["portunus"]).unwrap();
        let mut issuer = Issuer::new("idp", "https://idp", TenantId::new("acme").unwrap(), audiences);
        issuer.algorithms = serde_json::from_value(json!(ALL)).unwrap();
        Self { tokens, issuer, keys }
    }

    fn accepts(&self, token: Vec<u8>) -> bool {
        let Ok(text) = String::from_utf8(token) else { return false };
        let token = BearerToken::new(text);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        UnverifiedJwt::read(&token)
            .is_ok_and(|jwt| self.issuer.verify(&jwt, TokenKind::Identity, &self.keys, now).is_ok())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn any_changed_bit_of_any_algorithms_token_is_refused(
        algorithm in 0..ALL.len(), place in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        static SIGNED: LazyLock<Signed> = LazyLock::new(Signed::new);
        let token = SIGNED.tokens[algorithm].clone().into_bytes();
        prop_assert!(SIGNED.accepts(token.clone()), "{}", ALL[algorithm]);
        let mut changed = token;
        let place = place.index(changed.len());
        changed[place] ^= 1 << bit;
        prop_assert!(!SIGNED.accepts(changed), "{}: bit {bit} of character {place}", ALL[algorithm]);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(text in any::<String>(), parts in prop::collection::vec("[ -~]{0,80}", 3)) {
        use base64::Engine;
        let encode = |part: &String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
        let token = parts.iter().map(encode).collect::<Vec<_>>().join(".");
        for text in [text, token] {
            let token = BearerToken::new(text.clone());
            if let Ok(jwt) = UnverifiedJwt::read(&token) {
                let _ = jwt.issuer();
            }
            let _ = KeySet::parse(text.as_bytes());
        }
    }
}
