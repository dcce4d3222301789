//! The little HTTP this tool speaks: one request, one whole answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::run::Outcome;

/// How long an answer may take.
const ANSWER_S_MAX: u64 = 30;

/// A `GET` with a bearer token (empty: none).
pub(crate) fn get(port: u16, path: &str, token: &str) -> Outcome<String> {
    exchange(port, "GET", path, &bearer(token), "")
}

/// An `authorization` header for a bearer token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Whether this answers 200 right now.
pub(crate) fn is_fine(port: u16, path: &str) -> bool {
    is_fine_with(port, path, "")
}

/// The same with an `authorization` header.
pub(crate) fn is_fine_with(port: u16, path: &str, authorization: &str) -> bool {
    let answer = exchange(port, "GET", path, authorization, "");
    answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// One request and its whole answer. HTTP/1.0, so that the answer ends with the connection.
pub(crate) fn exchange(
    port: u16,
    method: &str,
    path: &str,
    authorization: &str,
    body: &str,
) -> Outcome<String> {
    let talk = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(ANSWER_S_MAX)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nauthorization: {authorization}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.replacen("HTTP/1.0", "HTTP/1.1", 1))
    };
    talk().map_err(|e| format!("{method} {path}: {e}"))
}

/// Whether an answer says that all went well (2xx).
pub(crate) fn is_success(answer: &str) -> bool {
    answer.split_whitespace().nth(1).is_some_and(|status| status.starts_with('2'))
}

/// The body of an answer.
pub(crate) fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The body of an answer, as JSON.
pub(crate) fn json_of(answer: &str) -> Outcome<Value> {
    serde_json::from_str(body_of(answer)).map_err(|e| format!("{e} in {answer:?}"))
}

/// The same, of an answer that says that all went well. A problem document is JSON too, and tells nothing of what was
/// asked for.
pub(crate) fn json_of_success(answer: &str) -> Outcome<Value> {
    if is_success(answer) {
        return json_of(answer);
    }
    Err(format!("{} {}", answer.lines().next().unwrap_or_default(), body_of(answer)))
}
