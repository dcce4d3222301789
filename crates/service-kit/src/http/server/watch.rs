//! What a connection does, so that one that does nothing can be cut.
//!
//! hyper's own timeout covers the header of an HTTP/1 request. It covers neither a connection that never
//! says which version it speaks, nor HTTP/2, nor a client that does not read its answers.
//!
//! hyper asks a body for its next frame only when the client has room for the one before. So a stream whose frame hyper
//! still holds waits for the client, and one that was asked and has nothing to say is at work.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::speech::Speech;

/// Requests a connection may give up before their answer, if it gives up most of what it asks.
const ABANDONED_MAX: u32 = 100;
/// Longest answer that is written in one piece.
const SHORT_LEN_MAX: usize = 1024;
/// Refusals that send a connection to the back row, and how many of them any other answer outweighs.
const REFUSED_MAX: u32 = 16;
const ANSWER_WEIGHT: u32 = 4;
/// Looks at a connection within the time it may do nothing.
const LOOKS: u32 = 4;

/// What a connection is seen to do.
#[derive(Default)]
pub(super) struct Activity {
    /// Requests without their whole answer yet.
    at_work: AtomicU32,
    /// Of these, the streams whose last frame is still to be passed on.
    handed_over: AtomicU32,
    /// Rises with every request, and whenever something of an answer was written.
    moved: AtomicU32,
    /// The last write waits for the client to read.
    blocked: AtomicBool,
    answered: AtomicU32,
    abandoned: AtomicU32,
    /// Rises with refusals, falls faster with everything else.
    refused: AtomicU32,
    /// Nothing is left to read, and the next word is the client's.
    listening: AtomicBool,
    /// The row it belongs in, and the one it is in.
    belongs_in_back: AtomicBool,
    is_in_back: AtomicBool,
}

impl Activity {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Work {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        self.moved.fetch_add(1, Ordering::Relaxed);
        Work { activity: self.clone(), is_answered: false, is_handed_over: false }
    }

    /// Whether most of what the client asks is taken back before it is answered: a flood, as in HTTP/2
    /// rapid reset.
    fn is_flood(&self) -> bool {
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        abandoned > ABANDONED_MAX && abandoned > self.answered.load(Ordering::Relaxed)
    }

    /// Counts an answer towards where the connection belongs.
    fn sort(&self, status: StatusCode) {
        let refused = self.refused.load(Ordering::Relaxed);
        if status.is_client_error() || status.is_server_error() {
            self.refused.store((refused + 1).min(REFUSED_MAX), Ordering::Relaxed);
            if refused + 1 == REFUSED_MAX {
                self.belongs_in_back.store(true, Ordering::Relaxed);
            }
        } else if refused > 0 {
            self.refused.store(refused.saturating_sub(ANSWER_WEIGHT), Ordering::Relaxed);
            if refused <= ANSWER_WEIGHT {
                self.belongs_in_back.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Whether the connection should go on in another row than this one, and can: a stream that is new to a runtime
    /// has nothing to read until that has looked, so whoever still had to read something would take it for lost.
    pub(super) fn should_move(&self, in_back: bool) -> bool {
        self.belongs_in_back.load(Ordering::Relaxed) != in_back
            && self.listening.load(Ordering::Relaxed)
            && self.at_work.load(Ordering::Relaxed) == 0
    }

    /// The connection is served in this row from now on.
    pub(super) fn sit(&self, in_back: bool) {
        self.is_in_back.store(in_back, Ordering::Relaxed);
    }

    /// Ends when the connection should be cut: nothing was at work or could be passed on for `patience`,
    /// or it is flooding.
    pub(super) async fn until_idle(&self, patience: Duration) {
        let (mut seen, mut idle) = (self.moved.load(Ordering::Relaxed), 0);
        loop {
            tokio::time::sleep(patience / LOOKS).await;
            let moved = self.moved.load(Ordering::Relaxed);
            let at_work = self.at_work.load(Ordering::Relaxed);
            let is_waiting =
                at_work <= self.handed_over.load(Ordering::Relaxed) || self.blocked.load(Ordering::Relaxed);
            idle = if moved == seen && is_waiting { idle + 1 } else { 0 };
            seen = moved;
            if idle >= LOOKS || self.is_flood() {
                return;
            }
        }
    }
}

/// A request under way; ended when dropped.
pub(super) struct Work {
    activity: Arc<Activity>,
    is_answered: bool,
    is_handed_over: bool,
}

impl Work {
    /// Its answer is there. One that streams stays at work until the stream ends.
    pub(super) fn answer(mut self, response: Response) -> Response {
        self.is_answered = true;
        self.activity.answered.fetch_add(1, Ordering::Relaxed);
        self.activity.sort(response.status());
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Streaming { body, work: self }))
    }

    fn hand_over(&mut self, is_handed_over: bool) {
        if is_handed_over == self.is_handed_over {
            return;
        }
        self.is_handed_over = is_handed_over;
        if is_handed_over {
            self.activity.handed_over.fetch_add(1, Ordering::Relaxed);
        } else {
            self.activity.handed_over.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.hand_over(false);
        self.activity.at_work.fetch_sub(1, Ordering::Relaxed);
        if !self.is_answered {
            self.activity.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A body without a known end, and the work it is part of.
struct Streaming {
    body: Body,
    work: Work,
}

impl HttpBody for Streaming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.work.hand_over(matches!(frame, Poll::Ready(Some(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose writes are seen, and that is heard in the row where it is served.
pub(super) struct Watched {
    io: TcpStream,
    /// The row whose runtime wakes it.
    is_in_back: bool,
    speech: Speech,
    activity: Arc<Activity>,
}

impl Watched {
    /// A new connection, on the threads that accepted it.
    pub(super) fn new(io: TcpStream, activity: Arc<Activity>) -> Self {
        Self { io, is_in_back: false, speech: Speech::default(), activity }
    }

    /// What became of writing these parts.
    fn saw(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.activity.blocked.store(outcome.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(length)) = &outcome
            && self.speech.is_answer(parts, *length)
        {
            self.activity.moved.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// The stream, made known to the runtime that serves it: the other one would have to wake this one for whatever
    /// comes.
    fn io(&mut self) -> Pin<&mut TcpStream> {
        let is_in_back = self.activity.is_in_back.load(Ordering::Relaxed);
        if is_in_back != self.is_in_back {
            self.is_in_back = is_in_back;
            let again = self.io.as_fd().try_clone_to_owned().and_then(|io| TcpStream::from_std(io.into()));
            // Without a file descriptor to spare it goes on as it is.
            if let Ok(io) = again {
                self.io = io;
            }
        }
        Pin::new(&mut self.io)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = self.io().poll_read(cx, buffer);
        self.activity.listening.store(outcome.is_pending(), Ordering::Relaxed);
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = self.io().poll_write(cx, bytes);
        self.saw(outcome, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // Head and body of a short answer in one piece: the kernel takes one buffer sooner than two.
        let length = bytes.iter().map(|part| part.len()).sum::<usize>();
        let mut short = [0; SHORT_LEN_MAX];
        if let Some(room) = short.get_mut(..length) {
            let mut rest = &mut *room;
            for part in bytes {
                let (here, after) = rest.split_at_mut(part.len());
                here.copy_from_slice(part);
                rest = after;
            }
            return self.poll_write(cx, room);
        }
        let outcome = self.io().poll_write_vectored(cx, bytes);
        self.saw(outcome, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(4);

    async fn is_cut(activity: &Activity) -> bool {
        tokio::time::timeout(PATIENCE * 3, activity.until_idle(PATIENCE)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_at_work_while_its_next_frame_is_waited_for() {
        let activity = Arc::<Activity>::default();
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
        let answer = Response::new(Body::from_stream(first.chain(stream::pending())));
        let mut body = activity.begin().answer(answer).into_body();
        assert!(!is_cut(&activity).await, "nothing was asked of it yet");
        body.frame().await.unwrap().unwrap();
        assert!(is_cut(&activity).await, "the first frame is not passed on");
        assert!(body.frame().now_or_never().is_none());
        assert!(!is_cut(&activity).await, "it is passed on, and the stream is silent");
        drop(body);
        assert!(is_cut(&activity).await);
        assert_eq!(activity.handed_over.load(Ordering::Relaxed), 0);
    }
}
