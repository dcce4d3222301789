//! Whose word about a client's address is believed.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Networks at most.
const NETWORKS_MAX: usize = 256;
/// Hops of a chain that are looked at; nobody honest has more.
const HOPS_MAX: usize = 32;

/// Not a list of networks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address and no network (10.0.0.0/8, fd00::/8)")]
pub struct NetworkError(String);

/// A network; version 4 as the part of version 6 it is mapped to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    bits: u128,
    mask: u128,
}

/// The proxies whose `X-Forwarded-For` counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies(Vec<Network>);

impl FromStr for Proxies {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let networks: Vec<_> = parts.map(network).collect::<Result<_, _>>()?;
        if networks.len() > NETWORKS_MAX {
            return Err(NetworkError(format!("a list of more than {NETWORKS_MAX}")));
        }
        Ok(Self(networks))
    }
}

fn network(text: &str) -> Result<Network, NetworkError> {
    let error = || NetworkError(text.to_owned());
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().map_err(|_| error())?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => all,
        Some(length) => length.parse().ok().filter(|n: &u32| *n <= all).ok_or_else(error)?,
    };
    let mask = u128::MAX.checked_shl(all - length).unwrap_or(0);
    // The 96 bits in front of a version 4 address belong to its network whatever its length.
    let mask = if all == 32 { mask | !u128::from(u32::MAX) } else { mask };
    Ok(Network { bits: bits(address) & mask, mask })
}

fn bits(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(Ipv6Addr::from(ip.octets())),
    }
}

impl Proxies {
    /// Whether this is a trusted proxy's address.
    #[must_use]
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        !self.0.is_empty() && self.0.iter().any(|network| bits(address) & network.mask == network.bits)
    }

    /// Who a request is from: the rightmost hop of its chain that no trusted proxy is. A hop that is no
    /// address ends the chain: nothing left of it was written by anybody trusted.
    #[must_use]
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.trust(client) {
            return client;
        }
        let fields: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
        let hops = fields.iter().rev().flat_map(|field| field.to_str().unwrap_or("?").rsplit(','));
        for hop in hops.take(HOPS_MAX) {
            let Some(address) = address(hop.trim()) else { break };
            client = address;
            if !self.trust(client) {
                break;
            }
        }
        client
    }
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.parse::<IpAddr>().ok();
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, chain: &[&str]) -> String {
        let proxies: Proxies = trusted.parse().unwrap();
        let mut headers = HeaderMap::new();
        for field in chain {
            headers.append(X_FORWARDED_FOR, field.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn a_strangers_word_counts_for_nothing() {
        assert_eq!(client("", "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.0/8", "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
    }

    #[test]
    fn the_rightmost_untrusted_hop_is_the_client() {
        let trusted = "10.0.0.0/8, fd00::/8";
        assert_eq!(client(trusted, "10.1.1.1", &["6.6.6.6, 1.1.1.1"]), "1.1.1.1");
        assert_eq!(client(trusted, "10.1.1.1", &["6.6.6.6, 1.1.1.1, 10.2.2.2"]), "1.1.1.1");
        assert_eq!(client(trusted, "fd00::1", &["6.6.6.6", "1.1.1.1:443, 10.2.2.2"]), "1.1.1.1");
        assert_eq!(client(trusted, "::ffff:10.1.1.1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(client(trusted, "10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(client(trusted, "10.1.1.1", &["10.2.2.2"]), "10.2.2.2");
    }

    #[test]
    fn what_is_no_address_ends_the_chain() {
        for odd in ["unknown", "", "1.1.1.1.1", "_hidden"] {
            assert_eq!(client("10.0.0.0/8", "10.1.1.1", &[&format!("6.6.6.6, {odd}")]), "10.1.1.1");
        }
        let long = vec!["10.0.0.1"; 1000].join(",");
        assert_eq!(client("10.0.0.0/8", "10.1.1.1", &[&format!("6.6.6.6,{long}")]), "10.0.0.1");
    }

    #[test]
    fn networks_are_read_strictly() {
        for good in ["", "10.0.0.1", "0.0.0.0/0,::/0", "10.0.0.0/8", "::1/128"] {
            assert!(good.parse::<Proxies>().is_ok(), "{good}");
        }
        for bad in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
        let all: Proxies = "0.0.0.0/0".parse().unwrap();
        assert!(all.trust("8.8.8.8".parse().unwrap()) && !all.trust("2001:db8::1".parse().unwrap()));
    }
}
