//! The OAuth server beside an LLM server, as that one's handle shows it.

use super::MockIdp;
use super::device::UnknownUserCode;
use crate::server::MockServer;

impl MockServer {
    /// The OAuth server's address, which is its issuer too.
    pub fn oauth_url(&self) -> Option<String> {
        self.idp.as_ref().map(|idp| idp.issuer().to_owned())
    }

    /// The id and the secret of the OAuth server's client.
    #[expect(clippy::unused_async, reason = "the documented programs await it")]
    pub async fn oauth_client_credentials(&self) -> Option<(String, String)> {
        self.idp.as_ref().and_then(MockIdp::client_credentials)
    }

    /// The current user approves the device that shows that code, however it is written.
    ///
    /// # Errors
    /// [`UnknownUserCode`] when no device flow waits with that code, or there is no OAuth server.
    #[expect(clippy::unused_async, reason = "the documented programs await it")]
    pub async fn approve_device_code(&self, user_code: &str) -> Result<(), UnknownUserCode> {
        self.idp.as_ref().ok_or(UnknownUserCode)?.approve_device(user_code)
    }

    /// The OAuth server, to mint tokens or to disturb it.
    pub fn idp(&self) -> Option<&MockIdp> {
        self.idp.as_ref()
    }
}
