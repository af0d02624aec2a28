//! Deserialization that remembers duplicate keys, for JSON and YAML alike.
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Decoded;

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tracer)
    }
}

struct Tracer;

fn plain(value: impl Into<Value>) -> Decoded {
    Decoded { value: value.into(), duplicates: Vec::new() }
}

/// A duplicate's path, seen from one level further up.
fn under(parent: &str, duplicates: Vec<String>) -> impl Iterator<Item = String> + '_ {
    duplicates.into_iter().map(move |path| if path.starts_with('[') { format!("{parent}{path}") } else { format!("{parent}.{path}") })
}

impl<'de> Visitor<'de> for Tracer {
    type Value = Decoded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Decoded, E> {
        Ok(plain(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Decoded, E> {
        Ok(plain(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Decoded, E> {
        Ok(plain(value))
    }

    /// Whole floats are integers, as they are once Go has written them.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Decoded, E> {
        #[expect(clippy::cast_possible_truncation, reason = "whole and in range, as was just checked")]
        let whole = (value.fract() == 0.0 && value.abs() < 9e18).then_some(value as i64);
        match (whole, Number::from_f64(value)) {
            (Some(whole), _) => Ok(plain(whole)),
            (None, Some(number)) => Ok(plain(Value::Number(number))),
            (None, None) => Err(E::custom("a number that JSON cannot hold")),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Decoded, E> {
        Ok(plain(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Decoded, E> {
        Ok(plain(value))
    }

    fn visit_unit<E>(self) -> Result<Decoded, E> {
        Ok(plain(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Decoded, E> {
        Ok(plain(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Decoded, D::Error> {
        Decoded::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Decoded, A::Error> {
        let (mut items, mut duplicates) = (Vec::new(), Vec::new());
        while let Some(item) = access.next_element::<Decoded>()? {
            duplicates.extend(under(&format!("[{}]", items.len()), item.duplicates));
            items.push(item.value);
        }
        Ok(Decoded { value: Value::Array(items), duplicates })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Decoded, A::Error> {
        let (mut fields, mut duplicates) = (Map::new(), Vec::new());
        while let Some(name) = access.next_key::<String>()? {
            let field = access.next_value::<Decoded>()?;
            duplicates.extend(under(&name, field.duplicates));
            if fields.insert(name.clone(), field.value).is_some() && !duplicates.contains(&name) {
                duplicates.push(name);
            }
        }
        Ok(Decoded { value: Value::Object(fields), duplicates })
    }
}
