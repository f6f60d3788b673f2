//! Who may drive a mock: programs on this machine, and no web page. A page of another site reaches 127.0.0.1
//! by its address, or by a name of its own that it lets resolve to it; browsers then say so in `Origin` or
//! in `Host`.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

/// Why whoever sent these headers may not drive a mock, if they may not.
pub(crate) fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    let (hosts, origins) = (headers.get_all(HOST), headers.get_all(ORIGIN));
    let is_origin =
        |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| is_loopback(authority));
    if hosts.iter().next().is_none() || !hosts.iter().all(|host| host.to_str().is_ok_and(is_loopback)) {
        return Some("the `Host` header must name this machine: localhost, 127.0.0.1 or [::1]");
    }
    if !origins.iter().all(|origin| origin.to_str().is_ok_and(is_origin)) {
        return Some("the `Origin` header must name this machine, or be left out");
    }
    None
}

fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host();
    let ip = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn refuses(headers: &[(HeaderName, &str)]) -> bool {
        let pair =
            |(name, value): &(HeaderName, &str)| (name.clone(), HeaderValue::try_from(*value).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(pair) {
            map.append(name, value);
        }
        refusal(&map).is_some()
    }

    #[test]
    fn only_this_machine_may() {
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:4010", "127.9.9.9", "[::1]:4010", "[::1]"] {
            assert!(!refuses(&[(HOST, host)]), "{host}");
            assert!(!refuses(&[(HOST, host), (ORIGIN, &format!("http://{host}"))]), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]"]
        {
            assert!(refuses(&[(HOST, host)]), "{host}");
            assert!(refuses(&[(HOST, "localhost"), (ORIGIN, &format!("https://{host}"))]), "{host}");
        }
        for headers in [
            &[][..],
            &[(HOST, "localhost"), (HOST, "evil.example")],
            &[(HOST, "localhost"), (ORIGIN, "null")],
            &[(HOST, "localhost"), (ORIGIN, "localhost")],
            &[(HOST, "127.0.0.1@evil.example")],
        ] {
            assert!(refuses(headers), "{headers:?}");
        }
    }
}
