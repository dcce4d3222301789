//! JSON objects of numbers, as the statements of a group take them.

use std::fmt::{Display, Write};

/// An object under construction. Keys are numbers too; each comes once.
#[derive(Default)]
pub(super) struct Index(String);

impl Index {
    /// Adds an entry.
    pub(super) fn put(&mut self, key: i64, value: impl Display) {
        let before = if self.0.is_empty() { '{' } else { ',' };
        write!(self.0, "{before}\"{key}\":{value}").expect("a string takes all that is written to it");
    }

    /// The object.
    pub(super) fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// An object of pairs.
pub(super) fn json_object<V: Display + Copy>(pairs: &[(i64, V)]) -> String {
    let mut object = Index::default();
    for (key, value) in pairs {
        object.put(*key, *value);
    }
    object.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_json_whatever_their_length() {
        assert_eq!(json_object::<i64>(&[]), "{}");
        assert_eq!(json_object(&[(1, 2), (3, 4)]), r#"{"1":2,"3":4}"#);
    }
}
