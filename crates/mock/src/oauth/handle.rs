//! The handle of an identity provider that runs.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::assertion::Trusted;
use super::builder::IdpBuilder;
use super::client::{GrantType, OAuthClient};
use super::device::{DevicePoll, UnknownUserCode};
use super::ledger::IssuedTokens;
use super::mint::Mint;
use super::routes::Endpoint;
use super::user::User;
use super::{Idp, Server};
use crate::clock::VirtualClock;
use crate::error::StartError;
use crate::fault::Fault;
use crate::host::Host;
use crate::requests::Requests;

/// A running identity provider. Dropping it closes its port and its connections.
pub struct MockIdp {
    /// `None`: a tenant, which ends with the whole.
    host: Option<Host>,
    idp: Arc<Idp>,
    tenants: Vec<(String, MockIdp)>,
}

impl MockIdp {
    /// An identity provider with the client and the user that are there by default.
    ///
    /// # Panics
    /// When no port of 127.0.0.1 is free; [`IdpBuilder::build`] says so instead.
    #[expect(clippy::unused_async, reason = "starts as the LLM server does")]
    pub async fn start() -> Self {
        Self::builder().build().expect("a free port on 127.0.0.1")
    }

    /// An identity provider to be adapted.
    pub fn builder() -> IdpBuilder {
        IdpBuilder::new()
    }

    pub(super) fn serving(host: Host, server: &Server) -> Self {
        let tenant = |(name, idp): &(String, Arc<Idp>)| {
            (name.clone(), Self { host: None, idp: Arc::clone(idp), tenants: Vec::new() })
        };
        let tenants = server.others.iter().map(tenant).collect();
        Self { host: Some(host), idp: Arc::clone(&server.main), tenants }
    }

    /// The tenant of that name, to mint its tokens or to disturb it.
    pub fn tenant(&self, name: &str) -> Option<&Self> {
        self.tenants.iter().find(|(known, _)| known == name).map(|(_, tenant)| tenant)
    }

    /// The issuer, which is the address too.
    pub fn issuer(&self) -> &str {
        self.idp.issuer()
    }

    /// The certificate of the CA to trust, in PEM, if it serves HTTPS.
    #[cfg(feature = "tls")]
    pub fn ca_pem(&self) -> Option<&str> {
        self.host.as_ref()?.tls().map(crate::tls::Tls::ca_pem)
    }

    /// The clock that everything here goes by.
    pub fn clock(&self) -> &VirtualClock {
        &self.idp.desk.clock
    }

    /// Where the public keys are; empty for a preset that has none.
    pub fn jwks_uri(&self) -> String {
        self.idp.routes.url(Endpoint::Jwks).unwrap_or_default()
    }

    /// Where tokens are issued; empty for a preset that issues none there.
    pub fn token_endpoint(&self) -> String {
        self.idp.routes.url(Endpoint::Token).unwrap_or_default()
    }

    /// The public keys themselves, for who is to trust this issuer.
    pub fn jwks(&self) -> Value {
        serde_json::to_value(self.idp.keys().jwks()).unwrap_or_default()
    }

    /// The id and the secret of the first client that has one.
    pub fn client_credentials(&self) -> Option<(String, String)> {
        let clients = self.idp.clients.all();
        let pair = |client: &Arc<OAuthClient>| {
            Some((client.id.clone(), client.secret.as_ref()?.expose().to_owned()))
        };
        clients.iter().find_map(pair)
    }

    /// Adds a client, in place of one of the same id.
    ///
    /// # Errors
    /// [`StartError::Incomplete`] when it has no id, a redirect URI is not absolute, or its keys are none.
    pub fn add_client(&self, client: impl Into<OAuthClient>) -> Result<(), StartError> {
        self.idp.clients.add(client.into().checked()?);
        Ok(())
    }

    /// Takes assertions of that issuer from now on.
    ///
    /// # Errors
    /// [`StartError::Incomplete`] when its keys are no JWK set.
    pub fn trust(&self, issuer: impl Into<String>, jwks: Value) -> Result<(), StartError> {
        let keys = serde_json::from_value(jwks);
        let keys = keys.map_err(|_| StartError::Incomplete("a trusted issuer's keys are no JWK set"))?;
        let mut trusted = self.idp.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.push(Trusted { issuer: issuer.into(), keys });
        Ok(())
    }

    /// Begins a token without a flow.
    pub fn mint(&self, subject: impl Into<String>) -> Mint {
        Mint::new(Arc::clone(&self.idp), subject.into())
    }

    /// Begins an ID token of that user, with the claims that they would have after signing in with every
    /// scope, as the provider words them.
    pub fn mint_for(&self, user: &User) -> Mint {
        Mint::of_user(Arc::clone(&self.idp), user)
    }

    /// The token response of a client for whom the current user has just consented to these scopes, without
    /// a flow. `None`: there is no such client, or the scopes are not its own.
    pub fn sign_in(&self, client_id: &str, scopes: &str) -> Option<Value> {
        super::token::without_flow(&self.idp, client_id, scopes)
    }

    /// Who signs in from now on without being asked.
    pub fn set_user(&self, user: User) {
        *self.idp.user.lock().unwrap_or_else(PoisonError::into_inner) = user;
    }

    /// Answers the next authorization request with `access_denied`.
    pub fn deny_next(&self) {
        self.idp.deny_next.store(true, Ordering::Release);
    }

    /// The current user approves the device that shows that code, however it is written.
    ///
    /// # Errors
    /// [`UnknownUserCode`] when no flow waits with that code.
    pub fn approve_device(&self, user_code: &str) -> Result<(), UnknownUserCode> {
        self.approve_device_as(user_code, self.idp.user())
    }

    /// That user approves the device that shows that code.
    ///
    /// # Errors
    /// [`UnknownUserCode`] when no flow waits with that code.
    pub fn approve_device_as(&self, user_code: &str, user: User) -> Result<(), UnknownUserCode> {
        self.idp.devices.decide(user_code, Some(user), self.idp.now())
    }

    /// The user says no to the device that shows that code.
    ///
    /// # Errors
    /// [`UnknownUserCode`] when no flow waits with that code.
    pub fn deny_device(&self, user_code: &str) -> Result<(), UnknownUserCode> {
        self.idp.devices.decide(user_code, None, self.idp.now())
    }

    /// What the polls of the next device flow are answered, one after the other, whenever they come; the
    /// usual rules follow.
    pub fn script_device(&self, polls: impl IntoIterator<Item = DevicePoll>) {
        self.idp.devices.script(polls);
    }

    /// Asks for another nonce in DPoP proofs from now on, or for one at all.
    pub fn new_dpop_nonce(&self) {
        self.idp.nonces.fetch_add(1, Ordering::AcqRel);
    }

    /// While down, every path answers 503.
    pub fn set_down(&self, down: bool) {
        self.idp.down.store(down, Ordering::Release);
    }

    /// Lets the next requests to the port, whatever they ask, fail that way; queued behind earlier faults.
    pub fn fail_next(&self, requests: usize, fault: Fault) {
        self.idp.desk.faults.add(requests, fault);
    }

    /// Refuses the next token requests of clients that prove who they are with that error: 400, and nothing
    /// is spent.
    pub fn refuse_next(&self, requests: usize, error: &'static str) {
        self.idp.script.refuse(requests, error);
    }

    /// Says that in the metadata from now on, in place of what is true; null takes a member away.
    pub fn set_metadata(&self, member: impl Into<String>, value: impl Into<Value>) {
        let mut metadata = self.idp.script.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        metadata.insert(member.into(), value.into());
    }

    /// While stale, the keys are published that are published now, as a cache in front would.
    pub fn set_jwks_stale(&self, stale: bool) {
        self.idp.keys().hold(stale);
    }

    /// Signs with new keys, of new ids, from now on. The earlier keys stay published.
    pub fn rotate_keys(&self) {
        self.idp.keys().rotate();
    }

    /// Publishes only the keys that sign, so that tokens of before the last rotation fail.
    pub fn retire_keys(&self) {
        self.idp.keys().retire();
    }

    /// Ends an access token, or a refresh token with everything of its family. Whether there was one.
    pub fn revoke(&self, token: &str) -> bool {
        self.idp.issued.withdraw(token)
    }

    /// Ends the time of an access or refresh token. Whether there is one.
    pub fn expire(&self, token: &str) -> bool {
        self.idp.issued.expire(token, self.idp.now())
    }

    /// Undoes what was scripted for requests to come (faults, refusals, polls, other metadata, stale keys,
    /// being down), here and at every tenant, and forgets which requests came. Users, clients, keys and
    /// tokens stay.
    pub fn reset(&self) {
        self.forget_requests();
        self.idp.desk.faults.clear();
        self.idp.script.clear();
        self.idp.devices.script([]);
        self.idp.deny_next.store(false, Ordering::Release);
        self.set_jwks_stale(false);
        self.set_down(false);
        self.tenants.iter().for_each(|(_, tenant)| tenant.reset());
    }

    pub(crate) fn forget_requests(&self) {
        self.idp.desk.log.clear();
    }

    /// Another handle, which ends nothing when it is dropped.
    pub(crate) fn view(&self) -> Self {
        let tenants = self.tenants.iter().map(|(name, tenant)| (name.clone(), tenant.view())).collect();
        Self { host: None, idp: Arc::clone(&self.idp), tenants }
    }

    /// How many requests came for that path of the port, failed ones too.
    pub fn count(&self, path: &str) -> u64 {
        self.idp.desk.log.count(path)
    }

    /// How many requests for tokens of that kind came from clients that proved who they are.
    pub fn count_grants(&self, grant: GrantType) -> u64 {
        self.idp.script.count(grant)
    }

    /// What was asked of the port, oldest first; at most the last [`CAPACITY`](crate::CAPACITY) requests.
    pub fn requests(&self) -> Requests {
        self.idp.desk.log.requests()
    }

    /// Closes the port, and waits a few seconds at most for answers under way.
    pub async fn shutdown(self) {
        self.drain().await;
    }

    /// Closes the port, and waits a few seconds at most for answers under way; from a test that is not
    /// asynchronous.
    pub fn shutdown_blocking(mut self) {
        self.drain_blocking();
    }

    pub(crate) async fn drain(&self) {
        if let Some(host) = &self.host {
            host.drain().await;
        }
    }

    pub(crate) fn drain_blocking(&mut self) {
        if let Some(host) = &mut self.host {
            host.drain_blocking();
        }
    }

    pub(crate) fn issued(&self) -> Arc<IssuedTokens> {
        Arc::clone(&self.idp.issued)
    }
}

impl fmt::Debug for MockIdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockIdp").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}
