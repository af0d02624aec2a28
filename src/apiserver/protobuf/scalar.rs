//! Protobuf values that are no message in JSON: numbers, text, times, and the types with a JSON form of their own.
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    table::Kind,
    wire::{self, Wire},
};

/// `None` where the wire carries something else than the type asks for. Messages and schema unions are not read here.
pub(super) fn read(kind: Kind, wire: &Wire<'_>) -> Option<Value> {
    match kind {
        Kind::String => Some(Value::String(text(wire)?)),
        Kind::Bool => varint(wire).map(|number| Value::Bool(number != 0)),
        Kind::Int => varint(wire).map(|number| Value::from(number.cast_signed())),
        Kind::Double => double(wire),
        Kind::Bytes => Some(Value::String(BASE64_STANDARD.encode(wire.bytes()?))),
        Kind::Time => time(wire.bytes()?, 0),
        Kind::MicroTime => time(wire.bytes()?, 6),
        Kind::IntOrString => int_or_string(wire.bytes()?),
        Kind::Raw => raw(wire.bytes()?),
        Kind::Quantity => first(wire.bytes()?),
        Kind::Extra => wire::fields(wire.bytes()?).map(|item| item.ok().and_then(|(_, wire)| text(&wire)).map(Value::String)).collect(),
        Kind::SchemaOrArray | Kind::SchemaOrBool | Kind::SchemaOrStrings | Kind::Message(_) => None,
    }
}

fn text(wire: &Wire<'_>) -> Option<String> {
    str::from_utf8(wire.bytes()?).ok().map(str::to_owned)
}

/// An empty value of a map entry stands for zero.
fn varint(wire: &Wire<'_>) -> Option<u64> {
    match *wire {
        Wire::Varint(number) => Some(number),
        Wire::Bytes([]) => Some(0),
        Wire::Bytes(_) | Wire::Fixed32(_) | Wire::Fixed64(_) => None,
    }
}

fn double(wire: &Wire<'_>) -> Option<Value> {
    let Wire::Fixed64(bits) = *wire else { return None };
    serde_json::Number::from_f64(f64::from_bits(bits)).map(Value::Number)
}

/// An empty message is Go's zero time, null in JSON.
fn time(bytes: &[u8], digits: u8) -> Option<Value> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    for item in wire::fields(bytes) {
        match item.ok()? {
            (1, Wire::Varint(number)) => seconds = number.cast_signed(),
            (2, Wire::Varint(number)) => nanos = i32::try_from(number.cast_signed()).ok()?,
            _ => {}
        }
    }
    if seconds == 0 && nanos == 0 {
        return Some(Value::Null);
    }
    let time = Timestamp::new(seconds, nanos).ok()?;
    Some(Value::String(format!("{time:.width$}", width = usize::from(digits))))
}

fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let (mut is_text, mut number, mut string) = (false, 0_i64, String::new());
    for item in wire::fields(bytes) {
        match item.ok()? {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, wire) => string = text(&wire)?,
            _ => {}
        }
    }
    Some(if is_text { Value::String(string) } else { Value::from(number) })
}

/// JSON within protobuf: field 1 holds the document.
fn raw(bytes: &[u8]) -> Option<Value> {
    match wire::fields(bytes).find_map(|item| item.ok().filter(|(number, _)| *number == 1)) {
        Some((_, wire)) if wire.bytes()?.is_empty() => Some(Value::Null),
        Some((_, wire)) => serde_json::from_slice(wire.bytes()?).ok(),
        None => Some(Value::Null),
    }
}

fn first(bytes: &[u8]) -> Option<Value> {
    wire::fields(bytes).find_map(|item| item.ok().filter(|(number, _)| *number == 1)).and_then(|(_, wire)| text(&wire)).map(Value::String)
}
