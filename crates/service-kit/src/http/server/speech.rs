//! What of the bytes a server writes belongs to an answer.
//!
//! In HTTP/1, everything. In HTTP/2 the server also acknowledges each PING and each SETTINGS, so a client that leaves no
//! room for any answer could have something written for ever. There, only bytes of bodies show that it takes what it
//! asked for.

use std::io::IoSlice;

/// Bytes of an HTTP/2 frame's head: length (3), kind, flags, stream (4).
const HEAD_LEN: u8 = 9;
/// Bytes of the head that say the length and the kind.
const SIZE_AND_KIND_LEN: u8 = 4;
/// The kind of frame that carries a body.
const DATA: usize = 0;

/// What the server says on one connection.
#[derive(Default)]
pub(super) enum Speech {
    #[default]
    Nothing,
    /// HTTP/1.
    Answers,
    /// HTTP/2.
    Frames(Frames),
}

impl Speech {
    /// Whether something of an answer is in the first `length` bytes of these parts: those that were written.
    pub(super) fn is_answer(&mut self, parts: &[IoSlice<'_>], length: usize) -> bool {
        if matches!(self, Self::Answers) {
            return true;
        }
        let (mut left, mut is_answer) = (length, false);
        for part in parts {
            let (written, _) = part.split_at(part.len().min(left));
            left -= written.len();
            is_answer |= self.says(written);
        }
        is_answer
    }

    fn says(&mut self, bytes: &[u8]) -> bool {
        if matches!(self, Self::Nothing) {
            // HTTP/2 begins with SETTINGS, which are never so long that their length begins with another byte.
            *self = match bytes.first() {
                None => Self::Nothing,
                Some(0) => Self::Frames(Frames::default()),
                Some(_) => Self::Answers,
            };
        }
        match self {
            Self::Nothing => false,
            Self::Answers => true,
            Self::Frames(frames) => frames.says(bytes),
        }
    }
}

/// Where in which frame an HTTP/2 connection is.
#[derive(Default)]
pub(super) struct Frames {
    /// Bytes of the next frame's head that have passed.
    head_len: u8,
    /// Its length and kind, as far as they have passed.
    size_and_kind: usize,
    /// Bytes of the frame that are still to pass after its head.
    left: usize,
    is_data: bool,
}

impl Frames {
    /// Whether bytes of a body are among these.
    fn says(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_body = false;
        loop {
            let (payload, after) = bytes.split_at(bytes.len().min(self.left));
            self.left -= payload.len();
            is_body |= self.is_data && !payload.is_empty();
            let Some((byte, rest)) = after.split_first() else { return is_body };
            self.passes_head(*byte);
            bytes = rest;
        }
    }

    fn passes_head(&mut self, byte: u8) {
        if self.head_len < SIZE_AND_KIND_LEN {
            self.size_and_kind = (self.size_and_kind << 8) | usize::from(byte);
        }
        self.head_len += 1;
        if self.head_len == HEAD_LEN {
            let (left, is_data) = (self.size_and_kind >> 8, self.size_and_kind & 0xff == DATA);
            *self = Self { left, is_data, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const PING: u8 = 6;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, 1, 0, 0, 0, 1][..], payload].concat()
    }

    #[test]
    fn only_bodies_are_answers_wherever_the_bytes_are_cut() {
        for piece in 1..64 {
            let mut speech = Speech::default();
            let mut is_answer = |frame: &[u8]| {
                let said =
                    frame.chunks(piece).map(|part| speech.is_answer(&[IoSlice::new(part)], part.len()));
                said.fold(false, |any, one| any | one)
            };
            assert!(!is_answer(&frame(SETTINGS, &[0; 12])));
            assert!(!is_answer(&frame(SETTINGS, &[])), "an acknowledgement");
            assert!(!is_answer(&frame(PING, &[0; 8])));
            assert!(!is_answer(&frame(HEADERS, &[0; 40])));
            assert!(is_answer(&frame(0, b"body")));
            assert!(!is_answer(&frame(PING, &[0; 8])));
            assert!(!is_answer(&frame(0, &[])), "an end");
            assert!(is_answer(&frame(0, b"b")));
        }
    }

    #[test]
    fn only_what_was_written_counts() {
        let mut speech = Speech::default();
        let (settings, data) = (frame(SETTINGS, &[]), frame(0, b"body"));
        let head_len = usize::from(HEAD_LEN);
        assert!(!speech.is_answer(&[IoSlice::new(&settings), IoSlice::new(&data)], 2 * head_len));
        assert!(speech.is_answer(&[IoSlice::new(&data[head_len..])], 4));
    }

    #[test]
    fn in_http1_everything_is_an_answer() {
        let mut speech = Speech::default();
        let (head, body) = (IoSlice::new(b"HTTP/1.1 200 OK\r\n\r\n"), IoSlice::new(&[0; 9]));
        assert!(speech.is_answer(&[head], 3));
        assert!(speech.is_answer(&[body], 9));
    }
}
