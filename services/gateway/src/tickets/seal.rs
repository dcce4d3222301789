//! Other things the gateway signs with its ticket keys: places in a waiting room, passes out of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::TicketKeys;
use super::keys::MAC_LEN;

/// Longest sealed text in bytes.
const TEXT_LEN_MAX: usize = 512;

/// What a seal is for; a ticket's own first byte is 1, so that nothing passes for anything else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A place in a waiting room.
    Place = 2,
    /// A pass out of it.
    Pass = 3,
}

/// Signs these fields, each of at most 255 bytes.
#[must_use]
pub(crate) fn seal(keys: &TicketKeys, kind: Kind, fields: &[&[u8]]) -> String {
    let mut bytes = vec![kind as u8];
    for field in std::iter::once(&keys.signer().as_bytes()).chain(fields) {
        bytes.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(field);
    }
    let mac = keys.sign(&bytes);
    bytes.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(&bytes)
}

/// The fields of a genuine seal of this kind.
#[must_use]
pub(crate) fn unseal<const N: usize>(keys: &TicketKeys, kind: Kind, text: &str) -> Option<[Vec<u8>; N]> {
    if text.len() > TEXT_LEN_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
    let (first, mut rest) = signed.split_first()?;
    let mut next = || {
        let (len, after) = rest.split_first()?;
        let (field, after) = after.split_at_checked(usize::from(*len))?;
        rest = after;
        Some(field)
    };
    let key = next()?;
    let mut fields = [const { Vec::new() }; N];
    for field in &mut fields {
        *field = next()?.to_vec();
    }
    let is_whole = *first == kind as u8 && rest.is_empty();
    (is_whole && keys.verify(key, signed, mac)).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_says_what_was_sealed_and_nothing_else_passes() {
        let keys: TicketKeys = format!("k:{}", "ab".repeat(32)).parse().unwrap();
        let text = seal(&keys, Kind::Place, &[b"sale", b"", b"buyer"]);
        let opened: [Vec<u8>; 3] = unseal(&keys, Kind::Place, &text).unwrap();
        assert_eq!(opened, [b"sale".to_vec(), Vec::new(), b"buyer".to_vec()]);
        assert!(unseal::<3>(&keys, Kind::Pass, &text).is_none(), "another kind");
        assert!(unseal::<2>(&keys, Kind::Place, &text).is_none(), "another number of fields");
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert!(unseal::<3>(&keys, Kind::Place, &URL_SAFE_NO_PAD.encode(&forged)).is_none(), "byte {at}");
        }
        for cut in 0..text.len() {
            assert!(unseal::<3>(&keys, Kind::Place, &text[..cut]).is_none(), "cut at {cut}");
        }
    }
}
