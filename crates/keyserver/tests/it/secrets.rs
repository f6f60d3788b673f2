//! Nothing that is secret shows up where people look.

use std::io::Write;
use std::sync::{Arc, Mutex};

use portunus_auth_core::BearerToken;
use portunus_mock::TokenFault;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{ADMIN, CLIENT, ENGINEERS, PEPPER, World, basic, exchange_of};

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn of_everything(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        tracing_subscriber::fmt()
            .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_writer(self.clone())
            .finish()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Log {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// What is told by the routes that deal with issued keys.
async fn manage(world: &World, secrets: &mut Vec<String>) -> String {
    let mut told = String::new();
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let last = world.key("carol").await.access_token;
        secrets.push(last.expose().to_owned());
        for authorization in [basic("proxy", CLIENT), basic("proxy", ADMIN), format!("Bearer {ADMIN}x")] {
            told += &world.send(path, &authorization, &[("token", last.expose())]).await.text;
        }
    }
    world.key("dave").await;
    told += &world.list("").await.text;
    told += &world.revoke_many(r#"{"tenant":"acme","reason":"x"}"#).await.text;
    told
}

#[tokio::test]
async fn no_secret_is_logged_audited_shown_or_told() {
    let log = Log::default();
    let subscriber = log.of_everything();
    // With one subscriber alone, whether a span is of interest is asked of the thread that meets it first,
    // which may be another test's.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);

    let world = World::new(ENGINEERS).await;
    let mut told = String::new();
    let mut secrets = vec![ADMIN.to_owned(), PEPPER.to_owned(), CLIENT.to_owned()];
    let good = world.engineer("alice").id_token();
    let bad = world.engineer("alice").fault(TokenFault::BadSignature).id_token();
    let unknown = world.engineer("alice").fault(TokenFault::UnknownKid).id_token();
    for token in [&good, &good, &bad, &unknown, &"canary-rubbish".to_owned()] {
        secrets.push(token.clone());
        let answer = world.form(&exchange_of(token)).await;
        match answer.json["access_token"].as_str() {
            Some(key) => {
                let key = BearerToken::new(key);
                told += &format!("{:?}", world.server.find(&key));
                told += &format!("{:?} {:?}", world.server.verify(&key).await, key);
                secrets.push(key.expose().to_owned());
            }
            None => told += &answer.text,
        }
        told += &format!("{:?}", world.exchange(token.clone()).await);
        told += &format!("{:?}", world.server.verify(&BearerToken::new(token.clone())).await);
    }
    let key = world.key("alice").await;
    secrets.push(key.access_token.expose().to_owned());
    told += &format!("{key:?} {:?}", world.server);
    told += &world.delete("x", &format!("Bearer {ADMIN}x")).await.text;
    told += &world.delete(&key.key_id.to_string(), &format!("Bearer {ADMIN}")).await.text;
    told += &manage(&world, &mut secrets).await;
    world.store.set_off(true);
    told += &world.form(&exchange_of(&world.engineer("bob").id_token())).await.text;
    world.idp.set_down(true);
    world.pass(86_400);
    told += &format!("{:?}", world.exchange(world.engineer("bob").id_token()).await);
    for event in world.audit.events() {
        told += &serde_json::to_string(&event).unwrap();
        told += &format!("{event:?}");
    }

    let logged = log.text();
    assert!(logged.contains("keyserver.exchange") && logged.contains("the issuer's keys were not renewed"));
    for secret in secrets {
        // Also no half of it: a token's payload is as good as the token, for reading.
        for part in [&secret[..], &secret[secret.len() / 2..], &secret[..secret.len() / 2]] {
            assert!(part.len() >= 7);
            assert!(!logged.contains(part), "logged: {part}");
            assert!(!told.contains(part), "told: {part}");
        }
    }
}
