//! AWS Signature Version 4, verified: the canonical request is rebuilt from what arrived.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};

use crate::capture::Recorded;
use crate::key::AwsKey;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "bedrock";
/// How far the time of a signature may be from the server's.
const SKEW: Duration = Duration::from_secs(5 * 60);

/// Why a signature does not admit a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadSignature {
    /// A part of it is missing, or is not what the format wants.
    Incomplete(&'static str),
    UnknownKey,
    /// The session token is missing or wrong.
    WrongToken,
    WrongService,
    WrongRegion,
    /// Its time, and the server's.
    Early(SystemTime, SystemTime),
    /// Its time, and the server's.
    Late(SystemTime, SystemTime),
    Mismatch,
}

/// The parts of an `Authorization` header.
struct Signature<'a> {
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

/// The id of the key that a request says it is signed with.
pub(crate) fn key_id(authorization: &str) -> Option<&str> {
    let rest = authorization.strip_prefix(ALGORITHM)?;
    let credential = rest.split([' ', ',']).find_map(|part| part.strip_prefix("Credential="));
    credential.unwrap_or_default().split('/').next()
}

/// Whether the key signed that request, as it arrived and not long ago.
pub(super) fn verify(request: &Recorded, key: &AwsKey, now: SystemTime) -> Result<(), BadSignature> {
    let headers = request.headers_with_secrets();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let given = Signature::parse(text("authorization").unwrap_or_default())?;
    if given.service != SERVICE {
        return Err(BadSignature::WrongService);
    }
    let host = text("host").unwrap_or_default();
    let named = host.strip_prefix("bedrock-runtime.").and_then(|rest| rest.split('.').next());
    if [named, key.region.as_deref()].iter().flatten().any(|region| *region != given.region) {
        return Err(BadSignature::WrongRegion);
    }
    let date = text("x-amz-date").ok_or(BadSignature::Incomplete("X-Amz-Date"))?;
    check_time(date, given.date, now)?;
    let has_token = key.session_token.as_ref().map(|token| token.expose());
    if text("x-amz-security-token") != has_token {
        return Err(BadSignature::WrongToken);
    }
    let payload = hex(digest::digest(&digest::SHA256, request.body()).as_ref());
    if text("x-amz-content-sha256").is_some_and(|said| said != payload) {
        return Err(BadSignature::Mismatch);
    }
    let canonical = canonical_request(request, given.signed_headers, &payload)?;
    let Signature { date: day, region, service, .. } = given;
    let hashed = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("{ALGORITHM}\n{date}\n{day}/{region}/{service}/aws4_request\n{hashed}");
    let mut signing = format!("AWS4{}", key.secret.expose()).into_bytes();
    for part in [day, region, service, "aws4_request"] {
        signing = mac(&signing, part);
    }
    let right = hex(&mac(&signing, &to_sign));
    verify_slices_are_equal(right.as_bytes(), given.signature.as_bytes()).map_err(|_| BadSignature::Mismatch)
}

impl<'a> Signature<'a> {
    fn parse(authorization: &'a str) -> Result<Self, BadSignature> {
        let rest = authorization.strip_prefix(ALGORITHM).unwrap_or_default();
        let part = |name: &'static str| {
            let parts = rest.split(',').map(str::trim);
            let found = parts.filter_map(|part| part.strip_prefix(name)?.strip_prefix('=')).next();
            found.filter(|value| !value.is_empty()).ok_or(BadSignature::Incomplete(name))
        };
        let scope: Vec<&str> = part("Credential")?.split('/').collect();
        let [_, date, region, service, "aws4_request"] = scope[..] else {
            return Err(BadSignature::Incomplete("Credential"));
        };
        Ok(Self {
            date,
            region,
            service,
            signed_headers: part("SignedHeaders")?,
            signature: part("Signature")?,
        })
    }
}

fn check_time(date: &str, day: &str, now: SystemTime) -> Result<(), BadSignature> {
    let at = parse_time(date).ok_or(BadSignature::Incomplete("X-Amz-Date"))?;
    if date.get(..8) != Some(day) {
        return Err(BadSignature::Incomplete("Credential"));
    }
    if at > now + SKEW {
        return Err(BadSignature::Early(at, now));
    }
    if at + SKEW < now {
        return Err(BadSignature::Late(at, now));
    }
    Ok(())
}

/// `20150830T123600Z`.
fn parse_time(text: &str) -> Option<SystemTime> {
    let plain = text.len() == 16 && text.is_ascii();
    let at = |range: std::ops::Range<usize>| text.get(range);
    let (year, month, day) = (at(0..4)?, at(4..6)?, at(6..8)?);
    let (hour, minute, second) = (at(9..11)?, at(11..13)?, at(13..15)?);
    let long = format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    let shape = plain && text.as_bytes()[8] == b'T' && text.ends_with('Z');
    shape.then(|| humantime::parse_rfc3339(&long).ok()).flatten()
}

/// A time as AWS writes it.
pub(super) fn basic(at: SystemTime) -> String {
    let long = humantime::format_rfc3339_seconds(at).to_string();
    long.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

fn canonical_request(request: &Recorded, signed: &str, payload: &str) -> Result<String, BadSignature> {
    let names: Vec<&str> = signed.split(';').collect();
    let headers = request.headers_with_secrets();
    let unsigned = |name: &str| name.starts_with("x-amz-") && !names.contains(&name);
    if !names.contains(&"host") || headers.keys().any(|name| unsigned(name.as_str())) {
        return Err(BadSignature::Incomplete("SignedHeaders"));
    }
    let mut text = format!("{}\n", request.method());
    // What arrives is escaped once, and is escaped once more before it is signed.
    let _ = write!(text, "{}\n{}\n", escape(request.path(), true), canonical_query(request.query()));
    for name in &names {
        let values = headers.get_all(*name).iter().map(|value| value.to_str().unwrap_or_default());
        let values: Vec<String> = values.map(collapsed).collect();
        if values.is_empty() {
            return Err(BadSignature::Mismatch);
        }
        let _ = writeln!(text, "{name}:{}", values.join(","));
    }
    let _ = write!(text, "\n{signed}\n{payload}");
    Ok(text)
}

/// Without spaces at its ends, and with one where there are several.
fn collapsed(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn canonical_query(query: Option<&str>) -> String {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut pairs: Vec<_> =
        pairs.map(|(name, value)| (escape(&name, false), escape(&value, false))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Escapes all but RFC 3986's unreserved characters.
fn escape(text: &str, slashes_stay: bool) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        let stays = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slashes_stay && byte == b'/');
        if stays {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
