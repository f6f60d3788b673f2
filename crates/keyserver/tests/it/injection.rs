//! What somebody writes into a token or a request is no line of a log, and no field of the audit.

use portunus_auth_core::{BearerToken, Outcome, Reason};
use portunus_keyserver::{ExchangeError, TokenKind};
use serde_json::{Value, json};

use crate::secrets::Log;
use crate::signer::Published;
use crate::support::exchange_of;

/// Ends a line, begins another, and speaks to terminals; `canary` is looked for.
const HOSTILE: [&str; 7] = [
    "canary\r\n{\"kind\":\"token.issued\",\"outcome\":\"allowed\"}",
    "canary\nWARN forged",
    "canary\u{1b}[2J\u{1b}]0;x\u{7}",
    "canary\u{9b}2J",
    "canary\u{0}",
    "canary\u{2028}x\u{202e}",
    "canary\",\"outcome\":\"allowed",
];

#[tokio::test]
async fn no_claim_forges_a_line_of_the_log_or_a_field_of_the_audit() {
    let log = Log::default();
    let subscriber = log.of_everything();
    // See `no_secret_is_logged_audited_shown_or_told`.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let issuer = Published::new("").await;
    let claims = [
        "iss", "sub", "aud", "jti", "azp", "nonce", "email", "groups", "roles", "typ", "scope", "cnf", "exp",
        "x",
    ];
    for text in HOSTILE {
        let mut tokens: Vec<String> = Vec::new();
        for claim in claims {
            for value in [json!(text), json!([text]), json!({text: text})] {
                let claims = issuer.claims_but(json!({claim: value}));
                tokens.push(issuer.signer.sign("ES256", json!({}), &claims));
            }
        }
        for member in ["kid", "typ", "alg", "jku", "crit"] {
            tokens.push(issuer.signer.sign("ES256", json!({member: text}), &issuer.claims()));
        }
        tokens.push(text.to_owned());
        for token in tokens {
            let _ = issuer.world.server.verify(&BearerToken::new(token.clone())).await;
            issuer.world.form(&exchange_of(&token)).await;
        }
        let token = issuer.signer.sign("ES256", json!({}), &issuer.claims());
        for parameter in ["policy", "scope", "audience", "grant_type", "ttl", "unknown"] {
            issuer.world.form(&[exchange_of(&token).as_slice(), &[(parameter, text)]].concat()).await;
        }
    }
    let logged = log.text();
    assert!(logged.contains("keyserver.exchange"));
    assert!(!logged.contains("canary"), "{logged}");
    let events = issuer.world.audit.events();
    assert!(events.len() > HOSTILE.len() * claims.len());
    for event in events {
        let line = serde_json::to_string(&event).unwrap();
        // Whoever is verified may be called so; what ends a line or speaks to a terminal is nobody's name.
        assert!(!line.contains(char::is_control), "{line:?}");
        let event: Value = serde_json::from_str(&line).unwrap();
        let named = event["actor"]["sub"].as_str().unwrap_or_default().to_owned();
        assert_eq!(line.matches("canary").count(), named.matches("canary").count(), "{line:?}");
    }
}

/// A name that is odd but harmless is shown as it is, within its own field.
#[tokio::test]
async fn an_odd_subject_stays_one_field() {
    let issuer = Published::new("").await;
    let odd = "alice\",\"outcome\":\"refused\\";
    let claims = issuer.claims_but(json!({"sub": odd}));
    issuer.world.exchange(issuer.signer.sign("ES256", json!({}), &claims)).await.unwrap();
    let event = issuer.world.events().pop().unwrap();
    let line: Value = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
    assert_eq!((&line["actor"]["sub"], &line["outcome"]), (&json!(odd), &json!("allowed")));
    for (subject, kind) in [("alice\u{9b}2J", TokenKind::Identity), ("alice\u{7f}", TokenKind::Any)] {
        let claims = issuer.claims_but(json!({"sub": subject}));
        let token = issuer.signer.sign("ES256", json!({}), &claims);
        let refused = issuer.world.exchange_for(token, |request| request.kind = kind).await;
        assert!(matches!(refused, Err(ExchangeError::BadSubject(Reason::WrongClaims))));
        assert_eq!(issuer.world.events().pop().unwrap().outcome, Outcome::Refused(Reason::WrongClaims));
    }
}
