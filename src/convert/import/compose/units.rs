//! Compose's units in those of Kubernetes.

/// Seconds of `1m30s`, `1.5s`, `500ms` or a bare number, rounded up.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let seconds = (micros(text)? / 1e6).ceil();
    #[expect(clippy::cast_possible_truncation, reason = "it is in the range that is checked")]
    (0.0..=1e9).contains(&seconds).then_some(seconds as i64)
}

/// Whether nothing of it is rounded.
pub(super) fn is_whole(text: &str) -> bool {
    micros(text).is_some_and(|micros| micros % 1e6 == 0.0)
}

fn micros(text: &str) -> Option<f64> {
    let (mut micros, mut rest, mut parts) = (0_f64, text.trim(), 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            "s" | "" => 1e6,
            "m" => 6e7,
            "h" => 3.6e9,
            "d" => 8.64e10,
            _ => return None,
        };
        micros += number.parse::<f64>().ok()? * scale;
        rest = tail;
        parts += 1;
    }
    (parts > 0).then_some(micros)
}

/// `512m`, `1.5g`, `64M` (of 1024 each) or a number of bytes as a quantity.
pub(super) fn bytes(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (unit, scale) = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => ("", 1.0),
        "k" => ("Ki", 1024.0),
        "m" => ("Mi", 1_048_576.0),
        "g" => ("Gi", 1_073_741_824.0),
        "t" => ("Ti", 1_099_511_627_776.0),
        _ => return None,
    };
    if !number.contains('.') {
        return number.parse::<u64>().ok().map(|number| format!("{number}{unit}"));
    }
    let bytes = (number.parse::<f64>().ok()? * scale / 1_048_576.0).ceil();
    Some(format!("{bytes}Mi"))
}

/// `0.5` CPUs, with at most three digits after the point.
pub(super) fn cpus(text: &str) -> Option<String> {
    let cpus: f64 = text.trim().parse().ok()?;
    let milli = (cpus * 1000.0).ceil();
    (milli > 0.0 && milli < 1e8).then(|| if milli % 1000.0 == 0.0 { format!("{}", milli / 1000.0) } else { format!("{milli}m") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_become_those_of_kubernetes() {
        for (text, value) in
            [("30s", Some(30)), ("1m30s", Some(90)), ("1.5s", Some(2)), ("500ms", Some(1)), ("5", Some(5)), ("x", None), ("", None)]
        {
            assert_eq!(seconds(text), value, "{text}");
        }
        for (text, value) in
            [("512m", Some("512Mi")), ("1.5g", Some("1536Mi")), ("64MB", Some("64Mi")), ("1048576", Some("1048576")), ("q", None)]
        {
            assert_eq!(bytes(text).as_deref(), value, "{text}");
        }
        assert_eq!([cpus("0.5"), cpus("2"), cpus("0"), cpus("1.25")], [Some("500m".into()), Some("2".into()), None, Some("1250m".into())]);
    }
}
