//! `mesh scale`: how many instances, by the scale subresource, so that nothing else of the spec is touched.
use std::str::FromStr;

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{
    apply::FIELD_MANAGER,
    exit::{Result, each},
    output,
    select::or_no_service,
    target::Connection,
};

/// Set the number of instances.
#[derive(Debug, Args)]
pub struct Scale {
    /// SERVICE=N, one or several.
    #[arg(required = true, value_name = "SERVICE=N")]
    wishes: Vec<Wish>,
}

/// A service and how many instances it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    service: String,
    replicas: u32,
}

impl FromStr for Wish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, count) = text.split_once('=').ok_or_else(|| format!("write SERVICE=N, for example {text}=3"))?;
        let replicas =
            count.parse().ok().filter(|count| *count <= 1000).ok_or_else(|| format!("{count:?} is no number of instances (0 to 1000)"))?;
        if service.is_empty() {
            return Err("the service before = is missing".to_owned());
        }
        Ok(Self { service: service.to_owned(), replicas })
    }
}

impl Scale {
    /// Scales one after the other.
    pub async fn run(self, connection: &Connection) -> Result {
        each(self.wishes, async |wish| {
            scale(connection, &wish.service, wish.replicas).await?;
            output::print_line(&format!("{} scaled to {}", wish.service, wish.replicas))
        })
        .await
    }
}

/// Sets the number of instances of one service.
pub(super) async fn scale(connection: &Connection, service: &str, replicas: u32) -> Result {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    or_no_service(connection, service, connection.services().patch_scale(service, &params, &patch).await).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_a_service_and_a_number() {
        assert_eq!("api=3".parse(), Ok(Wish { service: "api".into(), replicas: 3 }));
        for (text, error) in [
            ("api", "write SERVICE=N, for example api=3"),
            ("api=-1", "\"-1\" is no number of instances (0 to 1000)"),
            ("api=1001", "\"1001\" is no number of instances (0 to 1000)"),
            ("=1", "the service before = is missing"),
        ] {
            assert_eq!(text.parse::<Wish>(), Err(error.to_owned()));
        }
    }
}
