//! What a word on the command line means: a service by its name, or an instance by the beginning of its id. The name of a task is neither.
use kube::ResourceExt;

use super::{
    exit::{Code, Failure, Result},
    instance::{self, Instance},
    target::Connection,
};
use mesh_api::MeshService;
use mesh_kit::meant::did_you_mean;

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
    // The ids of its runs begin with a task's name.
    if !names.iter().any(|name| name == word)
        && let Some(hint) = is_task(connection, word).await
    {
        return Err(Failure::new(Code::Failed, hint));
    }
    match select(word, &names, &ids) {
        Ok(selected) => Ok(Found { selected, services, instances }),
        Err(text) => {
            if services.is_empty() && instances.is_empty() {
                connection.namespace_is_there().await?;
            }
            Err(Failure::new(Code::Failed, beside_nodes(connection, text).await))
        }
    }
}

/// What is not there may be what a node tells of.
async fn beside_nodes(connection: &Connection, text: String) -> String {
    std::iter::once(text).chain(connection.node_troubles().await).collect::<Vec<_>>().join("\n")
}

/// What to say of a word that is a task's name. An API without tasks, or one that does not show them, has none.
async fn is_task(connection: &Connection, name: &str) -> Option<String> {
    let task = connection.tasks().get_opt(name).await.ok().flatten()?;
    let name = task.name_any();
    Some(format!(
        "{name} is a task: `mesh task ls {name}` shows its runs, `mesh task logs {name}` what the newest wrote, `mesh task suspend {name}` lets its schedule rest, `kubectl delete mt {name}` removes it"
    ))
}

/// What to say of a service that the API does not have.
pub(super) async fn no_service(connection: &Connection, name: &str) -> Failure {
    let services = match connection.list_services(false).await {
        Ok(services) => services,
        Err(failure) => return failure,
    };
    if services.is_empty()
        && let Err(failure) = connection.namespace_is_there().await
    {
        return failure;
    }
    if let Some(hint) = is_task(connection, name).await {
        return Failure::new(Code::Failed, hint);
    }
    let names: Vec<String> = services.iter().map(ResourceExt::name_any).collect();
    let meant = did_you_mean(name, names.iter().map(String::as_str));
    Failure::new(Code::Failed, beside_nodes(connection, format!("no service is called {name:?}{meant}; {}", there_is(&names))).await)
}

/// The same in the place of what the API says of a service that it does not have.
pub(super) async fn or_no_service<T>(connection: &Connection, name: &str, answer: Result<T, kube::Error>) -> Result<T> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 404 => Err(no_service(connection, name).await),
        answer => Ok(answer?),
    }
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
        [] => {
            let meant = did_you_mean(word, services.iter().chain(instances).map(String::as_str));
            Err(format!("no service and no instance is called {word:?}{meant}; {}", there_is(services)))
        }
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
    use std::future::ready;

    use serde_json::{Value, json};

    use super::*;
    use mesh_api::{MeshTask, node::BackendKind};
    use mesh_plan::task::{self, Which};

    #[tokio::test]
    async fn a_tasks_name_is_told_to_be_one_and_is_not_taken_for_the_beginning_of_a_runs_id() {
        let task: MeshTask = serde_json::from_value(json!({
            "apiVersion": "mesh-controller.dev/v1alpha1", "kind": "MeshTask",
            "metadata": {"name": "backup", "namespace": "shop", "uid": "t"}, "spec": {"template": {"command": ["x"]}},
        }))
        .unwrap();
        let program = task::program(&task, None, BackendKind::Process).unwrap();
        let which = Which { name: "backup-1f".to_owned(), scheduled: None, before: None, args: None };
        let run = task::run(&task, &program, None, which, "here".to_owned());
        let list = |items: Value| (200, json!({"metadata": {}, "items": items}));
        let answer = move |request: http::Request<kube::client::Body>| {
            let (code, body) = match request.uri().path().rsplit_once("/shop/").map(|(_, path)| path) {
                Some("meshservices") => list(json!([])),
                Some("meshinstances") => list(json!([run])),
                Some("meshtasks/backup") => (200, json!(task)),
                _ => (404, json!({"kind": "Status", "status": "Failure", "code": 404, "message": "not found", "reason": "NotFound"})),
            };
            ready(Ok::<_, std::convert::Infallible>(
                http::Response::builder().status(code).body(kube::client::Body::from(body.to_string().into_bytes())).unwrap(),
            ))
        };
        let connection = Connection { client: kube::Client::new(tower::service_fn(answer), "shop"), namespace: "shop".into() };
        let told = find(&connection, "backup").await.unwrap_err().text();
        assert!(told.starts_with("backup is a task: ") && told.contains("`mesh task suspend backup`"), "{told}");
        assert_eq!(find(&connection, "backup-1").await.unwrap().selected, Selected::Instance("backup-1f".into()));
    }

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
        assert_eq!(
            selected("ap1"),
            Err("no service and no instance is called \"ap1\"; did you mean \"api\"?; services here: api, web".into())
        );
        assert_eq!(
            selected("web-2b-0"),
            Err("no service and no instance is called \"web-2b-0\"; did you mean \"web-2a-0\"?; services here: api, web".into())
        );
        assert_eq!(selected(""), Err("no service and no instance is called \"\"; services here: api, web".into()));
        assert_eq!(select("x", &[], &[]), Err("no service and no instance is called \"x\"; there are no services here".into()));
    }
}
