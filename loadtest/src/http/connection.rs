//! One keep-alive connection: bytes out, an answer in.

use std::future::poll_fn;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::target::Target;
use super::wire::{self, BODY_BYTES_MAX, Framing, Head, WireError};

/// Longest wait for a connection or for an answer.
const ANSWER_WAIT_MS_MAX: u64 = 10_000;
/// Room for an answer of the purchase path, so that one read usually suffices.
const BUFFER_BYTES: usize = 4096;

/// Why no answer came. Whether the request had its effect is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The connection failed or was closed.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// Closed in the middle of an answer, or before it.
    #[error("closed before the answer was complete")]
    Closed,
    /// Nothing within the bound.
    #[error("no answer in time")]
    Timeout,
    /// Not HTTP.
    #[error("{0}")]
    Wire(#[from] WireError),
}

/// What the head of an answer says; its body stays in the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// `Retry-After`, in seconds.
    pub(crate) retry_after_s: Option<u32>,
}

/// A connection that is made on first use and again after a failure.
#[derive(Debug)]
pub(crate) struct Connection {
    target: Target,
    stream: Option<TcpStream>,
    buf: Vec<u8>,
    body: Range<usize>,
    /// Set once per bound, not once per request: a timer costs as much as parsing an answer.
    alarm: Option<Pin<Box<Sleep>>>,
    wait: Duration,
}

impl Connection {
    /// A connection to this listener, not yet made.
    pub(crate) fn new(target: Target) -> Self {
        Self::waiting(target, Duration::from_millis(ANSWER_WAIT_MS_MAX))
    }

    /// The same, for answers that may take so long.
    pub(crate) fn waiting(target: Target, wait: Duration) -> Self {
        Self { target, stream: None, buf: Vec::with_capacity(BUFFER_BYTES), body: 0..0, alarm: None, wait }
    }

    /// Where it goes.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        self.buf.get(self.body.clone()).unwrap_or_default()
    }

    /// Sends a whole request and reads its whole answer.
    ///
    /// # Errors
    /// When no complete answer came; the next call connects anew.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer, Broken> {
        let due = Instant::now() + self.wait;
        let mut alarm = self.alarm.take().unwrap_or_else(|| Box::pin(sleep_until(due)));
        // Taken out, so that a failure (and a caller who stops waiting) leaves none behind.
        let stream = self.stream.take();
        let ran = {
            let mut run = pin!(self.run(stream, request));
            poll_fn(|cx| {
                if let Poll::Ready(ran) = run.as_mut().poll(cx) {
                    return Poll::Ready(ran);
                }
                // It rings for an earlier request: then it is set for this one.
                while alarm.as_mut().poll(cx).is_ready() {
                    if Instant::now() >= due {
                        return Poll::Ready(Err(Broken::Timeout));
                    }
                    alarm.as_mut().reset(due);
                }
                Poll::Pending
            })
            .await
        };
        self.alarm = Some(alarm);
        let (answer, keep) = ran?;
        self.stream = keep;
        Ok(answer)
    }

    async fn run(
        &mut self,
        stream: Option<TcpStream>,
        request: &[u8],
    ) -> Result<(Answer, Option<TcpStream>), Broken> {
        let mut stream = match stream {
            Some(stream) => stream,
            None => connect(&self.target).await?,
        };
        stream.write_all(request).await?;
        self.buf.clear();
        let head = self.read_head(&mut stream).await?;
        self.read_body(&mut stream, &head).await?;
        let answer = Answer { status: head.status, retry_after_s: head.retry_after_s };
        Ok((answer, (!head.close).then_some(stream)))
    }

    async fn read_head(&mut self, stream: &mut TcpStream) -> Result<Head, Broken> {
        loop {
            match wire::head(&self.buf)? {
                Some(head) if head.status >= 200 => return Ok(head),
                // An interim answer (1xx): the real one follows.
                Some(head) => drop(self.buf.drain(..head.len)),
                None => self.more(stream).await?,
            }
        }
    }

    async fn read_body(&mut self, stream: &mut TcpStream, head: &Head) -> Result<(), Broken> {
        match head.framing {
            Framing::Length(length) => {
                while self.buf.len() < head.len + length {
                    self.more(stream).await?;
                }
                self.body = head.len..head.len + length;
            }
            Framing::Chunked => {
                let body = loop {
                    if let Some(body) = wire::chunked(&self.buf[head.len..])? {
                        break body;
                    }
                    self.more(stream).await?;
                };
                self.buf = body;
                self.body = 0..self.buf.len();
            }
            Framing::UntilClose => {
                while stream.read_buf(&mut self.buf).await? > 0 {
                    if self.buf.len() > head.len + BODY_BYTES_MAX {
                        return Err(WireError::TooLarge.into());
                    }
                }
                self.body = head.len..self.buf.len();
            }
        }
        Ok(())
    }

    async fn more(&mut self, stream: &mut TcpStream) -> Result<(), Broken> {
        if stream.read_buf(&mut self.buf).await? == 0 { Err(Broken::Closed) } else { Ok(()) }
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Broken> {
    let stream = TcpStream::connect(&target.authority).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every connection's first request with these writes, one at a time, then closes.
    async fn scripted(writes: &'static [&'static [u8]]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 64];
                let _ = stream.read(&mut request).await;
                for write in writes {
                    let _ = stream.write_all(write).await;
                    tokio::task::yield_now().await;
                }
            }
        });
        Connection::new(format!("http://{authority}").parse().unwrap())
    }

    #[tokio::test]
    async fn an_answer_in_pieces_comes_together() {
        let mut connection =
            scripted(&[b"HTTP/1.1 429 X\r\nretr", b"y-after: 3\r\ncontent-le", b"ngth: 4\r\n\r\nab", b"cd"])
                .await;
        let answer = connection.exchange(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(answer, Answer { status: 429, retry_after_s: Some(3) });
        assert_eq!(connection.body(), b"abcd");
    }

    #[tokio::test]
    async fn chunks_and_closed_bodies_are_read() {
        let chunks: &[&[u8]] = &[
            b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n2\r\n",
            b"ab\r\n1\r\nc\r\n",
            b"0\r\n\r\n",
        ];
        let mut connection = scripted(chunks).await;
        connection.exchange(b"x").await.unwrap();
        assert_eq!(connection.body(), b"abc");
        let mut connection = scripted(&[b"HTTP/1.0 200 X\r\n\r\nto the", b" end"]).await;
        connection.exchange(b"x").await.unwrap();
        assert_eq!(connection.body(), b"to the end");
    }

    #[tokio::test]
    async fn silence_ends_at_the_bound_and_an_old_alarm_does_not_cut_the_next_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let mut connection = Connection::new(format!("http://{authority}").parse().unwrap());
        let wait = Duration::from_millis(60);
        connection.wait = wait;
        for _ in 0..2 {
            let begun = Instant::now();
            assert!(matches!(connection.exchange(b"x").await, Err(Broken::Timeout)));
            assert!(begun.elapsed() >= wait);
            tokio::time::sleep(wait / 2).await;
        }
    }

    #[tokio::test]
    async fn a_cut_answer_is_broken_and_the_next_request_connects_anew() {
        let mut connection = scripted(&[b"HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nabc"]).await;
        for _ in 0..2 {
            assert!(matches!(connection.exchange(b"x").await, Err(Broken::Closed)));
        }
    }
}
