//! One connection: to a server, or to a cluster.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo};
use redis::{Arg, Cmd, Value};

use super::failure::Failure;

/// A connection that many callers share: their commands are pipelined as they come.
#[derive(Clone)]
pub(super) enum Connection {
    /// To the one server, or the primary that the sentinels named.
    Single(MultiplexedConnection),
    /// To a cluster: it follows the slots, and reconnects, by itself.
    Cluster(ClusterConnection),
}

impl Connection {
    /// Sends one command and awaits its answer.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let answer = match self {
            Self::Single(connection) => connection.send_packed_command(command).await,
            Self::Cluster(connection) if is_ping(command) => {
                connection.route_command(command.clone(), anybody()).await
            }
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        Ok(answer?.extract_error()?)
    }
}

/// The client would ask every node, and fail if one of them is away. But that one concerns only its own sales.
fn anybody() -> RoutingInfo {
    RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::OneSucceeded)))
}

fn is_ping(command: &Cmd) -> bool {
    matches!(command.args_iter().next(), Some(Arg::Simple(b"PING")))
}
