//! Kubernetes' protobuf request bodies, which kubectl and client-go send for every built-in kind.
//!
//! The messages are data (`protobuf/messages.txt`): field number, JSON name and type. What comes out is the JSON form that Go's encoder
//! would make of the same object, so that nothing behind it knows how the object came in. Answers are JSON; nothing is encoded here.
use serde_json::{Map, Value};

mod scalar;
mod table;
mod wire;

use table::{Field, Kind, Shape, TABLE};
use wire::Wire;

/// Messages nest this deep at most: a CRD's schema is the deepest that is sent.
const DEPTH: usize = 100;

/// Why a protobuf body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// It does not begin with `k8s\0`.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// It ends within a field, or a field is not of its type.
    #[error("the protobuf body is malformed in {0}")]
    Malformed(String),
    /// A kind that is not served.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\" in scheme")]
    Kind {
        /// The body's apiVersion.
        api_version: String,
        /// The body's kind.
        kind: String,
    },
}

/// Reads `k8s\0` and the `runtime.Unknown` behind it into the object's JSON form, `apiVersion` and `kind` included.
///
/// # Errors
/// See [`ProtobufError`].
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = bytes.strip_prefix(b"k8s\0").ok_or(ProtobufError::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in wire::fields(envelope) {
        match field.map_err(|()| malformed("Unknown"))? {
            (1, Wire::Bytes(type_meta)) => (api_version, kind) = read_type_meta(type_meta)?,
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let Some(message) = TABLE.root(&api_version, &kind) else { return Err(ProtobufError::Kind { api_version, kind }) };
    let mut object = read_message(message, raw, DEPTH)?;
    object.insert("apiVersion".to_owned(), Value::String(api_version));
    object.insert("kind".to_owned(), Value::String(kind));
    Ok(Value::Object(object))
}

fn malformed(place: &str) -> ProtobufError {
    ProtobufError::Malformed(place.to_owned())
}

fn read_type_meta(bytes: &[u8]) -> Result<(String, String), ProtobufError> {
    let (mut api_version, mut kind) = (String::new(), String::new());
    for field in wire::fields(bytes) {
        match field.map_err(|()| malformed("TypeMeta"))? {
            (1, Wire::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
            (2, Wire::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    Ok((api_version, kind))
}

fn read_message(name: &str, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, ProtobufError> {
    let depth = depth.checked_sub(1).ok_or_else(|| malformed(name))?;
    let fields = TABLE.fields(name);
    let mut object = Map::new();
    for item in wire::fields(bytes) {
        let (number, wire) = item.map_err(|()| malformed(name))?;
        // A field that this version does not know is dropped, as the API server does.
        let Some(field) = fields.iter().find(|field| field.number == number) else { continue };
        read_field(field, &wire, &mut object, depth).ok_or_else(|| malformed(&format!("{name}.{}", field.name)))??;
    }
    Ok(object)
}

/// `None` where the wire does not carry what the field's type asks for.
fn read_field(field: &Field, wire: &Wire<'_>, object: &mut Map<String, Value>, depth: usize) -> Option<Result<(), ProtobufError>> {
    match field.shape {
        Shape::Single => {
            let value = match read_value(field.kind, wire, depth)? {
                Ok(value) => value,
                Err(error) => return Some(Err(error)),
            };
            if field.keeps_zero || !is_zero(&value) {
                object.insert(field.name.to_owned(), value);
            }
        }
        Shape::Repeated => {
            let value = match read_value(field.kind, wire, depth)? {
                Ok(value) => value,
                Err(error) => return Some(Err(error)),
            };
            object.entry(field.name).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?.push(value);
        }
        Shape::Map => {
            let (key, value) = match read_entry(field.kind, wire, depth)? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            object.entry(field.name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()?.insert(key, value);
        }
    }
    Some(Ok(()))
}

/// A map's entry is a message of its own: key 1, value 2.
fn read_entry(kind: Kind, wire: &Wire<'_>, depth: usize) -> Option<Result<(String, Value), ProtobufError>> {
    let (mut key, mut value) = (String::new(), None);
    for item in wire::fields(wire.bytes()?) {
        match item.ok()? {
            (1, Wire::Bytes(text)) => str::from_utf8(text).ok()?.clone_into(&mut key),
            (2, wire) => value = Some(read_value(kind, &wire, depth)?),
            _ => {}
        }
    }
    // Proto3 leaves out an empty value.
    let value = value.or_else(|| read_value(kind, &Wire::Bytes(&[]), depth))?;
    Some(value.map(|value| (key, value)))
}

fn read_value(kind: Kind, wire: &Wire<'_>, depth: usize) -> Option<Result<Value, ProtobufError>> {
    let nested = |name: &str, bytes| read_message(name, bytes, depth).map(Value::Object);
    Some(match kind {
        Kind::Message(name) => nested(name, wire.bytes()?),
        Kind::SchemaOrArray | Kind::SchemaOrStrings | Kind::SchemaOrBool => return read_schema_or(kind, wire.bytes()?, depth),
        _ => return scalar::read(kind, wire).map(Ok),
    })
}

/// The unions of JSON schema: 1 or 2 is the schema, the other one a list or a bool.
fn read_schema_or(kind: Kind, bytes: &[u8], depth: usize) -> Option<Result<Value, ProtobufError>> {
    let schema_number = if kind == Kind::SchemaOrBool { 2 } else { 1 };
    let (mut schema, mut list, mut allows) = (None, Vec::new(), false);
    for item in wire::fields(bytes) {
        match (item.ok()?, kind) {
            ((number, Wire::Bytes(bytes)), _) if number == schema_number => schema = Some(read_schema(bytes, depth)),
            ((2, Wire::Bytes(bytes)), Kind::SchemaOrArray) => match read_schema(bytes, depth) {
                Ok(item) => list.push(item),
                Err(error) => return Some(Err(error)),
            },
            ((2, wire), Kind::SchemaOrStrings) => list.push(scalar::read(Kind::String, &wire)?),
            ((1, Wire::Varint(number)), Kind::SchemaOrBool) => allows = number != 0,
            _ => {}
        }
    }
    Some(match schema {
        Some(schema) => schema,
        None if kind == Kind::SchemaOrBool => Ok(Value::Bool(allows)),
        None => Ok(Value::Array(list)),
    })
}

fn read_schema(bytes: &[u8], depth: usize) -> Result<Value, ProtobufError> {
    read_message("apiextensions.JSONSchemaProps", bytes, depth).map(Value::Object)
}

/// What Go's `omitempty` leaves out; a struct is never empty to it.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests;
