//! Where the broker's nodes are: `amqp://user:password@host:port,host:port,…/vhost`, or the same with `amqps`.

use std::fmt;

use lapin::uri::AMQPUri;

use super::options::HEARTBEAT_S;

/// The ports of a host that names none: plain, and encrypted.
const PORT_DEFAULT: u16 = 5672;
const PORT_ENCRYPTED_DEFAULT: u16 = 5671;
/// Nodes of one cluster at most.
const NODES_MAX: usize = 32;

/// Why a URL names no broker. Never shows the URL: it holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is neither `amqp://…` nor `amqps://…`.
    #[error("expected amqp:// or amqps://user:password@host:port,…/vhost")]
    Scheme,
    /// It has something after the virtual host.
    #[error("nothing may follow the virtual host: the rest are settings")]
    Query,
    /// A host or port cannot be read.
    #[error("{0:?} is no host:port")]
    Host(String),
    /// There are none, or too many.
    #[error("expected 1 to {NODES_MAX} hosts")]
    Hosts,
    /// The user, password or virtual host is badly encoded.
    #[error("the user, the password or the virtual host is not percent-encoded text")]
    Encoding,
}

/// The nodes of one broker, to be tried in turn.
#[derive(Clone)]
pub struct Addresses(Vec<AMQPUri>);

impl Addresses {
    /// Reads a URL. Without a virtual host, or with an empty one, it is `/`; without a user, `guest`. With `amqps`
    /// the connections are encrypted, and a node's certificate must be one that this machine trusts.
    ///
    /// # Errors
    /// [`AddressError`] when it names no broker.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let port_default = match scheme {
            "amqp" => PORT_DEFAULT,
            "amqps" => PORT_ENCRYPTED_DEFAULT,
            _ => return Err(AddressError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let vhost = if vhost.is_empty() { "%2f" } else { vhost };
        let at = if user.is_empty() { String::new() } else { format!("{user}@") };
        let mut common: AMQPUri =
            format!("{scheme}://{at}host/{vhost}").parse().map_err(|_| AddressError::Encoding)?;
        common.query.heartbeat = Some(HEARTBEAT_S);
        let nodes = hosts.split(',').map(|node| {
            let (host, port) = host_and_port(node, port_default)?;
            let mut uri = common.clone();
            (uri.authority.host, uri.authority.port) = (host, port);
            Ok(uri)
        });
        let nodes: Vec<_> = nodes.collect::<Result<_, _>>()?;
        if nodes.len() > NODES_MAX {
            return Err(AddressError::Hosts);
        }
        Ok(Self(nodes))
    }

    /// The node of the n-th attempt.
    pub(super) fn nth(&self, attempt: usize) -> AMQPUri {
        self.0[attempt % self.0.len()].clone()
    }

    /// How many nodes there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(node)).finish()
    }
}

/// The node's name in logs.
pub(super) fn node(uri: &AMQPUri) -> String {
    format!("{}:{}", uri.authority.host, uri.authority.port)
}

fn host_and_port(node: &str, port_default: u16) -> Result<(String, u16), AddressError> {
    let bad = || AddressError::Host(node.to_owned());
    // An IPv6 address is in brackets, and has colons of its own.
    let (host, port) = match node.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, port))) => (host, port.strip_prefix(':')),
        Some(None) => return Err(bad()),
        None => node.split_once(':').map_or((node, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(port_default), |port| port.parse().map_err(|_| bad()))?;
    if host.is_empty() { Err(bad()) } else { Ok((host.to_owned(), port)) }
}

#[cfg(test)]
mod tests {
    use lapin::uri::AMQPScheme;

    use super::*;

    #[test]
    fn a_url_names_one_node_or_several() {
        let one = Addresses::parse("amqp://localhost").unwrap();
        assert_eq!(
            (one.count(), one.nth(0).vhost.as_str(), node(&one.nth(7)).as_str()),
            (1, "/", "localhost:5672")
        );
        let three = Addresses::parse("amqp://me:p%40ss@a:1,b,[::1]:3/shop%2Fone").unwrap();
        assert_eq!(format!("{three:?}"), r#"["a:1", "b:5672", "::1:3"]"#);
        let second = three.nth(4);
        assert_eq!((second.authority.host.as_str(), second.vhost.as_str()), ("b", "shop/one"));
        assert_eq!(second.authority.userinfo.password, "p@ss");
        assert_eq!(second.query.heartbeat, Some(HEARTBEAT_S));
        assert_eq!(second.scheme, AMQPScheme::AMQP);
        let encrypted = Addresses::parse("amqps://me@a:1,b/").unwrap();
        assert_eq!(format!("{encrypted:?}"), r#"["a:1", "b:5671"]"#);
        assert_eq!(encrypted.nth(1).scheme, AMQPScheme::AMQPS);
    }

    #[test]
    fn a_bad_url_is_told_without_its_password() {
        let told = |url: &str| Addresses::parse(url).unwrap_err();
        assert_eq!(told("redis://a"), AddressError::Scheme);
        assert_eq!(told("amqpss://a"), AddressError::Scheme);
        assert_eq!(told("amqp://me:secret@a:x/"), AddressError::Host("a:x".into()));
        assert_eq!(told("amqp://me:secret@a,,b/"), AddressError::Host(String::new()));
        assert_eq!(told("amqp://a/?heartbeat=1"), AddressError::Query);
    }
}
