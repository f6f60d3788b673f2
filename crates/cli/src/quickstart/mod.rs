//! The whole of Portunus in one process, on mocks: what `portunus quickstart` shows.

mod setup;
pub(crate) mod show;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use portunus_credentials::ProcessEnv;
use portunus_gateway::Server;
use portunus_mock::{MockIdp, MockServer, ServerBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::args::SubjectTokenType;
use crate::exit::Failure;
use crate::http::{client, exchange_form, post_form};

/// A running demonstration.
pub(crate) struct Demo {
    pub(crate) server: Server,
    pub(crate) idp: MockIdp,
    pub(crate) provider: MockServer,
    pub(crate) secrets: setup::Secrets,
    pub(crate) folder: PathBuf,
    /// Deletes the folder in the end, unless the person named one.
    _temporary: Option<tempfile::TempDir>,
}

/// An issued key. The person at the terminal is who it was issued to.
#[derive(Deserialize)]
pub(crate) struct Key {
    pub(crate) access_token: SecretString,
    pub(crate) expires_in: u64,
    pub(crate) scope: String,
    pub(crate) jti: String,
}

/// What a streamed call brought.
pub(crate) struct Called {
    pub(crate) request_id: String,
    pub(crate) events: usize,
    pub(crate) text: String,
}

impl Demo {
    /// Starts the mocks and, with a configuration written for them, the gateway.
    pub(crate) async fn start(listen: SocketAddr, folder: Option<&Path>) -> Result<Self, Failure> {
        let (folder, temporary) = match folder {
            Some(folder) => (folder.to_owned(), None),
            None => {
                let made = tempfile::Builder::new().prefix("portunus-").tempdir();
                let made = made.map_err(|error| Failure::Retry(format!("no temporary folder: {error}")))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let secrets = setup::Secrets::new(&ProcessEnv)?;
        let provider = ServerBuilder::new()
            .with_bearer_token(secrets.provider.expose_secret())
            .with_bearer_token_uses(secrets.limited.expose_secret(), 1)
            .build()
            .await
            .map_err(|error| Failure::Retry(format!("the mock provider cannot start: {error}")))?;
        let idp = MockIdp::builder()
            .build()
            .map_err(|error| Failure::Retry(format!("the mock identity provider cannot start: {error}")))?;
        let config = setup::write(&folder, listen, &provider.url(), idp.issuer(), &secrets)?;
        let server = Server::start(&config, &ProcessEnv).await.map_err(|error| {
            Failure::Config(format!("{error}\nIs the port taken? `--listen 127.0.0.1:0` takes a free one."))
        })?;
        Ok(Self { server, idp, provider, secrets, folder, _temporary: temporary })
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub(crate) fn audit_file(&self) -> PathBuf {
        self.folder.join(setup::AUDIT)
    }

    /// Exchanges the identity of Alice, an engineer, for a key.
    pub(crate) async fn exchange(&self) -> Result<Key, Failure> {
        let token = self.idp.mint("alice").audience(setup::AUDIENCE).claim("groups", ["eng"]).id_token();
        post_form(
            &format!("{}/auth/token", self.base_url()),
            &exchange_form(&token, SubjectTokenType::IdToken.urn(), None, None),
        )
        .await
    }

    /// Calls the provider through the gateway.
    pub(crate) async fn streamed_call(&self, key: &Key) -> Result<Called, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Retry(format!("the streamed call failed: {error}"));
        let mut answer = client()?
            .post(format!("{}/v1/chat/completions", self.base_url()))
            .bearer_auth(key.access_token.expose_secret())
            .json(&serde_json::json!({
                "model": "gpt-4o",
                "stream": true,
                "messages": [{ "role": "user", "content": "Say hello." }],
            }))
            .send()
            .await
            .map_err(|error| failed(&error))?;
        if !answer.status().is_success() {
            return Err(failed(&answer.status()));
        }
        let id = answer.headers().get("portunus-request-id").and_then(|id| id.to_str().ok());
        let request_id = id.unwrap_or_default().to_owned();
        let mut stream = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| failed(&error))? {
            stream.extend_from_slice(&piece);
        }
        let stream = String::from_utf8_lossy(&stream);
        let data: Vec<&str> = stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        if data.last() != Some(&"[DONE]") {
            return Err(failed(&"the stream ended too early"));
        }
        let text = data.iter().filter_map(|data| serde_json::from_str::<Chunk>(data).ok());
        let text = text.flat_map(|chunk| chunk.choices).filter_map(|choice| choice.delta.content).collect();
        Ok(Called { request_id, events: data.len(), text })
    }

    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
}
