//! The string formats that Kubernetes checks; unknown ones say nothing.
use std::{net::IpAddr, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};

/// Whether a string has the format.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" => jiff::Timestamp::from_str(text).is_ok(),
        "date" => text.len() == 10 && jiff::civil::Date::from_str(text).is_ok(),
        "duration" => is_duration(text),
        "byte" => BASE64_STANDARD.decode(text).is_ok(),
        "ipv4" => matches!(IpAddr::from_str(text), Ok(IpAddr::V4(_))),
        "ipv6" => matches!(IpAddr::from_str(text), Ok(IpAddr::V6(_))),
        "cidr" => is_cidr(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => uuid::Uuid::parse_str(text).is_ok(),
        "uri" => http::Uri::from_str(text).is_ok_and(|uri| uri.scheme().is_some() || text.starts_with('/')),
        "hostname" => is_hostname(text),
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && is_hostname(host)),
        "mac" => text.split([':', '-']).count() == 6 && text.split([':', '-']).all(|part| part.len() == 2 && is_hex(part)),
        "bsonobjectid" => text.len() == 24 && is_hex(text),
        _ => true,
    }
}

fn is_hex(text: &str) -> bool {
    text.chars().all(|digit| digit.is_ascii_hexdigit())
}

/// Go's durations (`1h30m`, `1.5s`, `-2m`), and days and weeks besides.
fn is_duration(text: &str) -> bool {
    let mut rest = text.trim_start_matches(['+', '-']);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '.');
        let unit = number.trim_start_matches(char::is_alphabetic);
        let name = number.strip_suffix(unit).unwrap_or_default();
        if number.len() == rest.len() || !["ns", "us", "µs", "ms", "s", "m", "h", "d", "w"].contains(&name) {
            return false;
        }
        rest = unit;
    }
    !text.is_empty()
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let limit = match IpAddr::from_str(address) {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= limit)
}

fn is_hostname(text: &str) -> bool {
    let fits = |label: &str| {
        let edges = !label.starts_with('-') && !label.ends_with('-');
        edges && (1..=63).contains(&label.len()) && label.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
    };
    text.len() <= 253 && text.trim_end_matches('.').split('.').all(fits)
}

/// Whether an integer is within what the format can hold; true for formats of other types.
pub(super) fn holds(format: &str, number: &serde_json::Number) -> bool {
    let Some(number) = number.as_i64() else { return true };
    match format {
        "int8" => i8::try_from(number).is_ok(),
        "int16" => i16::try_from(number).is_ok(),
        "int32" => i32::try_from(number).is_ok(),
        "uint8" => u8::try_from(number).is_ok(),
        "uint16" => u16::try_from(number).is_ok(),
        "uint32" => u32::try_from(number).is_ok(),
        "uint" | "uint64" => number >= 0,
        _ => true,
    }
}
