//! Where requests go: `http://host:port`.

use std::str::FromStr;

/// A listener of the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// `host:port`, for connecting and for the `host` header.
    pub(crate) authority: String,
}

/// Why a text is no target.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not of the form http://host[:port]")]
pub(crate) struct BadTarget(String);

impl FromStr for Target {
    type Err = BadTarget;
    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.into());
        let rest = text.strip_prefix("http://").ok_or_else(bad)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '@', '?', '#', ' ']) {
            return Err(bad());
        }
        let has_port =
            authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        Ok(Self { authority: if has_port { authority.into() } else { format!("{authority}:80") } })
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn targets_are_hosts_with_ports() {
        let authority = |text: &str| text.parse::<Target>().map(|t| t.authority);
        assert_eq!(authority("http://127.0.0.1:8080"), Ok("127.0.0.1:8080".into()));
        assert_eq!(authority("http://[::1]:8080/"), Ok("[::1]:8080".into()));
        assert_eq!(authority("http://shop.test"), Ok("shop.test:80".into()));
        for bad in ["127.0.0.1:8080", "https://a", "http://", "http://a/b"] {
            assert!(authority(bad).is_err(), "{bad}");
        }
    }
}
