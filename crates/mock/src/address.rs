//! Where clients find a server: base addresses, and variables for a child process.

use portunus_auth_core::Dialect;

use crate::server::MockServer;

impl MockServer {
    /// The address that clients of that provider's are given as their base: what stands before the paths
    /// that they add, such as `http://127.0.0.1:12345/v1` for OpenAI's.
    pub fn base_url(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::OpenAi => self.url() + "/v1",
            _ => self.url(),
        }
    }

    /// The variables by which the providers' own clients find this server, for
    /// [`Command::envs`](std::process::Command::envs). They hold no credential. With `ServerBuilder::ca_file`
    /// also those by which clients find that file; all but Node's then trust nobody else.
    ///
    /// `AzureOpenAI` of OpenAI's client for Node takes `OPENAI_BASE_URL` before `AZURE_OPENAI_ENDPOINT`; a
    /// child that uses it needs the former removed.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let root = self.url();
        let v1 = format!("{root}/v1");
        let env = vec![
            ("OPENAI_BASE_URL", v1.clone()),
            ("AZURE_OPENAI_ENDPOINT", root.clone()),
            ("ANTHROPIC_BASE_URL", root.clone()),
            ("ANTHROPIC_BEDROCK_BASE_URL", root.clone()),
            ("ANTHROPIC_VERTEX_BASE_URL", v1),
            ("GOOGLE_GEMINI_BASE_URL", root.clone()),
            ("GOOGLE_VERTEX_BASE_URL", root.clone()),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", root),
        ];
        #[cfg(feature = "tls")]
        let env = [env, self.ca_env()].concat();
        env
    }

    /// [`MockServer::env`], and that key wherever the clients look for one. They do not start without a key,
    /// even if the server asks for none.
    pub fn env_with_key(&self, key: &str) -> Vec<(&'static str, String)> {
        let names = [
            "OPENAI_API_KEY",
            "AZURE_OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            // Comes before `GEMINI_API_KEY`.
            "GOOGLE_API_KEY",
            "AWS_BEARER_TOKEN_BEDROCK",
        ];
        let mut env = self.env();
        env.extend(names.map(|name| (name, key.to_owned())));
        env
    }
}
