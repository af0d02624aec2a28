//! What stands in the way at start: missing CRDs and missing permissions. All of it is named at once, with the command that mends it; then it is looked at again.
use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

use crate::permissions::{CONTROLLER, Permission, Scope};
use mesh_api::{GROUP, VERSION, crds};

/// Questions under way at once.
const AT_ONCE: usize = 16;

/// What stands in the way, a line for each thing; nothing if nothing does.
pub(super) async fn obstacles(client: &Client, namespace: &str) -> kube::Result<Vec<String>> {
    let (definitions, permissions) = tokio::try_join!(definitions(client), permissions(client, namespace))?;
    Ok(definitions.into_iter().chain(permissions).collect())
}

/// The kinds that are not served in our version.
async fn definitions(client: &Client) -> kube::Result<Option<String>> {
    let version = format!("{GROUP}/{VERSION}");
    let served: BTreeSet<String> = match client.list_api_group_resources(&version).await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    let wanted = crds::all().into_iter().map(|crd| crd.spec.names.plural);
    let missing: Vec<String> = wanted.filter(|name| !served.contains(name)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let groups = client.list_api_groups().await?.groups;
    let others = groups.into_iter().find(|group| group.name == GROUP).map(|group| group.versions).unwrap_or_default();
    let others: Vec<String> = others.into_iter().map(|other| other.group_version).filter(|other| *other != version).collect();
    Ok(Some(definitions_text(&missing, &version, &others)))
}

fn definitions_text(missing: &[String], version: &str, others: &[String]) -> String {
    let other = if others.is_empty() { String::new() } else { format!(" (it serves {})", others.join(", ")) };
    format!(
        "the cluster does not serve {} in {version}{other}: its CRDs are missing or of another version; \
         `mesh-controller crd | kubectl apply --server-side -f -` or the chart mesh-controller-crds installs them",
        missing.join(", ")
    )
}

/// What the controller does and this user may not.
async fn permissions(client: &Client, namespace: &str) -> kube::Result<Option<String>> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut questions = Vec::new();
    for permission in CONTROLLER {
        for verb in permission.verbs {
            questions.extend(self::questions(permission, verb, namespace));
        }
    }
    let asked = questions.into_iter().map(|question| refused(reviews.clone(), question));
    let refused: Vec<Option<String>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    let refused: Vec<String> = refused.into_iter().flatten().collect();
    if refused.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "{} may not {}; `kubectl apply --server-side -f deploy/` grants what the controller needs, or the chart with rbac.create",
        who(client).await,
        refused.join(", ")
    )))
}

/// Who this process is to the API, as far as that says it.
async fn who(client: &Client) -> String {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let name = answer.ok().and_then(|review| review.status?.user_info?.username);
    name.unwrap_or_else(|| "this user".to_owned())
}

/// The review of one verb, for each name if it is only for some.
fn questions(permission: &Permission, verb: &str, namespace: &str) -> Vec<ResourceAttributes> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub.to_owned())),
        None => (permission.resource, None),
    };
    let question = ResourceAttributes {
        group: Some(permission.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace: (permission.scope == Scope::System).then(|| namespace.to_owned()),
        ..ResourceAttributes::default()
    };
    if permission.names.is_empty() {
        return vec![question];
    }
    permission.names.iter().map(|name| ResourceAttributes { name: Some((*name).to_owned()), ..question.clone() }).collect()
}

/// What was refused, in words; nothing if it is allowed.
async fn refused(reviews: Api<SelfSubjectAccessReview>, question: ResourceAttributes) -> kube::Result<Option<String>> {
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(question.clone()), ..SelfSubjectAccessReviewSpec::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(if answer.status.is_some_and(|status| status.allowed) { None } else { Some(words(&question)) })
}

/// `patch deployments.apps`, `get secrets/x in mesh-system`.
fn words(question: &ResourceAttributes) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let group = Some(text(&question.group)).filter(|group| !group.is_empty()).map(|group| format!(".{group}")).unwrap_or_default();
    let sub = question.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
    let name = question.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let namespace = question.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{} {}{group}{sub}{name}{namespace}", text(&question.verb), text(&question.resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_verb_resource_group_name_and_namespace() {
        let status = CONTROLLER.iter().find(|permission| permission.resource == "meshservices/status").unwrap();
        let all: Vec<String> = questions(status, "patch", "mesh-system").iter().map(words).collect();
        assert_eq!(all, ["patch meshservices.mesh-controller.dev/status"]);
        let secret = CONTROLLER.iter().find(|permission| permission.resource == "secrets" && !permission.names.is_empty()).unwrap();
        let all: Vec<String> = questions(secret, "get", "here").iter().map(words).collect();
        assert_eq!(all, ["get secrets mesh-router-cookie-keys in here"]);
    }

    #[test]
    fn missing_definitions_are_named_with_what_is_served_instead_and_the_remedy() {
        let text = definitions_text(&["meshservices".to_owned()], "mesh-controller.dev/v1alpha1", &["mesh-controller.dev/v9".to_owned()]);
        assert!(
            text.starts_with("the cluster does not serve meshservices in mesh-controller.dev/v1alpha1 (it serves mesh-controller.dev/v9)"),
            "{text}"
        );
        assert!(text.contains("kubectl apply --server-side"), "{text}");
    }
}
