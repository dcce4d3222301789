//! One connection: to a server, or to a cluster.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, Value};

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
    /// Whether it reconnects by itself. A cluster's does: one dead node breaks the calls of its own sales, and to
    /// dial anew for each of them would break everybody's.
    pub(super) fn mends_itself(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends one command and awaits its answer.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, Failure> {
        let answer = match self {
            Self::Single(connection) => connection.send_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        Ok(answer?.extract_error()?)
    }
}
