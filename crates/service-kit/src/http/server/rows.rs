//! A front row and a back row: connections that are refused again and again are served in the back, on threads
//! of their own that give way.
//!
//! A storm on one sale keeps every processor busy with refusals. In one row, whoever else comes would wait for the
//! refusals of all connections that are ready before theirs. The front's threads mostly wait, so the scheduler lets them
//! run as soon as they can; the back row has what the front leaves, and that is most of it.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use metrics::{Gauge, gauge};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::OwnedSemaphorePermit;

#[cfg(target_os = "linux")]
use super::batch;
use super::places::Place;
use super::watch::Activity;

/// The name of the back row's threads.
const THREAD_NAME: &str = "back-row";
/// How far they give way: so nice that those in front hardly feel them, and with a time slice longer than anybody else's,
/// so that whoever wakes up need not wait for its end. Measured in docs/performance.md.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;
#[cfg(target_os = "linux")]
const SLICE: Duration = Duration::from_millis(20);

/// Both rows of a listener.
pub(super) struct Rows {
    seats: Seats,
    back: Option<Runtime>,
}

/// Where connections are served.
#[derive(Clone)]
struct Seats {
    front: Handle,
    back: Option<(Handle, Gauge)>,
}

/// A connection, and what it holds as long as it lives.
pub(super) struct Guest<C> {
    pub(super) connection: Pin<Box<C>>,
    pub(super) activity: Arc<Activity>,
    /// How long it may do nothing.
    pub(super) patience: Duration,
    pub(super) _held: (OwnedSemaphorePermit, Place),
}

impl Rows {
    /// The front row on this runtime, and a back row if it is wanted and can be had.
    pub(super) fn open(with_back: bool) -> Self {
        let back = if with_back { back_row() } else { None };
        let counted = |row: &Runtime| (row.handle().clone(), gauge!("http_connections_in_back_row"));
        Self { seats: Seats { front: Handle::current(), back: back.as_ref().map(counted) }, back }
    }

    /// Serves a new connection until it ends.
    pub(super) fn seat<C: Future + Send + 'static>(&self, guest: Guest<C>) {
        self.seats.clone().take(guest, false);
    }

    /// Cuts whoever is still in the back row.
    pub(super) fn close(self) {
        if let Some(runtime) = self.back {
            // Waiting is not allowed here, and those who had a right to it have been waited for.
            runtime.shutdown_background();
        }
    }
}

impl Seats {
    fn take<C: Future + Send + 'static>(self, mut guest: Guest<C>, in_back: bool) {
        let (row, _counted) = match self.back.as_ref().filter(|_| in_back) {
            Some((row, gauge)) => (row.clone(), Some(Counted::new(gauge))),
            None => (self.front.clone(), None),
        };
        row.spawn(async move {
            let _counted = _counted;
            guest.activity.sit(in_back);
            if guest.serve_until_it_moves(in_back, self.back.is_some()).await {
                self.take(guest, !in_back);
            }
        });
    }
}

/// One more in the back row, until dropped.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl<C: Future> Guest<C> {
    /// Serves the connection in this row. True: it has to go on in the other. False: it has ended.
    async fn serve_until_it_moves(&mut self, in_back: bool, may_move: bool) -> bool {
        let Self { connection, activity, patience, .. } = self;
        let served = poll_fn(|cx| match connection.as_mut().poll(cx) {
            // A broken connection is the client's affair; nothing here can act on it.
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending if may_move && activity.should_move(in_back) => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        });
        tokio::select! {
            biased;
            moves = served => moves,
            () = activity.until_idle(*patience) => {
                metrics::counter!("http_connections_cut_total").increment(1);
                false
            }
        }
    }
}

/// As many threads as there are processors, all of which give way.
fn back_row() -> Option<Runtime> {
    let mut builder = Builder::new_multi_thread();
    match builder.thread_name(THREAD_NAME).on_thread_start(give_way).enable_all().build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            tracing::warn!(%error, "no threads for a back row: everybody is served in the front");
            None
        }
    }
}

#[cfg(target_os = "linux")]
fn give_way() {
    if let Err(error) = batch::work_in_batches(NICE, SLICE) {
        tracing::warn!(%error, "a thread of the back row does not give way");
    }
}

/// Elsewhere it would be the whole process that gives way.
#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::Body;
    use axum::response::Response;
    use hyper::body::Incoming;
    use parking_lot::{Condvar, Mutex};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::super::{Handler, ServerLimits, serve};
    use super::*;

    /// Answers with the status that the path names; says in which row, and how many are stuck.
    #[derive(Clone)]
    struct Door(Arc<Behind>);

    struct Behind {
        stuck: AtomicUsize,
        is_open: Mutex<bool>,
        opens: Condvar,
        patience: Duration,
    }

    impl Door {
        fn new(patience: Duration) -> Self {
            let (stuck, is_open, opens) = (AtomicUsize::default(), Mutex::default(), Condvar::default());
            Self(Arc::new(Behind { stuck, is_open, opens, patience }))
        }

        /// Keeps a thread until the door is opened, or patience ends.
        fn block(&self) {
            let Behind { stuck, is_open, opens, patience } = &*self.0;
            stuck.fetch_add(1, Ordering::SeqCst);
            opens.wait_while_for(&mut is_open.lock(), |is_open| !*is_open, *patience);
            stuck.fetch_sub(1, Ordering::SeqCst);
        }

        fn stuck(&self) -> usize {
            self.0.stuck.load(Ordering::SeqCst)
        }

        fn open(&self) {
            *self.0.is_open.lock() = true;
            self.0.opens.notify_all();
        }
    }

    impl Handler for Door {
        async fn handle(self, _: SocketAddr, request: hyper::Request<Incoming>) -> Response {
            let path = request.uri().path().trim_start_matches('/');
            if path == "stuck" {
                self.block();
            }
            let thread = std::thread::current();
            let row = if thread.name() == Some(THREAD_NAME) { "back" } else { "front" };
            let said = format!("{row} {}", self.stuck());
            let mut response = Response::new(Body::from(said));
            *response.status_mut() = path.parse().unwrap_or_default();
            response
        }
    }

    /// A connection that asks one thing after another.
    struct Client(TcpStream);

    impl Client {
        /// The body of the answer.
        async fn ask(&mut self, path: &str) -> String {
            let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n");
            self.0.write_all(request.as_bytes()).await.unwrap();
            let mut said = Vec::new();
            loop {
                let mut piece = [0; 1024];
                let length = self.0.read(&mut piece).await.unwrap();
                assert!(length > 0, "the connection was cut");
                said.extend_from_slice(&piece[..length]);
                let text = String::from_utf8_lossy(&said);
                if let Some((_, body)) = text.split_once("\r\n\r\n").filter(|(_, body)| !body.is_empty()) {
                    return body.to_owned();
                }
            }
        }

        /// Asks until the answer comes from this row; after how many.
        async fn sits(&mut self, row: &str, path: &str) -> usize {
            for asked in 1..=100 {
                if self.ask(path).await.starts_with(row) {
                    return asked;
                }
            }
            panic!("never in the {row} row");
        }
    }

    struct Served {
        address: SocketAddr,
        door: Door,
        stopping: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    impl Served {
        async fn on(front: &Handle, back_row: bool, patience: Duration) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap().into_std().unwrap();
            let address = listener.local_addr().unwrap();
            let (door, stopping) = (Door::new(patience), CancellationToken::new());
            let limits = ServerLimits { back_row, ..ServerLimits::default() };
            let (answers, stopped) = (door.clone(), stopping.clone());
            let task = front.spawn(async move {
                serve(TcpListener::from_std(listener).unwrap(), answers, limits, stopped).await;
            });
            Self { address, door, stopping, task }
        }

        async fn with_back_row() -> Self {
            Self::on(&Handle::current(), true, Duration::ZERO).await
        }

        async fn client(&self) -> Client {
            Client(TcpStream::connect(self.address).await.unwrap())
        }

        async fn stop(self) {
            self.stopping.cancel();
            self.task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_is_refused_again_and_again_sits_in_the_back_until_better_answers_come() {
        let served = Served::with_back_row().await;
        let mut client = served.client().await;
        assert_eq!(client.sits("back", "409").await, 17, "sixteen refusals");
        assert_eq!(client.ask("200").await, "back 0", "one good answer does not outweigh them");
        assert_eq!(client.ask("429").await, "back 0");
        assert!(client.sits("front", "200").await <= 5, "a few do");
        let mut mixed = served.client().await;
        for _ in 0..20 {
            assert_eq!(mixed.ask("404").await, "front 0");
            assert_eq!(mixed.ask("200").await, "front 0");
        }
        served.stop().await;
    }

    #[tokio::test]
    async fn a_connection_ends_in_the_back_row_as_in_the_front() {
        let served = Served::with_back_row().await;
        let mut client = served.client().await;
        client.sits("back", "409").await;
        served.stop().await;
        assert_eq!(client.0.read(&mut [0; 16]).await.unwrap(), 0, "idle ones are closed at once");
    }

    /// Keeps a thread of the storm's row for `patience`; how many were kept when an honest client got its answer. The
    /// front row has a single thread.
    async fn stuck_beside_an_honest_client(back_row: bool, patience: Duration) -> String {
        let front = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let served = Served::on(front.handle(), back_row, patience).await;
        let mut stormy = served.client().await;
        for _ in 0..20 {
            stormy.ask("409").await;
        }
        let storm = tokio::spawn(async move { stormy.ask("stuck").await });
        while served.door.stuck() == 0 {
            assert!(!storm.is_finished(), "nothing was kept");
            tokio::task::yield_now().await;
        }
        let said = served.client().await.ask("200").await;
        served.door.open();
        storm.await.unwrap();
        served.stop().await;
        front.shutdown_background();
        said
    }

    #[tokio::test]
    async fn a_storm_that_keeps_its_row_busy_keeps_nobody_else_waiting() {
        assert_eq!(stuck_beside_an_honest_client(true, Duration::from_secs(10)).await, "front 1");
        // In one row with the storm it is answered when the storm is done.
        assert_eq!(stuck_beside_an_honest_client(false, Duration::from_millis(500)).await, "front 0");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_back_row_gives_way_and_the_front_does_not() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let (before, back) = (nice(), back_row().unwrap());
        assert_eq!(
            back.block_on(async { tokio::spawn(async move { nice() }).await.unwrap() }),
            NICE.max(before)
        );
        assert_eq!(nice(), before);
    }
}
