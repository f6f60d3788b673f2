//! A workload on AWS: its identity token is a signed request to AWS, which Google sends in order to learn
//! who it is
//! (<https://google.aip.dev/auth/4117#determining-the-subject-token-in-aws>).

use ::http::header::ACCEPT;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use portunus_auth_core::secret::SecretString;
use portunus_auth_core::{Credential, CredentialError, CredentialSource, SecretSource};
use serde_json::{Value, json};
use url::Url;

use super::Call;
use super::fields::Fields;
use super::misconfigured::Misconfigured;
use crate::aws::{AwsKeysSource, PayloadHash, Signer, keys, refusal};
use crate::env::set;
use crate::http::{Answer, Reach, allowed_metadata};

const SESSION_LIFE: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const SESSION: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
/// Signed, so that the request serves for no other audience.
const TARGET: HeaderName = HeaderName::from_static("x-goog-cloud-target-resource");

#[derive(Clone, Debug)]
pub(crate) struct Aws {
    audience: String,
    /// The address that Google asks, with `{region}` in it.
    identity_url: String,
    region: Setting<String>,
    keys: Setting<AwsKeysSource>,
    session_url: Option<Url>,
}

/// From the environment, or else from the instance's metadata service.
#[derive(Clone, Debug)]
enum Setting<T> {
    Known(T),
    At(Url),
}

#[derive(Debug, thiserror::Error)]
#[error("the instance's metadata service gave something else than was asked for")]
struct Garbled;

impl Aws {
    pub(super) fn parse(
        source: &Fields<'_>,
        audience: &str,
        env: &dyn SecretSource,
    ) -> Result<Self, Misconfigured> {
        if source.text("environment_id")? != Some("aws1") {
            return Err(Misconfigured::Wrong("environment_id"));
        }
        let identity_url = source.required("regional_cred_verification_url")?;
        if !is_sts(identity_url) {
            return Err(Misconfigured::Wrong("regional_cred_verification_url"));
        }
        let region = match set(env, "AWS_REGION").or_else(|| set(env, "AWS_DEFAULT_REGION")) {
            Some(region) => Setting::Known(region),
            None => {
                Setting::At(metadata_url(source, "region_url")?.ok_or(Misconfigured::Missing("region_url"))?)
            }
        };
        let keys = match AwsKeysSource::from_secrets(env) {
            Ok(keys) => Setting::Known(keys),
            Err(CredentialError::NotConfigured) => {
                Setting::At(metadata_url(source, "url")?.ok_or(Misconfigured::Missing("url"))?)
            }
            Err(why) => return Err(Misconfigured::AwsKeys(why)),
        };
        let beside = match (&keys, &region) {
            (Setting::At(url), _) | (_, Setting::At(url)) => url.join("/latest/api/token").ok(),
            _ => None,
        };
        // Older files do not name it; version 1 of the service, which needs none, is not asked.
        let session_url = metadata_url(source, "imdsv2_session_token_url")?;
        Ok(Self {
            audience: audience.to_owned(),
            identity_url: identity_url.to_owned(),
            region,
            keys,
            session_url: beside.map(|beside| session_url.unwrap_or(beside)),
        })
    }

    pub(super) async fn token(&self, call: &Call<'_>) -> Result<SecretString, CredentialError> {
        let session = match &self.session_url {
            Some(url) => Some(open_session(url, call).await?),
            None => None,
        };
        let region = match &self.region {
            Setting::Known(region) => region.clone(),
            Setting::At(url) => {
                let mut zone = text(&get(url, session.as_ref(), call).await?)?;
                zone.pop(); // us-east-2b lies in us-east-2.
                zone
            }
        };
        let credential = match &self.keys {
            Setting::Known(keys) => keys.fetch().await?.credential,
            Setting::At(url) => {
                let role = text(&get(url, session.as_ref(), call).await?)?;
                let mut url = url.clone();
                url.path_segments_mut().map_err(|()| unavailable())?.pop_if_empty().push(&role);
                keys(&get(&url, session.as_ref(), call).await?)?.credential
            }
        };
        self.signed(&region, &credential, call)
    }

    fn signed(
        &self,
        region: &str,
        credential: &Credential,
        call: &Call<'_>,
    ) -> Result<SecretString, CredentialError> {
        let url = self.identity_url.replace("{region}", region);
        let invalid = |_| CredentialError::from(Misconfigured::Wrong("regional_cred_verification_url"));
        let uri: Uri =
            Some(&url).filter(|url| is_sts(url)).ok_or_else(unavailable)?.parse().map_err(invalid)?;
        let mut headers = HeaderMap::new();
        let audience = HeaderValue::from_str(&self.audience);
        headers.insert(TARGET, audience.map_err(|_| Misconfigured::Wrong("audience"))?);
        Signer::new(region, "sts")
            .sign(credential, &Method::POST, &uri, &mut headers, &PayloadHash::of(b""), call.now)
            .map_err(|why| CredentialError::Invalid(why.into()))?;
        let headers: Vec<Value> = headers
            .iter()
            .filter_map(|(name, value)| Some(json!({ "key": name.as_str(), "value": value.to_str().ok()? })))
            .collect();
        let request = json!({ "url": url, "method": "POST", "headers": headers }).to_string();
        // Percent-encoded, a space too; a `+` of the request's own is `%2B` by then.
        let encoded: String = url::form_urlencoded::byte_serialize(request.as_bytes()).collect();
        Ok(encoded.replace('+', "%20").into())
    }
}

/// Whether Google is led to AWS's Security Token Service.
fn is_sts(url: &str) -> bool {
    let Ok(url) = Url::parse(&url.replace("{region}", "region")) else { return false };
    let host = url.host_str().unwrap_or_default();
    let is_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
    let is_bare = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    url.scheme() == "https" && is_bare && is_aws && (host.starts_with("sts.") || host.starts_with("sts-"))
}

fn metadata_url(source: &Fields<'_>, key: &'static str) -> Result<Option<Url>, Misconfigured> {
    let Some(text) = source.text(key)? else { return Ok(None) };
    let url = Url::parse(text).map_err(|_| Misconfigured::Wrong(key))?;
    match allowed_metadata(&url) {
        Ok(Reach::Metadata | Reach::Loopback) => Ok(Some(url)),
        _ => Err(Misconfigured::Wrong(key)),
    }
}

async fn open_session(url: &Url, call: &Call<'_>) -> Result<SecretString, CredentialError> {
    let request = call.metadata_http.put(url).header(ACCEPT, "*/*").header(SESSION_LIFE, "300");
    let answer = request.idempotent().send(call.now).await?;
    if answer.status().is_success() { Ok(text(&answer)?.into()) } else { Err(refusal(&answer)) }
}

async fn get(url: &Url, session: Option<&SecretString>, call: &Call<'_>) -> Result<Answer, CredentialError> {
    let mut request = call.metadata_http.get(url).header(ACCEPT, "*/*");
    if let Some(session) = session {
        request = request.secret_header(SESSION, session);
    }
    let answer = request.idempotent().send(call.now).await?;
    if answer.status().is_success() { Ok(answer) } else { Err(refusal(&answer)) }
}

fn text(answer: &Answer) -> Result<String, CredentialError> {
    let text = std::str::from_utf8(answer.body()).ok().map(str::trim);
    let text = text.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
    text.map(str::to_owned).ok_or_else(unavailable)
}

fn unavailable() -> CredentialError {
    CredentialError::Unavailable { retry_after: None, source: Garbled.into() }
}
