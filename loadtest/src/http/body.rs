//! Picking single values out of JSON bodies without building a document.

/// The text of the first `"name":"…"` in a body, when it is written without escapes and blanks.
/// `None` also when it is absent: ask a real parser then.
fn plain<'b>(body: &'b [u8], name: &str) -> Option<&'b str> {
    let name = name.as_bytes();
    let mut at = 0;
    while let Some(quote) = body[at..].iter().position(|b| *b == b'"') {
        let start = at + quote + 1;
        let rest = &body[start..];
        if let Some(value) = rest.strip_prefix(name).and_then(|r| r.strip_prefix(b"\":\"")) {
            let end = value.iter().position(|b| matches!(b, b'"' | b'\\'))?;
            return if value[end] == b'"' { std::str::from_utf8(&value[..end]).ok() } else { None };
        }
        at = start;
    }
    None
}

/// The text member `name` of a flat JSON object.
pub(crate) fn text(body: &[u8], name: &str) -> Option<String> {
    if let Some(text) = plain(body, name) {
        return Some(text.to_owned());
    }
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.get(name)?.as_str().map(str::to_owned)
}

/// Whether a problem document carries this code.
pub(crate) fn has_code(body: &[u8], code: &str) -> bool {
    plain(body, "code").map_or_else(|| text(body, "code").as_deref() == Some(code), |found| found == code)
}

/// Whether a 202 says that the ledger has refused its order.
pub(crate) fn is_refused(body: &[u8]) -> bool {
    text(body, "status").as_deref() == Some("rejected")
}

/// How many units a `not_enough` says are left.
pub(crate) fn available(body: &[u8]) -> Option<u32> {
    serde_json::from_slice::<contract::Problem>(body).ok()?.available
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_whatever_the_spelling() {
        for body in [
            r#"{"ticket":"abc","order_id":"x"}"#,
            r#"{"order_id":"x", "ticket" : "abc"}"#,
            r#"{"order_id":"x","ticket":"\u0061bc"}"#,
        ] {
            assert_eq!(text(body.as_bytes(), "ticket").as_deref(), Some("abc"), "{body}");
        }
        assert_eq!(text(br#"{"ticket":1}"#, "ticket"), None);
        assert_eq!(text(b"<html>", "ticket"), None);
        assert_eq!(text(br#"{"ticket":"ab"#, "ticket"), None);
    }

    #[test]
    fn problem_codes_are_told_apart() {
        let body = serde_json::to_vec(&contract::Problem::new(contract::Code::SoldOut, "gone")).unwrap();
        assert!(has_code(&body, "sold_out"));
        assert!(!has_code(&body, "sold"));
        assert_eq!(available(&body), None);
    }
}
