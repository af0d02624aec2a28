//! Which Kubernetes is new enough, as a pure function.

/// The oldest minor version of Kubernetes 1 that has what the CRDs and the router use: `isCIDR` in CEL and selectable fields of custom resources.
const OLDEST: u32 = 31;

/// What is wrong with this version; nothing if it is new enough, or if its numbers mean nothing to us (`gitVersion` of a build of one's own).
pub(super) fn trouble(major: &str, minor: &str) -> Option<String> {
    let old = match (number(major)?, number(minor)) {
        (0, _) => true,
        (1, Some(minor)) => minor < OLDEST,
        (1, None) | (2.., _) => false,
    };
    old.then(|| format!("this cluster is Kubernetes {major}.{minor}; mesh-controller needs 1.{OLDEST} or newer: upgrade the cluster"))
}

/// The number at the beginning: clouds say `31+`.
fn number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_1_31_and_newer_will_do_and_older_is_named() {
        for (major, minor) in [("1", "31"), ("1", "31+"), ("1", "36"), ("1", "100"), ("2", "0"), ("1", ""), ("", "")] {
            assert_eq!(trouble(major, minor), None, "{major}.{minor}");
        }
        for (major, minor) in [("1", "30"), ("1", "30+"), ("1", "9"), ("0", "31")] {
            assert!(trouble(major, minor).is_some(), "{major}.{minor}");
        }
        let text = "this cluster is Kubernetes 1.28+; mesh-controller needs 1.31 or newer: upgrade the cluster";
        assert_eq!(trouble("1", "28+").as_deref(), Some(text));
    }
}
