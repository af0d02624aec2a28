//! The protobuf wire format: tagged fields, one after the other.

/// The value of one field, as it is on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire<'a> {
    /// Integers, bools and enums.
    Varint(u64),
    /// Doubles.
    Fixed64(u64),
    /// Text, bytes, messages, map entries.
    Bytes(&'a [u8]),
    /// Floats.
    Fixed32(u32),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => None,
        }
    }
}

/// The fields of a message with their numbers; the first error is the last item.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<(u64, Wire<'_>), ()>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest.filter(|bytes| !bytes.is_empty())?;
        if let Some((number, wire, after)) = take_field(bytes) {
            rest = Some(after);
            Some(Ok((number, wire)))
        } else {
            rest = None;
            Some(Err(()))
        }
    })
}

fn take_field(bytes: &[u8]) -> Option<(u64, Wire<'_>, &[u8])> {
    let (tag, rest) = take_varint(bytes)?;
    let (wire, rest) = match tag & 7 {
        0 => take_varint(rest).map(|(number, rest)| (Wire::Varint(number), rest))?,
        1 => rest.split_first_chunk().map(|(chunk, rest)| (Wire::Fixed64(u64::from_le_bytes(*chunk)), rest))?,
        2 => {
            let (length, rest) = take_varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Wire::Bytes(bytes), rest)
        }
        5 => rest.split_first_chunk().map(|(chunk, rest)| (Wire::Fixed32(u32::from_le_bytes(*chunk)), rest))?,
        // Groups (3, 4) were never used by Kubernetes.
        _ => return None,
    };
    Some((tag >> 3, wire, rest))
}

fn take_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}
