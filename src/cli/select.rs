//! What a word on the command line means: a service by its name, or an instance by the beginning of its id.
use kube::ResourceExt;

use super::{
    exit::{Code, Failure, Result},
    instance::{self, Instance},
    target::Connection,
};
use mesh_api::MeshService;

/// What a word means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// The service of this name.
    Service(String),
    /// The instance of this id.
    Instance(String),
}

/// What a word means, and all that it could have meant.
#[derive(Debug)]
pub struct Found {
    /// What it means.
    pub selected: Selected,
    /// The services of the namespace.
    pub services: Vec<MeshService>,
    /// The instances of the namespace.
    pub instances: Vec<Instance>,
}

/// Asks the API what there is, and finds what `word` means.
pub async fn find(connection: &Connection, word: &str) -> Result<Found> {
    let services = connection.list_services(false).await?;
    let instances = instance::list(connection, false).await?;
    let names: Vec<String> = services.iter().map(ResourceExt::name_any).collect();
    let ids: Vec<String> = instances.iter().map(|instance| instance.id.clone()).collect();
    let selected = select(word, &names, &ids).map_err(|text| Failure::new(Code::Failed, text))?;
    Ok(Found { selected, services, instances })
}

/// Finds what `word` means. A service's name wins over an id; an id may be cut short as long as it fits one instance only.
///
/// # Errors
/// The text for the user: nothing fits, or several do (and which).
fn select(word: &str, services: &[String], instances: &[String]) -> Result<Selected, String> {
    if services.iter().any(|service| service == word) {
        return Ok(Selected::Service(word.to_owned()));
    }
    let mut fits: Vec<&str> = instances.iter().map(String::as_str).filter(|id| !word.is_empty() && id.starts_with(word)).collect();
    fits.sort_unstable();
    match fits.as_slice() {
        [one] => Ok(Selected::Instance((*one).to_owned())),
        [] => Err(format!("no service and no instance is called {word:?}; {}", there_is(services))),
        several => match several.iter().find(|id| **id == word) {
            Some(exact) => Ok(Selected::Instance((*exact).to_owned())),
            None => Err(format!("{word:?} fits {} instances: {}; give more of the id", several.len(), several.join(", "))),
        },
    }
}

fn there_is(services: &[String]) -> String {
    if services.is_empty() { "there are no services here".to_owned() } else { format!("services here: {}", services.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_service_wins_then_a_prefix_that_fits_one_instance() {
        let (services, instances) = (names(&["api", "web"]), names(&["api-1f-0", "api-1f-1", "api-1f-10", "web-2a-0"]));
        let selected = |word| select(word, &services, &instances);
        assert_eq!(selected("api"), Ok(Selected::Service("api".into())));
        assert_eq!(selected("web-"), Ok(Selected::Instance("web-2a-0".into())));
        assert_eq!(selected("api-1f-1"), Ok(Selected::Instance("api-1f-1".into())));
        assert_eq!(selected("a"), Err("\"a\" fits 3 instances: api-1f-0, api-1f-1, api-1f-10; give more of the id".into()));
        assert_eq!(selected("db"), Err("no service and no instance is called \"db\"; services here: api, web".into()));
        assert_eq!(selected(""), Err("no service and no instance is called \"\"; services here: api, web".into()));
        assert_eq!(select("x", &[], &[]), Err("no service and no instance is called \"x\"; there are no services here".into()));
    }
}
