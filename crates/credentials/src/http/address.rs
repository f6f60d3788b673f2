//! Which addresses may be asked, and with which client.

use std::net::{IpAddr, Ipv6Addr};

use portunus_auth_core::endpoint::{is_loopback, is_protected};
use url::{Host, Url};

use super::HttpError;

/// EC2's, EKS's and Google's metadata services on IPv6. Other unique local addresses are of some network.
const HOSTS_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// Where a URL leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To this machine.
    Loopback,
    /// To the machine's host, which serves metadata to its guests.
    Metadata,
    Outside,
}

/// Where a URL leads, if a secret may be sent there: `https`, or `http` on this machine.
pub(crate) fn allowed(url: &Url) -> Result<Reach, HttpError> {
    if !is_protected(url) {
        return Err(HttpError::NotHttps);
    }
    without_user(url)
}

/// The same for a metadata service, to which plain `http` leads as well: link-local addresses do not
/// leave the host.
pub(crate) fn allowed_metadata(url: &Url) -> Result<Reach, HttpError> {
    if url.scheme() != "http" || reach(url) != Reach::Metadata {
        return allowed(url);
    }
    without_user(url)
}

fn without_user(url: &Url) -> Result<Reach, HttpError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpError::UserInfo);
    }
    Ok(reach(url))
}

fn reach(url: &Url) -> Reach {
    let address = match url.host() {
        _ if is_loopback(url) => return Reach::Loopback,
        Some(Host::Domain("metadata.google.internal")) => return Reach::Metadata,
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Reach::Outside,
    };
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => Reach::Metadata,
        IpAddr::V6(v6) if v6.is_unicast_link_local() || HOSTS_V6.contains(&v6) => Reach::Metadata,
        _ => Reach::Outside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn only_https_or_loopback_is_asked() {
        for text in [
            "http://login.example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://169.254.169.254/",
            "http://10.0.0.1/",
            "http://[fe80::1]/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "data:,x",
        ] {
            assert!(matches!(allowed(&url(text)), Err(HttpError::NotHttps)), "{text}");
        }
        for text in ["https://u@example.com/", "https://:p@example.com/", "http://u:p@127.0.0.1/"] {
            assert!(matches!(allowed(&url(text)), Err(HttpError::UserInfo)), "{text}");
        }
        for text in
            ["https://login.example.com/", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"]
        {
            assert!(allowed(&url(text)).is_ok(), "{text}");
        }
    }

    #[test]
    fn metadata_is_asked_for_in_plain_text_on_the_host_only() {
        for text in [
            "http://169.254.169.254/latest",
            "http://169.254.170.2/",
            "http://[fd00:ec2::254]/",
            "http://metadata.google.internal/",
        ] {
            assert_eq!(allowed_metadata(&url(text)).unwrap(), Reach::Metadata, "{text}");
        }
        for text in [
            "http://10.0.0.1/",
            "http://[fd00::1]/",
            "http://example.com/",
            "http://metadata.google.internal.example.com/",
            "http://169.254.169.254.example.com/",
            "ftp://169.254.169.254/",
        ] {
            assert!(matches!(allowed_metadata(&url(text)), Err(HttpError::NotHttps)), "{text}");
        }
        assert!(matches!(allowed_metadata(&url("http://u@169.254.169.254/")), Err(HttpError::UserInfo)));
    }

    #[test]
    fn near_hosts_are_told_from_others() {
        for text in ["http://127.9.9.9/", "http://0x7f000001/", "http://[::1]/", "http://LOCALHOST/"] {
            assert_eq!(reach(&url(text)), Reach::Loopback, "{text}");
        }
        for text in ["http://10.0.0.1/", "https://example.com/", "https://localhost.evil.com/"] {
            assert_eq!(reach(&url(text)), Reach::Outside, "{text}");
        }
    }
}
