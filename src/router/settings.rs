//! What a router was told by its `MeshRouter`: time limits, whom to believe, the cookie keys. Pure.
use std::{net::IpAddr, time::Duration};

use super::affinity::KeyRing;
use mesh_api::MeshRouterSpec;

/// The settings in use.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Peers whose X-Forwarded-* headers are believed.
    pub trusted: Vec<Cidr>,
    /// Time limits; none: no limit.
    pub limits: Limits,
    /// Connections from clients at the same time.
    pub max_connections: usize,
    /// Keys of the affinity cookie.
    pub keys: KeyRing,
}

/// Time limits; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to an instance.
    pub connect: Option<Duration>,
    /// For a client to send a head.
    pub header: Option<Duration>,
    /// From head to head.
    pub request: Option<Duration>,
    /// Of a connection without a request.
    pub idle: Option<Duration>,
    /// For a client that takes nothing of what it is sent.
    pub send: Option<Duration>,
    /// Of a silent tunnel.
    pub upgrade_idle: Option<Duration>,
}

impl Settings {
    /// From the spec, with the keys read from its Secret.
    pub fn new(spec: &MeshRouterSpec, keys: KeyRing) -> Self {
        let limit = |duration: mesh_api::duration::Duration| Some(duration.get()).filter(|d| !d.is_zero());
        let times = &spec.timeouts;
        Self {
            trusted: spec.trusted_proxies.iter().filter_map(|text| text.parse().ok()).collect(),
            limits: Limits {
                connect: limit(times.connect),
                header: limit(times.request_header),
                request: limit(times.request),
                idle: limit(times.idle),
                send: limit(times.send),
                upgrade_idle: limit(times.upgrade_idle),
            },
            max_connections: usize::try_from(spec.max_connections).unwrap_or(0),
            keys,
        }
    }

    /// Whether a peer's X-Forwarded-* headers are believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|cidr| cidr.contains(peer))
    }
}

impl Default for Settings {
    /// A `MeshRouter` in which nothing is written, and no keys.
    fn default() -> Self {
        let spec = MeshRouterSpec { max_connections: 10_000, ..MeshRouterSpec::default() };
        Self::new(&spec, KeyRing::new([]).0)
    }
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// Text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no CIDR: write for example 10.0.0.0/8")]
pub struct ParseCidr(String);

impl std::str::FromStr for Cidr {
    type Err = ParseCidr;

    fn from_str(text: &str) -> Result<Self, ParseCidr> {
        let parse = || {
            let (base, bits) = text.split_once('/')?;
            let (base, bits): (IpAddr, u8) = (base.parse().ok()?, bits.parse().ok()?);
            (bits <= if base.is_ipv4() { 32 } else { 128 }).then_some(Self { base, bits })
        };
        parse().ok_or_else(|| ParseCidr(text.to_owned()))
    }
}

impl Cidr {
    /// Whether it has the address; an IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(other)) => same_prefix(base.to_bits().into(), other.to_bits().into(), 32 - self.bits),
            (IpAddr::V6(base), IpAddr::V6(other)) => same_prefix(base.to_bits(), other.to_bits(), 128 - self.bits),
            _ => false,
        }
    }
}

fn same_prefix(a: u128, b: u128, ignored: u8) -> bool {
    (a ^ b).checked_shr(u32::from(ignored)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_what_they_say() {
        for (cidr, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("127.0.0.1/32", "127.0.0.1", true),
            ("127.0.0.1/32", "127.0.0.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::", true),
            ("2001:db8::/32", "2001:db9::", false),
        ] {
            assert_eq!(cidr.parse::<Cidr>().unwrap().contains(address.parse().unwrap()), inside, "{cidr} {address}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/129", "10.0.0.0/-1"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn zero_seconds_are_no_limit() {
        let mut spec = MeshRouterSpec::default();
        spec.timeouts.request = mesh_api::duration::Duration::from_secs(0);
        let settings = Settings::new(&spec, KeyRing::new([]).0);
        assert_eq!((settings.limits.request, settings.limits.connect), (None, Some(Duration::from_secs(2))));
    }
}
