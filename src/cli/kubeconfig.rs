//! What is wrong with a kubeconfig, in words. Never with what stands in it, which has keys and tokens.
use kube::config::KubeconfigError;

/// The words; the file is named by who asks.
pub(crate) fn wrong(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        // By its own words it shows the lines around.
        KubeconfigError::Parse(error) => format!("it is no YAML of a kubeconfig: {}", error.without_snippet()),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;

    #[test]
    fn what_stands_in_a_broken_kubeconfig_is_not_shown() {
        for text in ["users:\n- client-key-data: SECRET\n  user: {}\n", "client-key-data: SECRET\n bad: [\n"] {
            let told = wrong(&Kubeconfig::from_yaml(text).unwrap_err());
            assert!(told.contains("line ") && !told.contains("SECRET") && !told.contains('\n'), "{told}");
        }
        let missing = wrong(&KubeconfigError::ReadConfig(std::io::ErrorKind::NotFound.into(), "/nope".into()));
        assert_eq!(missing, "entity not found", "who asks names the file");
    }
}
