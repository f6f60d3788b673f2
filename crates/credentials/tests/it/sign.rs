//! Signatures, against those of AWS's own signers.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use portunus_auth_core::secret::ExposeSecret;
use portunus_auth_core::vectors::{Report, open};
use portunus_credentials::{Credential, PayloadHash, SecretString, SignError, Signer};
use serde_json::Value;

fn credential(of: &Value) -> Credential {
    let secret = |name: &str| SecretString::from(of[name].as_str().unwrap());
    Credential::AwsCredentials {
        access_key_id: secret("access_key_id"),
        secret_access_key: secret("secret_access_key"),
        session_token: of["session_token"].as_str().map(SecretString::from),
    }
}

fn at(timestamp: &Value) -> SystemTime {
    humantime::parse_rfc3339(timestamp.as_str().unwrap()).unwrap()
}

fn header(headers: &mut HeaderMap, name: &str, value: &str) {
    headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
}

mod vectors {
    use super::*;

    /// Real Bedrock and STS requests.
    #[test]
    fn sigv4_bedrock() {
        let Some(file) = open("sigv4-bedrock/cases.json") else { return };
        let mut report = Report::on("sigv4-bedrock");
        for case in serde_json::from_slice::<Vec<Value>>(&file).unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let mut headers = HeaderMap::new();
            for (name, value) in case["signed_headers"].as_object().unwrap() {
                if !name.starts_with("x-amz-") || name == "x-amz-content-sha256" {
                    header(&mut headers, name, value.as_str().unwrap());
                }
            }
            let body = base64::engine::general_purpose::STANDARD.decode(text("body_base64")).unwrap();
            let signer = Signer::new(text("region"), text("service"));
            let (method, uri) =
                (text("method").parse::<Method>().unwrap(), text("url").parse::<Uri>().unwrap());
            let hash = PayloadHash::of(&body);
            let now = at(&case["timestamp"]);
            let credential = credential(&case["credentials"]);
            signer.sign(&credential, &method, &uri, &mut headers, &hash, now).unwrap();
            // Signed again, as a request that is sent again is, it is the same.
            signer.sign(&credential, &method, &uri, &mut headers, &hash, now).unwrap();
            let found = headers["authorization"].to_str().unwrap();
            report.case(text("id"), found == case["expected"]["authorization"].as_str().unwrap());
        }
        report.finish();
    }

    /// Cases of AWS's suite that this signer is not made for, each with its reason.
    const NOT_OURS: [(&str, &str); 4] = [
        ("get-slash-pointless-dot-unnormalized", "only S3 wants paths that are not normalized"),
        ("get-slash-unnormalized", "only S3 wants paths that are not normalized"),
        ("post-sts-header-after", "a session token that is added after signing"),
        ("get-header-value-multiline", "a header's value over several lines is no HTTP any more"),
    ];

    /// AWS's own suite, with the signature in the headers, and in the query.
    #[test]
    fn sigv4_suite() {
        let Some(file) = open("sigv4-suite/cases.json") else { return };
        let mut report = Report::on("sigv4-suite");
        for case in serde_json::from_slice::<Vec<Value>>(&file).unwrap() {
            let id = case["id"].as_str().unwrap();
            if NOT_OURS.iter().any(|(other, _)| *other == id) {
                continue;
            }
            let signatures = signatures(&case).unwrap();
            report.case(format!("{id}, in headers"), signatures.0 == case["header_signature"]);
            report.case(format!("{id}, in the query"), signatures.1 == case["query_signature"]);
        }
        report.finish();
    }

    fn signatures(case: &Value) -> Option<(String, String)> {
        let context = &case["context"];
        let (head, body) =
            case["request"].as_str()?.split_once("\n\n").unwrap_or((case["request"].as_str()?, ""));
        let mut lines = head.lines();
        let (method, rest) = lines.next()?.split_once(' ')?;
        let target = rest.strip_suffix(" HTTP/1.1")?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            header(&mut headers, name, value.trim());
        }
        let hash = PayloadHash::of(body.as_bytes());
        if context["sign_body"] == true {
            header(&mut headers, "x-amz-content-sha256", &format!("{hash:?}"));
        }
        let host = headers["host"].to_str().ok()?;
        // The suite writes paths without encoding; on the wire they are encoded once.
        let target: String =
            target.chars().map(|c| if c == ' ' { "%20".to_owned() } else { encoded(c) }).collect();
        let uri: Uri = format!("https://{host}{target}").parse().ok()?;
        let signer = Signer::new(context["region"].as_str()?, context["service"].as_str()?);
        let now = at(&context["timestamp"]);
        let credential = credential(&context["credentials"]);
        let request = http::Request::builder().method(method).uri(&uri);
        let (mut parts, ()) = request.body(()).ok()?.into_parts();
        parts.headers = headers.clone();
        // The suite's presigned requests do not have it.
        parts.headers.remove("x-amz-content-sha256");
        let expires_in = Duration::from_secs(context["expiration_in_seconds"].as_u64()?);
        let presigned = signer.presign(&credential, &parts, &hash, expires_in, now).ok()?;
        let presigned = presigned.expose_secret().split_once("X-Amz-Signature=")?.1.to_owned();
        signer.sign(&credential, &method.parse().ok()?, &uri, &mut headers, &hash, now).ok()?;
        let authorization = headers["authorization"].to_str().ok()?;
        Some((authorization.split_once("Signature=")?.1.to_owned(), presigned))
    }

    fn encoded(c: char) -> String {
        let mut bytes = [0; 4];
        match c {
            c if c.is_ascii() => c.to_string(),
            c => c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect(),
        }
    }
}

fn keys() -> Credential {
    Credential::AwsCredentials {
        access_key_id: SecretString::from("AKIDEXAMPLE"),
        secret_access_key: SecretString::from("canary-secret"),
        session_token: None,
    }
}

#[test]
fn the_host_is_signed_as_it_is_sent() {
    let (signer, hash) = (Signer::new("us-east-1", "bedrock"), PayloadHash::of(b"{}"));
    let signed = |uri: &'static str| {
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static(uri);
        let done = signer.sign(&keys(), &Method::POST, &uri, &mut headers, &hash, SystemTime::UNIX_EPOCH);
        done.map(|()| (headers["host"].clone(), headers["authorization"].clone()))
    };
    let plain = signed("https://bedrock.example/x").unwrap();
    assert_eq!(plain.0, "bedrock.example");
    assert_eq!(signed("https://bedrock.example:443/x").unwrap(), plain);
    assert_eq!(signed("http://bedrock.example:8080/x").unwrap().0, "bedrock.example:8080");
    assert!(matches!(signed("/x"), Err(SignError::Request(_))));
}

#[test]
fn only_aws_credentials_sign_and_what_they_set_is_marked_as_secret() {
    let mut headers = HeaderMap::new();
    let (uri, hash) =
        (Uri::from_static("https://bedrock.example/model/a%3A0/invoke"), PayloadHash::of(b"{}"));
    let signer = Signer::new("us-east-1", "bedrock");
    let bearer = Credential::BearerToken(SecretString::from("token"));
    let refused = signer.sign(&bearer, &Method::POST, &uri, &mut headers, &hash, SystemTime::UNIX_EPOCH);
    assert!(matches!(refused, Err(SignError::NotAwsCredentials)));
    assert!(headers.is_empty());

    let keys = Credential::AwsCredentials {
        access_key_id: SecretString::from("AKIDEXAMPLE"),
        secret_access_key: SecretString::from("canary-secret"),
        session_token: Some(SecretString::from("canary-session")),
    };
    signer.sign(&keys, &Method::POST, &uri, &mut headers, &hash, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(headers["host"], "bedrock.example");
    assert_eq!(headers["x-amz-security-token"], "canary-session");
    let shown = format!("{headers:?} {signer:?} {keys:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
