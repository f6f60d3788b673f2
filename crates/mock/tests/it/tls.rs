//! HTTPS, as a client sees it that trusts the mock's CA and nobody else.

use portunus_mock::{Fixture, ServerBuilder, StartError};
use reqwest::Client;

use crate::support::{chat, client, events, streamed};

#[expect(clippy::disallowed_methods, reason = "the mock is called as any program would call it")]
fn trusting(ca_pem: &str) -> Client {
    let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap()
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_is_served_and_no_other() {
    let server = ServerBuilder::new().tls().build().await.unwrap();
    let url = server.url();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let trusts = trusting(server.ca_pem().unwrap());
    let path = "/v1/chat/completions";
    for host in [url.clone(), url.replace("127.0.0.1", "localhost")] {
        let sent = trusts.post(format!("{host}{path}")).json(&streamed(chat("gpt-4o", "hi")));
        let stream = sent.send().await.unwrap().text().await.unwrap();
        assert_eq!(events(&stream).last().unwrap().1, "[DONE]");
    }
    let other = ServerBuilder::new().tls().build().await.unwrap();
    for stranger in [client(), trusting(other.ca_pem().unwrap())] {
        assert!(stranger.get(format!("{url}/health")).send().await.unwrap_err().is_connect());
    }
    assert!(client().get(url.replace("https", "http")).send().await.is_err());
    assert_eq!(server.requests().len(), 2, "a handshake that fails is no request");
    server.shutdown().await;
}

#[tokio::test]
async fn a_reset_is_no_clean_end() {
    let fixture = Fixture::new().respond_with_content("a b c").reset_after_frames(2);
    let server = ServerBuilder::new().tls().fixture(fixture).build().await.unwrap();
    let sent = trusting(server.ca_pem().unwrap()).post(format!("{}/v1/chat/completions", server.url()));
    let mut answer = sent.json(&streamed(chat("m", "hi"))).send().await.unwrap();
    let mut received = Vec::new();
    let error = loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => received.extend_from_slice(&bytes),
            Ok(None) => panic!("the stream ended cleanly"),
            Err(error) => break error,
        }
    };
    assert_eq!(events(std::str::from_utf8(&received).unwrap()).len(), 2);
    let mut cause = std::error::Error::source(&error);
    let mut kinds = Vec::new();
    while let Some(error) = cause {
        kinds.extend(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        cause = error.source();
    }
    assert!(kinds.contains(&std::io::ErrorKind::ConnectionReset), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_never_shakes_hands_does_not_delay_the_end() {
    let server = ServerBuilder::new().tls().build().await.unwrap();
    let address = server.url().replace("https://", "");
    let _silent = std::net::TcpStream::connect(address).unwrap();
    // An answer under way would be waited for longer.
    tokio::time::timeout(std::time::Duration::from_secs(3), server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn the_cas_certificate_is_written_where_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let server = ServerBuilder::new().ca_file(&file).build().await.unwrap();
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(server.ca_file(), Some(&*file));
    let named = server.env().into_iter().filter(|(_, value)| *value == file.to_string_lossy());
    let names: Vec<_> = named.map(|(name, _)| name).collect();
    assert_eq!(names, ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"]);
    assert_eq!(server.ca_pem(), Some(&*written));
    let health = trusting(&written).get(format!("{}/health", server.url())).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let absent = folder.path().join("absent").join("ca.pem");
    let failed = ServerBuilder::new().ca_file(&absent).build().await.unwrap_err();
    assert!(matches!(&failed, StartError::CaFile { path, .. } if *path == absent), "{failed:?}");
    assert_eq!(ServerBuilder::new().build().await.unwrap().ca_pem(), None);
}

#[cfg(feature = "oauth")]
#[tokio::test]
async fn the_oauth_server_has_the_same_ca() {
    let server = ServerBuilder::new().tls().with_oauth_defaults().build().await.unwrap();
    let issuer = server.oauth_url().unwrap();
    assert!(issuer.starts_with("https://127.0.0.1:"), "{issuer}");
    let trusts = trusting(server.ca_pem().unwrap());
    let metadata = trusts.get(format!("{issuer}/.well-known/openid-configuration")).send().await.unwrap();
    let metadata: serde_json::Value = metadata.json().await.unwrap();
    assert_eq!(metadata["issuer"], *issuer);
    let (id, secret) = server.oauth_client_credentials().await.unwrap();
    let form = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
    let token = trusts.post(metadata["token_endpoint"].as_str().unwrap()).form(&form).send().await.unwrap();
    let token: serde_json::Value = token.json().await.unwrap();
    let token = token["access_token"].as_str().unwrap();
    let models = trusts.get(format!("{}/v1/models", server.url())).bearer_auth(token).send().await.unwrap();
    assert_eq!(models.status(), 200);

    let alone = portunus_mock::MockIdp::builder().tls().build().unwrap();
    let trusts = trusting(alone.ca_pem().unwrap());
    assert_eq!(trusts.get(alone.jwks_uri()).send().await.unwrap().status(), 200);
}
