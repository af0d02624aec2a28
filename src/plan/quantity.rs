//! Kubernetes' quantities as the schema lets them through: a number and at most one unit.
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Bytes: `4096`, `50Mi`, `1G`.
pub fn bytes(quantity: &str) -> u64 {
    let digits = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(digits);
    let scale = match unit {
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => 1,
    };
    number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(scale)
}

/// Thousandths of a CPU: `1`, `0.5`, `500m`.
pub fn milli_cpus(quantity: &str) -> u64 {
    if let Some(milli) = quantity.strip_suffix('m') {
        return milli.parse().unwrap_or(u64::MAX);
    }
    let (whole, fraction) = quantity.split_once('.').unwrap_or((quantity, ""));
    let thousandths = format!("{fraction:0<3}");
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    whole.saturating_mul(1000).saturating_add(thousandths.parse().unwrap_or(0))
}

/// The text of a quantity that may be written as a number.
pub fn text(quantity: &IntOrString) -> String {
    match quantity {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

/// A quantity as an API server writes it: no fraction, and the largest unit that divides it. None for text that is no quantity.
/// (What is compared with a live object must stand as it stands there.)
pub fn canonical(quantity: &str) -> Option<String> {
    let end = quantity.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let places = u32::try_from(fraction.len()).ok()?;
    if let Some(power) = BINARY.iter().position(|known| *known == unit) {
        let bytes = digits.checked_shl(10 * (u32::try_from(power).ok()? + 1))?.div_ceil(10_u128.checked_pow(places)?);
        return Some(if bytes < 1024 { decimal(bytes, 0) } else { binary(bytes) });
    }
    let power = DECIMAL.iter().position(|known| *known == unit)?;
    Some(decimal(digits, 3 * (i32::try_from(power).ok()? - 3) - i32::try_from(places).ok()?))
}

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// From 10^-9 on, in steps of a thousand.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

fn binary(mut amount: u128) -> String {
    let mut units = [""].into_iter().chain(BINARY).peekable();
    let mut unit = units.next().unwrap_or_default();
    while amount.is_multiple_of(1024) && units.peek().is_some() {
        amount /= 1024;
        unit = units.next().unwrap_or_default();
    }
    format!("{amount}{unit}")
}

/// `amount` × 10^`exponent`.
fn decimal(mut amount: u128, mut exponent: i32) -> String {
    if amount == 0 {
        return "0".to_owned();
    }
    while amount.is_multiple_of(10) {
        (amount, exponent) = (amount / 10, exponent + 1);
    }
    // Down to a power of a thousand that has a name.
    let named = (exponent.div_euclid(3) * 3).clamp(-9, 18);
    while exponent < named {
        (amount, exponent) = (amount.div_ceil(10), exponent + 1);
    }
    while exponent > named {
        (amount, exponent) = (amount.saturating_mul(10), exponent - 1);
    }
    let unit = usize::try_from(named / 3 + 3).ok().and_then(|at| DECIMAL.get(at)).copied().unwrap_or_default();
    format!("{amount}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_quantities() {
        for (text, size) in [("50Mi", 52_428_800), ("1k", 1000), ("4096", 4096), ("2Gi", 2 << 30)] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn cpus_are_read_as_kubernetes_quantities() {
        for (text, milli) in [("1", 1000), ("0.5", 500), (".25", 250), ("1.125", 1125), ("250m", 250)] {
            assert_eq!(milli_cpus(text), milli, "{text}");
        }
    }

    #[test]
    fn quantities_are_written_as_an_api_server_writes_them() {
        for (text, written) in [
            ("1000m", Some("1")),
            ("0.5", Some("500m")),
            (".25", Some("250m")),
            ("1.5", Some("1500m")),
            ("1000", Some("1k")),
            ("1500", Some("1500")),
            ("1000k", Some("1M")),
            ("134217728", Some("134217728")),
            ("1024Mi", Some("1Gi")),
            ("1536Mi", Some("1536Mi")),
            ("1.5Gi", Some("1536Mi")),
            ("1000Ki", Some("1000Ki")),
            ("0Mi", Some("0")),
            ("0", Some("0")),
            ("", None),
            ("many", None),
        ] {
            assert_eq!(canonical(text).as_deref(), written, "{text}");
        }
    }
}
