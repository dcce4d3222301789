//! Reading HTTP/1.1 answers off a buffer that grows.

/// Largest head of an answer in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Largest body of an answer in bytes.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Why bytes are no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The status line is not HTTP/1.x.
    #[error("not an HTTP/1 status line")]
    StatusLine,
    /// A header that frames the body cannot be read.
    #[error("a header does not parse")]
    Header,
    /// A chunk's size line or end is wrong.
    #[error("a chunk does not parse")]
    Chunk,
    /// Head or body beyond the limit.
    #[error("the answer is too large")]
    TooLarge,
}

/// How the body is delimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
    /// Everything until the connection closes.
    UntilClose,
}

/// The head of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    /// How the body is delimited.
    pub(crate) framing: Framing,
    /// `Retry-After`, in seconds.
    pub(crate) retry_after_s: Option<u32>,
    /// Whether the server closes the connection after this answer.
    pub(crate) close: bool,
    /// Bytes of the head, its blank line included.
    pub(crate) len: usize,
}

/// The first line of `buf` and what follows it, if the line is complete.
fn line(buf: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = buf.iter().position(|b| *b == b'\n')?;
    let (line, rest) = (&buf[..end], &buf[end + 1..]);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Reads the head, when `buf` holds all of it.
///
/// # Errors
/// When the bytes cannot be the start of an answer.
pub(crate) fn head(buf: &[u8]) -> Result<Option<Head>, WireError> {
    let Some((status_line, mut rest)) = line(buf) else {
        return if buf.len() > HEAD_BYTES_MAX { Err(WireError::TooLarge) } else { Ok(None) };
    };
    let status = status_line
        .strip_prefix(b"HTTP/1.")
        .and_then(|s| s.get(2..5))
        .and_then(number::<u16>)
        .ok_or(WireError::StatusLine)?;
    let bodiless = status < 200 || status == 204 || status == 304;
    let framing = if bodiless { Framing::Length(0) } else { Framing::UntilClose };
    let mut head = Head { status, framing, retry_after_s: None, close: false, len: 0 };
    while let Some((header, after)) = line(rest) {
        rest = after;
        if header.is_empty() {
            head.len = buf.len() - rest.len();
            head.close |= head.framing == Framing::UntilClose;
            return Ok(Some(head));
        }
        read_header(header, &mut head)?;
    }
    if buf.len() > HEAD_BYTES_MAX { Err(WireError::TooLarge) } else { Ok(None) }
}

/// Only four headers matter; the length of the name tells nearly all others apart at once.
fn read_header(header: &[u8], head: &mut Head) -> Result<(), WireError> {
    let colon = header.iter().position(|b| *b == b':').ok_or(WireError::Header)?;
    let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
    match colon {
        10 if name.eq_ignore_ascii_case(b"connection") => head.close = value.eq_ignore_ascii_case(b"close"),
        11 if name.eq_ignore_ascii_case(b"retry-after") => head.retry_after_s = number(value),
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            let length: usize = number(value).ok_or(WireError::Header)?;
            if length > BODY_BYTES_MAX {
                return Err(WireError::TooLarge);
            }
            if head.framing == Framing::UntilClose {
                head.framing = Framing::Length(length);
            }
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            head.framing = Framing::Chunked;
        }
        _ => {}
    }
    Ok(())
}

/// Decodes a chunked body, when `buf` holds all of it.
///
/// # Errors
/// When the bytes cannot be chunks.
pub(crate) fn chunked(mut buf: &[u8]) -> Result<Option<Vec<u8>>, WireError> {
    let mut body = Vec::new();
    while let Some((size, rest)) = line(buf) {
        let digits = size.split(|b| *b == b';').next().unwrap_or(size).trim_ascii();
        let digits = std::str::from_utf8(digits).map_err(|_| WireError::Chunk)?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| WireError::Chunk)?;
        if size == 0 {
            return Ok(trailers_end(rest).then_some(body));
        }
        if size > BODY_BYTES_MAX || body.len() + size > BODY_BYTES_MAX {
            return Err(WireError::TooLarge);
        }
        let Some(chunk) = rest.get(..size) else { return Ok(None) };
        let Some(end) = rest.get(size..size + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err(WireError::Chunk);
        }
        body.extend_from_slice(chunk);
        buf = &rest[size + 2..];
    }
    Ok(None)
}

fn trailers_end(mut rest: &[u8]) -> bool {
    while let Some((trailer, after)) = line(rest) {
        if trailer.is_empty() {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nretry-AFTER: 7\r\nx-a: b\r\n\r\n{}";

    #[test]
    fn a_head_is_read_only_when_it_is_whole() {
        let whole = ANSWER.len() - 2;
        for cut in 0..whole {
            assert_eq!(head(&ANSWER[..cut]), Ok(None), "at {cut}");
        }
        let head = head(ANSWER).unwrap().unwrap();
        assert_eq!((head.status, head.framing, head.len), (503, Framing::Length(2), whole));
        assert_eq!((head.retry_after_s, head.close), (Some(7), false));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert_eq!(head(b"SSH-2.0-x\r\n"), Err(WireError::StatusLine));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), Err(WireError::Header));
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), Err(WireError::Header));
        assert_eq!(head(&vec![b'x'; HEAD_BYTES_MAX + 1]), Err(WireError::TooLarge));
        let huge = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
        assert_eq!(head(huge.as_bytes()), Err(WireError::TooLarge));
    }

    #[test]
    fn without_a_length_the_close_ends_the_body() {
        let head_of = |text: &[u8]| head(text).unwrap().unwrap();
        assert_eq!(head_of(b"HTTP/1.0 200 OK\r\n\r\n").framing, Framing::UntilClose);
        assert!(head_of(b"HTTP/1.0 200 OK\r\n\r\n").close);
        assert_eq!(head_of(b"HTTP/1.1 304 Not Modified\r\n\r\n").framing, Framing::Length(0));
        assert!(head_of(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").close);
    }

    #[test]
    fn chunks_come_together_however_they_are_split() {
        let text = b"4;x=y\r\nWiki\r\nA\r\npedia in a\r\n0\r\nt: 1\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(chunked(&text[..cut]), Ok(None), "at {cut}");
        }
        assert_eq!(chunked(text), Ok(Some(b"Wikipedia in a".to_vec())));
        assert_eq!(chunked(b"zz\r\n"), Err(WireError::Chunk));
        assert_eq!(chunked(b"1\r\nabc"), Err(WireError::Chunk));
        assert_eq!(chunked(b"ffffffff\r\n"), Err(WireError::TooLarge));
    }
}
