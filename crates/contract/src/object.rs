//! `#[serde(default, deserialize_with = "crate::object::option")]`: an object within a body that clients send. serde takes
//! a list of an object's fields for the object; the contract does not.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads the value from an object, if there is one (`null` is none).
///
/// # Errors
/// What is neither, and whatever is wrong with the object's fields.
pub(crate) fn option<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let read: Option<Object<T>> = Option::deserialize(from)?;
    Ok(read.map(|Object(value)| value))
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// Takes fields with their names, and nothing else.
struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use crate::api::{NewSale, Proof, SalePatch, TicketRequest};
    use crate::rules::{RoomRules, SaleRules};

    fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn a_list_is_no_object_wherever_it_stands() {
        for bad in [r#"["c","s"]"#, r#"["c","s",null]"#, "[]", "1", r#""c""#, "true"] {
            let refused = read::<TicketRequest>(&format!(r#"{{"proof":{bad}}}"#)).unwrap_err();
            assert!(refused.contains("expected an object"), "{bad}: {refused}");
            assert!(read::<SalePatch>(&format!(r#"{{"rules":{bad}}}"#)).is_err(), "{bad}");
        }
        for bad in ["[]", "[10,2]", r#"["5/1"]"#, "7"] {
            assert!(read::<SaleRules>(&format!(r#"{{"waiting_room":{bad}}}"#)).is_err(), "{bad}");
            assert!(read::<SalePatch>(&format!(r#"{{"rules":{{"waiting_room":{bad}}}}}"#)).is_err(), "{bad}");
            assert!(read::<NewSale>(&new_sale(bad)).is_err(), "{bad}");
        }
    }

    fn new_sale(rules: &str) -> String {
        let terms = r#""title":"t","price_cents":1,"currency":"EUR","stock":1,"per_user_limit":1"#;
        format!(r#"{{{terms},"opens_at":1,"ends_at":2,"pay_within_s":60,"rules":{rules}}}"#)
    }

    #[test]
    fn an_object_is_read_as_strictly_as_before() {
        let proof = Proof { challenge: "c".into(), solution: "s".into(), captcha: None };
        let asked = TicketRequest { proof: Some(proof), pass: None };
        assert_eq!(read(r#"{"proof":{"challenge":"c","solution":"s"}}"#), Ok(asked));
        for none in ["{}", r#"{"proof":null}"#] {
            assert_eq!(read(none), Ok(TicketRequest::default()), "{none}");
        }
        for bad in [
            "{}",
            r#"{"challenge":"c"}"#,
            r#"{"challenge":"c","solution":1}"#,
            r#"{"challenge":"c","solution":"s","x":1}"#,
            r#"{"challenge":"c","solution":"s","solution":"s"}"#,
        ] {
            assert!(read::<TicketRequest>(&format!(r#"{{"proof":{bad}}}"#)).is_err(), "{bad}");
        }
        assert!(read::<TicketRequest>(r#"{"proof":null,"proof":null}"#).is_err());
        let room = RoomRules { capacity: 10, admit_per_s: 2 };
        let rules = SaleRules { waiting_room: Some(room), ..SaleRules::default() };
        let patch = r#"{"rules":{"waiting_room":{"capacity":10,"admit_per_s":2}}}"#;
        assert_eq!(read(patch), Ok(SalePatch { rules: Some(rules), ..SalePatch::default() }));
        assert_eq!(read(r#"{"rules":null}"#), Ok(SalePatch::default()));
        assert_eq!(read::<NewSale>(&new_sale("{}")).unwrap().rules, Some(SaleRules::default()));
        assert_eq!(read::<NewSale>(&new_sale("null")).unwrap().rules, None);
    }
}
