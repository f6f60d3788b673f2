//! Which network addresses an issuer's documents are fetched from.
//!
//! A name is resolved once for each connection, every address that it has is checked, and the connection goes
//! to one of those that were checked: a name that resolves to another address a moment later leads nowhere.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use portunus_auth_core::BoxError;
use portunus_auth_core::endpoint::is_loopback;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// How far a fetch may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This very machine, because the URL says so.
    ThisMachine,
    /// Addresses of the Internet.
    Internet,
    /// These, and those of private networks; not the machine itself, nor what its host serves to it alone.
    PrivateNetworks,
}

impl Reach {
    /// How far this URL may reach.
    pub(crate) fn of(url: &Url, allow_private: bool) -> Self {
        if is_loopback(url) {
            Self::ThisMachine
        } else if allow_private {
            Self::PrivateNetworks
        } else {
            Self::Internet
        }
    }

    /// Whether the URL's host is within reach, as far as that can be told without resolving it.
    pub(crate) fn admits_host(self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(ip)) => self.admits(ip.into()),
            Some(Host::Ipv6(ip)) => self.admits(ip.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }

    /// Whether the address is within reach.
    pub(crate) fn admits(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Self::ThisMachine, ip) => ip.is_loopback(),
            (Self::Internet, IpAddr::V4(ip)) => is_internet(ip),
            (Self::PrivateNetworks, IpAddr::V4(ip)) => is_internet(ip) || is_private(ip),
            (reach, IpAddr::V6(ip)) => match translated(ip) {
                Some(v4) => reach.admits(v4.into()),
                None => {
                    is_internet_v6(ip)
                        || (reach == Self::PrivateNetworks && ip.is_unique_local() && !is_metadata_v6(ip))
                }
            },
        }
    }
}

/// Not private, shared, link-local, loopback, multicast, for documentation or benchmarks, or reserved (IANA
/// IPv4 Special-Purpose Address Registry); and not Azure's wire server, which answers inside its machines.
fn is_internet(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (b == 18 || b == 19));
    !special && ip != Ipv4Addr::new(168, 63, 129, 16)
}

/// RFC 1918 and RFC 6598, less the metadata service of Alibaba Cloud.
fn is_private(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    (ip.is_private() || shared) && ip != Ipv4Addr::new(100, 100, 100, 200)
}

/// Global unicast (RFC 4291 section 2.4), less what tunnels to IPv4 addresses (2001::/32 of RFC 4380,
/// 2002::/16 of RFC 3056), other protocol assignments (2001::/23) and documentation (RFC 3849, RFC 9637).
/// That leaves out v4-mapped and v4-compatible addresses, loopback, link-local and multicast.
fn is_internet_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let special = (a == 0x2001 && (b < 0x200 || b == 0x0db8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    (0x2000..0x4000).contains(&a) && !special
}

/// The IPv4 address that a NAT64 reaches by this one (RFC 6052 section 2.1).
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = ip.segments();
    if segments[..6] != [0x64, 0xff9b, 0, 0, 0, 0] {
        return None;
    }
    let [a, b] = segments[6].to_be_bytes();
    let [c, d] = segments[7].to_be_bytes();
    Some(Ipv4Addr::new(a, b, c, d))
}

/// The metadata services of EC2 (fd00:ec2::/32), Google (fd20:ce::/32), Oracle, Scaleway, Akamai and Alibaba.
fn is_metadata_v6(ip: Ipv6Addr) -> bool {
    matches!(
        ip.segments(),
        [0xfd00, 0x0ec2, ..]
            | [0xfd20, 0x00ce, ..]
            | [0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
            | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042]
            | [0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1]
            | [0xfd00, 0x0100, 0, 0, 0, 0, 0x0100, 0x0200]
    )
}

/// Finds the addresses of a name.
#[async_trait]
pub(crate) trait Lookup: fmt::Debug + Send + Sync {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, BoxError>;
}

/// As the operating system does.
#[derive(Debug)]
pub(crate) struct System;

#[async_trait]
impl Lookup for System {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, BoxError> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// Some address of a name is out of reach.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the name leads to an address that is not asked")]
pub(crate) struct OutOfReach;

/// Resolves names to addresses within reach.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) reach: Reach,
    pub(crate) lookup: Arc<dyn Lookup>,
}

impl Guard {
    /// All addresses of the name, if all are within reach: a name that leads to the inside as well is not
    /// one of an honest issuer.
    async fn addresses(reach: Reach, lookup: &dyn Lookup, host: &str) -> Result<Vec<SocketAddr>, BoxError> {
        let found = lookup.lookup(host).await?;
        if found.is_empty() || !found.iter().all(|ip| reach.admits(*ip)) {
            return Err(OutOfReach.into());
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, lookup) = (self.reach, self.lookup.clone());
        Box::pin(async move {
            let addresses = Self::addresses(reach, &*lookup, name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(reach: Reach, addresses: &[&str]) -> Vec<bool> {
        addresses.iter().map(|text| reach.admits(text.parse().unwrap())).collect()
    }

    #[test]
    fn the_internet_has_no_address_of_a_network_inside() {
        let outside =
            ["1.1.1.1", "142.250.1.1", "100.63.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"];
        assert!(admitted(Reach::Internet, &outside).iter().all(|admits| *admits));
        for inside in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:1.1.1.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert_eq!(admitted(Reach::Internet, &[inside]), [false], "{inside}");
        }
    }

    #[test]
    fn private_networks_are_not_the_machine_and_its_host() {
        let inside =
            ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "64:ff9b::a00:1"];
        assert!(admitted(Reach::PrivateNetworks, &inside).iter().all(|admits| *admits));
        for never in [
            "127.0.0.1",
            "::1",
            "::ffff:10.0.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "100.100.100.200",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "fe80::1",
            "0.0.0.0",
            "64:ff9b::7f00:1",
        ] {
            assert_eq!(admitted(Reach::PrivateNetworks, &[never]), [false], "{never}");
        }
        assert_eq!(
            admitted(Reach::ThisMachine, &["127.0.0.1", "::1", "10.0.0.1", "1.1.1.1"]),
            [true, true, false, false]
        );
    }

    /// Answers each time with the next addresses.
    #[derive(Debug)]
    struct Scripted(std::sync::Mutex<Vec<Vec<IpAddr>>>);

    #[async_trait]
    impl Lookup for Scripted {
        async fn lookup(&self, _: &str) -> Result<Vec<IpAddr>, BoxError> {
            Ok(self.0.lock().unwrap().remove(0))
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_out_of_reach_whatever_it_led_to_before() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let script = vec![
            vec![ip("1.1.1.1"), ip("2606:4700::1111")],
            vec![ip("1.1.1.1"), ip("127.0.0.1")],
            vec![ip("169.254.169.254")],
            vec![ip("::ffff:10.0.0.1")],
            vec![],
        ];
        let lookup = Scripted(std::sync::Mutex::new(script));
        let mut found = Vec::new();
        for _ in 0..5 {
            found.push(Guard::addresses(Reach::Internet, &lookup, "idp.example").await.is_ok());
        }
        assert_eq!(found, [true, false, false, false, false]);
    }
}
