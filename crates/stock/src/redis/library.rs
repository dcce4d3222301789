//! The function library: its text, its version, and how it gets onto the servers.

use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, Value};

use super::connection::Connection;
use super::failure::{Failure, refused};

/// The library as it is shipped.
pub(super) const SOURCE: &str = include_str!("seckill.lua");
/// Its name on the server.
const NAME: &str = "seckill";
/// How the library's text names its version.
const VERSION_LINE: &str = "local VERSION = ";

/// The version that a library's text names; 0 if none.
fn version_of(source: &str) -> u32 {
    let line = source.lines().find_map(|line| line.strip_prefix(VERSION_LINE));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// Puts this library on every primary that has none or an older one. A newer one is left alone: it
/// serves the callers of this one too, and loading disarms every sale of the server.
pub(super) async fn install(connection: &mut Connection) -> Result<(), Failure> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg(NAME).arg("WITHCODE");
    match connection {
        Connection::Single(_) => {
            let found = connection.ask(&list).await?;
            if let Some(load) = needed(&found) {
                tolerate_another_installer(connection.ask(&load).await)?;
            }
        }
        Connection::Cluster(cluster) => {
            let primaries = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
            let found = cluster.route_command(list, primaries).await?.extract_error()?;
            let Value::Map(nodes) = found else { return Err(refused("the cluster names no primaries")) };
            for (node, found) in nodes {
                let Some(load) = needed(&found) else { continue };
                let route = RoutingInfo::SingleNode(address(&node)?);
                let loaded = cluster.route_command(load, route).await.and_then(Value::extract_error);
                tolerate_another_installer(loaded.map_err(Failure::from))?;
            }
        }
    }
    Ok(())
}

/// The command that brings a server up to this version, given its `FUNCTION LIST`; none if it is.
fn needed(list: &Value) -> Option<Cmd> {
    let ours = version_of(SOURCE);
    let mut load = redis::cmd("FUNCTION");
    load.arg("LOAD");
    match code_in(list).map(|code| version_of(&code)) {
        Some(there) if there >= ours => return None,
        Some(there) => {
            tracing::info!(there, ours, "upgrading the function library: every sale will be rebuilt");
            load.arg("REPLACE");
        }
        None => tracing::info!(version = ours, "installing the function library"),
    }
    load.arg(SOURCE);
    Some(load)
}

/// Whoever was faster has installed the same library, or the next look finds that it has not.
fn tolerate_another_installer(loaded: Result<Value, Failure>) -> Result<(), Failure> {
    match loaded {
        Err(Failure::Refused(why)) if why.contains("already exists") => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The text after `library_code`, wherever the reply (RESP2 or RESP3) nests it.
fn code_in(value: &Value) -> Option<String> {
    const FIELD: &[u8] = b"library_code";
    let is_field = |v: &Value| match v {
        Value::BulkString(bytes) => bytes == FIELD,
        Value::SimpleString(text) => text.as_bytes() == FIELD,
        _ => false,
    };
    match value {
        Value::Array(items) => {
            if let Some(at) = items.iter().position(is_field) {
                return text(items.get(at + 1)?);
            }
            items.iter().find_map(code_in)
        }
        Value::Map(pairs) => {
            let here = pairs.iter().find(|(key, _)| is_field(key)).and_then(|(_, code)| text(code));
            here.or_else(|| pairs.iter().find_map(|(_, nested)| code_in(nested)))
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// A node's address, as the cluster connection names it.
fn address(node: &Value) -> Result<SingleNodeRoutingInfo, Failure> {
    let named = text(node);
    let parts = named.as_deref().and_then(|name| name.rsplit_once(':'));
    let parsed = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let (host, port) = parsed.ok_or_else(|| refused("the cluster names a node without an address"))?;
    Ok(SingleNodeRoutingInfo::ByAddress { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn list_of(code: &str) -> Value {
        let library = vec![bulk("library_name"), bulk(NAME), bulk("library_code"), bulk(code)];
        Value::Array(vec![Value::Array(library)])
    }

    #[test]
    fn the_shipped_library_has_a_version_and_no_clock_of_its_own() {
        assert!(version_of(SOURCE) > 0);
        assert_eq!(SOURCE.matches("redis.call('TIME')").count(), 1, "one place reads the time");
    }

    #[test]
    fn a_missing_or_older_library_is_loaded_and_a_newer_one_left_alone() {
        let words = |cmd: Cmd| String::from_utf8_lossy(&cmd.get_packed_command()).into_owned();
        let missing = words(needed(&Value::Array(vec![])).expect("a load"));
        assert!(!missing.contains("REPLACE"), "never over another installer's");
        let older = words(needed(&list_of("local VERSION = 0\n")).expect("a load"));
        assert!(older.contains("REPLACE"));
        assert!(needed(&list_of(SOURCE)).is_none());
        assert!(needed(&list_of("local VERSION = 999\n")).is_none());
    }
}
