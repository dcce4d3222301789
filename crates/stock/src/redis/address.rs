//! Where the store is: one server, the primary that sentinels name, or a cluster.

use std::time::Duration;

use redis::cluster::ClusterClient;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsMode,
};

use super::connection::Connection;
use super::failure::Failure;

/// Commands waiting to be written, per connection; more wait in their callers.
const PIPELINE_BUFFER: usize = 1_024;
/// After so many times the bound of a call nobody waits for a cluster's answer any more.
const STALLED: u32 = 10;
/// How often a call to a cluster is tried again. Once, and at once: the caller's bound is short, and the connection heals
/// by itself.
const CLUSTER_RETRIES: u32 = 1;
/// The wait before that, in milliseconds.
const RETRY_WAIT_MS_MIN: u64 = 10;
const RETRY_WAIT_MS_MAX: u64 = 50;
/// Port of a server, and of a sentinel, that names none.
const PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;
const UNKNOWN: &str = "it is none of redis://, redis+sentinel://, redis+cluster://, or these with rediss";

/// The plain protocol, and the one over TLS, as URLs name them.
const PLAIN: &str = "redis";
const ENCRYPTED: &str = "rediss";

/// A parsed `redis…` URL. With `rediss` for `redis` every connection is encrypted, and the server's certificate
/// must be one that this machine trusts.
pub(super) enum Address {
    /// `redis://[user:password@]host[:port][/db]`
    Single(Client),
    /// `redis+sentinel://[user:password@]host[:port],…/primary's name[/db]`; the credentials are the
    /// servers', sentinels are asked without.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        primary: String,
        server: RedisConnectionInfo,
        encryption: Option<TlsMode>,
    },
    /// `redis+cluster://[user:password@]host[:port],…`
    Cluster(Box<ClusterClient>),
}

impl Address {
    /// Parses a URL; what is wrong with it otherwise, without showing any of it.
    pub(super) fn parse(url: &str, answer_max: Duration) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it lacks ://")?;
        let (protocol, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        match protocol {
            PLAIN => {}
            ENCRYPTED => install_crypto_provider(),
            _ => return Err(UNKNOWN),
        }
        match kind {
            // After # the client would take the word to check no certificate.
            "" if url.contains('#') => Err("nothing may follow a #: certificates are always checked"),
            "" => Client::open(url).map(Self::Single).map_err(|_| "it does not parse"),
            "sentinel" => parse_sentinel(protocol, rest),
            "cluster" => {
                let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
                if !path.is_empty() {
                    return Err("a cluster has no databases");
                }
                let (credentials, hosts) = hosts.rsplit_once('@').unwrap_or(("", hosts));
                let nodes = servers(protocol, credentials, hosts, PORT, "")?;
                let builder = ClusterClient::builder(nodes)
                    .retries(CLUSTER_RETRIES)
                    .min_retry_wait(RETRY_WAIT_MS_MIN)
                    .max_retry_wait(RETRY_WAIT_MS_MAX)
                    // While a node that is away is dialled, the calls of the others wait.
                    .connection_timeout(answer_max / 2)
                    // A host that is gone breaks no connection by itself.
                    .tcp_settings(TcpSettings::default().set_user_timeout(answer_max * STALLED))
                    // Each call has its own bound; this one only ends what nobody waits for any more.
                    .response_timeout(answer_max * STALLED);
                builder
                    .build()
                    .map(|client| Self::Cluster(Box::new(client)))
                    .map_err(|_| "the cluster's nodes do not parse")
            }
            _ => Err(UNKNOWN),
        }
    }

    /// Connects afresh.
    pub(super) async fn dial(&self, answer_max: Duration) -> Result<Connection, Failure> {
        let config = AsyncConnectionConfig::new()
            .set_pipeline_buffer_size(PIPELINE_BUFFER)
            .set_connection_timeout(Some(answer_max))
            // Each call has its own bound.
            .set_response_timeout(None);
        Ok(match self {
            Self::Single(client) => {
                Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Sentinel { sentinels, primary, server, encryption } => {
                let mut node =
                    SentinelNodeConnectionInfo::default().set_redis_connection_info(server.clone());
                if let Some(mode) = encryption {
                    node = node.set_tls_mode(*mode);
                }
                // A new client each time: what it remembers of dead sentinels would only slow it down.
                let mut client = SentinelClient::build(
                    sentinels.clone(),
                    primary.clone(),
                    Some(node),
                    SentinelServerType::Master,
                )?;
                Connection::Single(client.get_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

/// The client asks the process for its cryptography, and panics where it finds a choice of several: whatever
/// else is linked in, this one is there. A program that has chosen before keeps its choice.
fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn parse_sentinel(protocol: &str, rest: &str) -> Result<Address, &'static str> {
    let (hosts, path) = rest.split_once('/').ok_or("it lacks /NAME of the primary")?;
    let (primary, db) = path.split_once('/').unwrap_or((path, ""));
    if primary.is_empty() {
        return Err("it lacks /NAME of the primary");
    }
    let (credentials, hosts) = hosts.rsplit_once('@').unwrap_or(("", hosts));
    let sentinels = servers(protocol, "", hosts, SENTINEL_PORT, "")?;
    // The host is not looked at: only credentials and database are taken from it.
    let server = servers(protocol, credentials, "server", PORT, db)?.remove(0).redis_settings().clone();
    let encryption = (protocol == ENCRYPTED).then_some(TlsMode::Secure);
    Ok(Address::Sentinel { sentinels, primary: primary.to_owned(), server, encryption })
}

/// Each of `hosts` as an address of its own.
fn servers(
    protocol: &str,
    credentials: &str,
    hosts: &str,
    port: u16,
    db: &str,
) -> Result<Vec<ConnectionInfo>, &'static str> {
    let at = if credentials.is_empty() { "" } else { "@" };
    let parse = |host: &str| {
        // After an IPv6 address's closing bracket, or anywhere else, a colon starts the port.
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let host = if has_port { host.to_owned() } else { format!("{host}:{port}") };
        let url = format!("{protocol}://{credentials}{at}{host}/{db}");
        url.into_connection_info().map_err(|_| "a host, the credentials or the database do not parse")
    };
    hosts.split(',').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(100);

    #[test]
    fn sentinels_share_the_name_and_the_servers_have_the_credentials() {
        let url = "redis+sentinel://shop:p%40ss@s1,s2:26380,[::1]/main/2";
        let Ok(Address::Sentinel { sentinels, primary, server, encryption }) = Address::parse(url, BOUND)
        else {
            panic!("must parse")
        };
        let named: Vec<_> = sentinels.iter().map(|s| s.addr().to_string()).collect();
        assert_eq!(named, ["s1:26379", "s2:26380", "::1:26379"]);
        assert_eq!((primary.as_str(), server.db()), ("main", 2));
        assert_eq!((server.username(), server.password()), (Some("shop"), Some("p@ss")));
        assert_eq!(sentinels[0].redis_settings().password(), None);
        assert!(encryption.is_none() && sentinels.iter().all(|s| !is_encrypted(s)));
    }

    fn is_encrypted(server: &ConnectionInfo) -> bool {
        matches!(server.addr(), redis::ConnectionAddr::TcpTls { insecure: false, .. })
    }

    #[test]
    fn an_s_encrypts_every_connection() {
        let Ok(Address::Single(client)) = Address::parse("rediss://u:p@host", BOUND) else {
            panic!("must parse")
        };
        assert!(is_encrypted(client.get_connection_info()));
        let url = "rediss+sentinel://s1,s2/main";
        let Ok(Address::Sentinel { sentinels, encryption, .. }) = Address::parse(url, BOUND) else {
            panic!("must parse")
        };
        assert!(matches!(encryption, Some(TlsMode::Secure)) && sentinels.iter().all(is_encrypted));
        assert!(matches!(Address::parse("rediss+cluster://u:p@a:1,b:2", BOUND), Ok(Address::Cluster(_))));
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_the_url() {
        for bad in [
            "redis:secret",
            "redisss://secret@host",
            "rediss+ring://secret@host",
            "rediss://:secret@host/#insecure",
            "rediss://:secret@ho st",
            "redis+sentinel://secret@host",
            "redis+sentinel://secret@host/",
            "redis+cluster://a:secret@host/1",
            "redis+cluster://a:secret@ho st",
            "redis://:secret@",
        ] {
            let why = Address::parse(bad, BOUND).err().unwrap_or_else(|| panic!("{bad} must not parse"));
            assert!(!why.contains("secret"), "{why}");
        }
        assert!(matches!(Address::parse("redis+cluster://u:p@a:1,b:2", BOUND), Ok(Address::Cluster(_))));
    }
}
