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
}
