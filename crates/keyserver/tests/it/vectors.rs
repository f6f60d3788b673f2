//! Public and our own test vectors. Those of others lie outside the repository; see
//! [`portunus_auth_core::vectors`].

mod parsing;
mod served;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use portunus_auth_core::vectors::{Report, open};
use portunus_auth_core::{BearerToken, TenantId};
use portunus_keyserver::{
    Algorithm, Audiences, BadKeySet, Identity, Issuer, KeySet, Refused, TokenKind, UnverifiedJwt,
};
use serde_json::{Value, json};

const ALL: [Algorithm; 10] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
];

fn read(path: &str) -> Option<Value> {
    Some(serde_json::from_slice(&open(path)?).unwrap())
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value[name].as_array().unwrap()
}

/// The set that a case gives as a set, or as one key.
fn key_set(keys: &Value) -> Result<KeySet, BadKeySet> {
    let set = if keys.get("keys").is_some() { keys.clone() } else { json!({ "keys": [keys] }) };
    KeySet::parse(set.to_string().as_bytes())
}

/// Whether the signature is accepted, and is one of the given algorithms.
fn opens(token: &str, keys: &Value, allowed: &[Algorithm]) -> bool {
    let token = BearerToken::new(token);
    let Ok(keys) = key_set(keys) else { return false };
    UnverifiedJwt::read(&token).is_ok_and(|jwt| keys.open(&jwt, allowed).is_ok())
}

fn is_symmetric(keys: &Value) -> bool {
    let is_oct = |key: &Value| key["kty"] == "oct";
    is_oct(keys) || keys["keys"].as_array().is_some_and(|keys| keys.iter().any(is_oct))
}

#[test]
fn wycheproof_signatures() {
    let Some(overlay) = read("wycheproof-jose/overlay.json") else { return };
    let mut report = Report::on("keyserver/wycheproof-jose");
    for file in ["json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"] {
        let cases = read(&format!("wycheproof-jose/{file}")).unwrap();
        for group in list(&cases, "testGroups") {
            let keys = group.get("public").unwrap_or(&group["private"]);
            for case in list(group, "tests") {
                let Some(jws) = case.get("jws").and_then(Value::as_str) else { continue };
                let id = case["tcId"].to_string();
                let overridden = overlay["overrides"].get(&id).filter(|_| overlay["file"] == file);
                let expected = text(overridden.unwrap_or(case), "result");
                // A verifier of identity tokens takes no shared secret.
                let expected = if is_symmetric(keys) { "invalid" } else { expected };
                let accepted = opens(jws, keys, &ALL);
                let right = expected == "either" || accepted == (expected == "valid");
                report.case(format!("{file} {id}: {}", text(case, "comment")), right);
            }
        }
    }
    report.finish();
}

#[test]
fn wycheproof_encryption_is_refused() {
    let Some(cases) = read("wycheproof-jose/json_web_encryption_test.json") else { return };
    let crypto = read("wycheproof-jose/json_web_crypto_test.json").unwrap();
    let mut report = Report::on("keyserver/wycheproof-jose JWE");
    let groups = [list(&cases, "testGroups").as_slice(), list(&crypto, "testGroups")].concat();
    for group in &groups {
        let keys = group.get("public").unwrap_or(&group["private"]);
        for case in list(group, "tests") {
            let Some(jwe) = case.get("jwe").and_then(Value::as_str) else { continue };
            report.case(&case["tcId"], !opens(jwe, keys, &ALL));
        }
    }
    report.finish();
}

#[test]
fn jose_cookbook() {
    let mut report = Report::on("keyserver/jose-cookbook");
    let signed = ["4_1.rsa_v15_signature", "4_2.rsa-pss_signature", "4_3.ecdsa_signature"];
    let files = signed
        .map(|name| (format!("jose-cookbook/jws/{name}.json"), true))
        .into_iter()
        .chain([("jose-cookbook/curve25519/jws.json".to_owned(), true)])
        .chain(
            [
                "jws/4_4.hmac-sha2_integrity_protection",
                "jws/4_5.signature_with_detached_content",
                "jws/4_7.protecting_content_only",
                "jws/4_8.multiple_signatures",
                "rfc7797/4.2.hmac-sha2_b64_false",
                "rfc7797/hmac-sha2_b64_false",
            ]
            .map(|name| (format!("jose-cookbook/{name}.json"), false)),
        );
    for (file, compact_is_good) in files {
        let Some(case) = read(&file) else { return };
        // The examples hold private keys, which no set of ours may.
        let mut keys = case["input"]["key"].clone();
        keys.as_object_mut().map(|key| key.remove("d"));
        let output = &case["output"];
        if let Some(compact) = output["compact"].as_str() {
            report.case(format!("{file} compact"), opens(compact, &keys, &ALL) == compact_is_good);
        }
        for form in ["json", "json_flat"] {
            if let Some(json) = output.get(form) {
                report.case(format!("{file} {form}"), !opens(&json.to_string(), &keys, &ALL));
            }
        }
    }
    for (file, good) in [
        ("3_1.ec_public_key", true),
        ("3_2.ec_private_key", false),
        ("3_3.rsa_public_key", true),
        ("3_4.rsa_private_key", false),
        ("3_5.symmetric_key_mac_computation", false),
    ] {
        let Some(key) = read(&format!("jose-cookbook/jwk/{file}.json")) else { return };
        report.case(file, key_set(&key).is_ok() == good);
    }
    for file in [
        "5_1.key_encryption_using_rsa_v15_and_aes-hmac-sha2",
        "5_2.key_encryption_using_rsa-oaep_with_aes-gcm",
        "5_3.key_wrap_using_pbes2-aes-keywrap_with-aes-cbc-hmac-sha2",
        "5_5.key_agreement_using_ecdh-es_with_aes-cbc-hmac-sha2",
        "5_8.key_wrap_using_aes-keywrap_with_aes-gcm",
        "5_9.compressed_content",
    ] {
        let Some(case) = read(&format!("jose-cookbook/jwe/{file}.json")) else { return };
        let compact = BearerToken::new(text(&case["output"], "compact"));
        report.case(file, UnverifiedJwt::read(&compact).is_err());
    }
    report.finish();
}

#[test]
fn rfc_examples() {
    let cases: Value = serde_json::from_str(include_str!("../data/rfc-examples.json")).unwrap();
    let mut report = Report::on("keyserver/rfc-examples");
    let issuer = Issuer::new("joe", "joe", TenantId::new("acme").unwrap(), Audiences::new(["x"]).unwrap());
    for case in list(&cases, "jws") {
        let token = BearerToken::new(text(case, "compact"));
        let symmetric = is_symmetric(&case["jwk"]);
        let signed = opens(token.expose(), &case["jwk"], &ALL);
        report.case(text(case, "id"), signed == (case["expect_generic"] == "valid" && !symmetric));
        let as_identity = UnverifiedJwt::read(&token).map_err(|_| ()).and_then(|jwt| {
            let keys = key_set(&case["jwk"]).map_err(|_| ())?;
            let mut issuer = issuer.clone();
            issuer.algorithms = ALL.to_vec();
            issuer.verify(&jwt, TokenKind::Any, &keys, SystemTime::UNIX_EPOCH).map_err(|_| ())
        });
        let rejected = case["expect_oidc_profile"] == "reject";
        report.case(format!("{} as identity", text(case, "id")), as_identity.is_err() == rejected);
    }
    report.finish();
}

/// The issuers and key sets that one step of `oidc-verify` speaks of.
struct Step<'v> {
    corpus: &'v Value,
    case: &'v Value,
    step: &'v Value,
}

impl Step<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.step.get(name).or_else(|| self.case.get(name))
    }

    fn verify(&self) -> Result<Identity, Refused> {
        let profile = &self.corpus["profile"];
        let token = BearerToken::new(text(self.step, "token"));
        let jwt = UnverifiedJwt::read(&token)?;
        let claimed = jwt.issuer()?;
        let main = json!({ text(profile, "issuer"): self.get("jwks").unwrap() });
        let issuers = self.get("issuers").unwrap_or(&main);
        let named = issuers.get(&claimed).and_then(Value::as_str).ok_or(Refused::UnknownIssuer)?;
        let keys = self.corpus["jwks"][named].to_string();
        let keys = KeySet::parse(keys.as_bytes()).map_err(|_| Refused::UnknownKey)?;
        let algorithms: Vec<Algorithm> = serde_json::from_value(profile["allowed_algs"].clone()).unwrap();
        let leeway = Duration::from_secs(profile["leeway_s"].as_u64().unwrap());
        let audiences = Audiences::new([text(profile, "audience")]).unwrap();
        let mut issuer = Issuer::new("idp", &claimed, TenantId::new("acme").unwrap(), audiences);
        (issuer.algorithms, issuer.leeway) = (algorithms, leeway);
        let kind = match self.get("profile").and_then(Value::as_str) {
            Some("id_token") => TokenKind::Identity,
            Some("at_jwt") => TokenKind::Access,
            _ => TokenKind::Any,
        };
        let now = self.step.get("now").unwrap_or(&profile["now"]).as_u64().unwrap();
        let identity = issuer.verify(&jwt, kind, &keys, SystemTime::UNIX_EPOCH + Duration::from_secs(now))?;
        match self.get("expected_nonce").and_then(Value::as_str) {
            Some(nonce) if !identity.answers(nonce) => Err(Refused::WrongClaims),
            _ => Ok(identity),
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the corpus bounds the time that a token may take")]
fn oidc_verify() {
    let corpus: Value = serde_json::from_str(include_str!("../data/oidc-verify.json")).unwrap();
    let mut report = Report::on("keyserver/oidc-verify");
    for case in list(&corpus, "cases") {
        for (number, step) in list(case, "steps").iter().enumerate() {
            let step = Step { corpus: &corpus, case, step };
            let began = Instant::now();
            let first = step.verify().map(|identity| identity.id().clone());
            let took = began.elapsed();
            let again = step.verify().map(|identity| identity.id().clone());
            let as_expected = match text(step.step, "expect") {
                "accept" => first.is_ok(),
                "reject" => first.is_err(),
                _ => true,
            };
            let limit = step.get("max_ms").and_then(Value::as_u64).map(Duration::from_millis);
            let in_time = limit.is_none_or(|limit| took <= limit);
            let id = format!("{}#{number} {:?}", text(case, "id"), first.as_ref().err());
            report.case(id, as_expected && in_time && first == again);
        }
    }
    report.finish();
}

/// What we accept, the library that most others use accepts as well.
#[test]
fn jsonwebtoken_agrees_on_what_is_valid() {
    let corpus: Value = serde_json::from_str(include_str!("../data/oidc-verify.json")).unwrap();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for case in list(&corpus, "cases") {
        for step in list(case, "steps") {
            let step = Step { corpus: &corpus, case, step };
            let names_key = |header: &jsonwebtoken::Header| {
                header.kid.is_some() && !step.case.as_object().unwrap().contains_key("issuers")
            };
            let token = text(step.step, "token");
            let (Ok(identity), Ok(header)) = (step.verify(), jsonwebtoken::decode_header(token)) else {
                continue;
            };
            if !names_key(&header) {
                continue;
            }
            let named = step.get("jwks").and_then(Value::as_str).unwrap();
            let keys = list(&corpus["jwks"][named], "keys");
            let key = keys.iter().find(|key| key["kid"] == *header.kid.as_ref().unwrap()).unwrap();
            let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).unwrap();
            let mut rules = jsonwebtoken::Validation::new(header.alg);
            rules.set_audience(&["gateway"]);
            rules.set_issuer(&["https://idp.test"]);
            // It has no clock of its own to be set; ours checks the times.
            rules.validate_exp = false;
            rules.validate_nbf = false;
            let key = jsonwebtoken::DecodingKey::from_jwk(&key).unwrap();
            let theirs = jsonwebtoken::decode::<Value>(token, &key, &rules);
            let theirs = theirs.unwrap_or_else(|error| panic!("{}: {error}", text(case, "id")));
            assert_eq!(theirs.claims["sub"], *identity.id().subject);
            *seen.entry(format!("{:?}", header.alg)).or_default() += 1;
        }
    }
    assert!(["RS256", "PS256", "EdDSA"].iter().all(|algorithm| seen.contains_key(*algorithm)), "{seen:?}");
}
