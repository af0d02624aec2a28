//! `mesh apply`: objects from files by server-side apply, with strict validation; what is refused is told by file and line.
use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use clap::Args;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::{Status, TypeMeta, response::StatusCause},
};

use super::{
    delete::end,
    exit::{Code, Failure, Result, each},
    manifest::{self, Document},
    output,
    printer::Printer,
    resource::api_of,
    target::Connection,
};
use mesh_api::duration::Duration as Wait;

/// Who writes the fields, in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "mesh";

/// How often an object that changes meanwhile is looked at again.
const TRIES: usize = 20;

/// Create or change objects from files.
#[derive(Debug, Args)]
pub struct Apply {
    /// A file, a directory, or - for standard input; may be given several times.
    #[arg(short, long = "file", required = true, value_name = "FILE|DIR|-")]
    files: Vec<PathBuf>,
    /// Take fields over that another manager (kubectl, for example) has set.
    #[arg(long)]
    force_conflicts: bool,
    /// Check only: nothing is changed.
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for one of the same name that is being deleted: it is made again once that is gone.
    #[arg(long, default_value = "2m", value_name = "DURATION")]
    timeout: Wait,
}

/// How objects are applied.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Take fields over from other managers.
    pub force: bool,
    /// Let the API check, and change nothing.
    pub dry_run: bool,
    /// How long to wait for the end of what is being deleted.
    pub patience: Wait,
}

impl Default for How {
    fn default() -> Self {
        Self { force: false, dry_run: false, patience: Wait::from_secs(120) }
    }
}

/// Who is told what happens.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// A person at a terminal: everything.
    Terminal,
    /// Who looks at a run: only why it goes no further.
    Run(&'a Printer),
    /// Nobody.
    Nobody,
}

impl Told<'_> {
    fn done(self, line: &str) -> Result {
        if matches!(self, Self::Terminal) { output::print_line(line) } else { Ok(()) }
    }

    async fn waiting(self, line: String) -> Result {
        match self {
            Self::Terminal => output::print_line(&line)?,
            Self::Run(printer) => printer.say(line).await,
            Self::Nobody => {}
        }
        Ok(())
    }
}

impl Apply {
    /// Applies every document; the rest goes on when one is refused.
    pub async fn run(self, connection: &Connection) -> Result {
        let documents = manifest::read(&self.files)?;
        let how = How { force: self.force_conflicts, dry_run: self.dry_run, patience: self.timeout };
        apply_all(connection, &documents, how, Told::Terminal).await
    }
}

/// Applies documents one after the other, and reports each.
///
/// # Errors
/// The complaints about all that were refused, with the code of the first; [`Code::Partial`] if others were applied.
pub async fn apply_all(connection: &Connection, documents: &[Document], how: How, told: Told<'_>) -> Result {
    each(documents, async |document| {
        let act = apply(connection, document, how, told).await?;
        let dry = if how.dry_run { " (dry run)" } else { "" };
        told.done(&format!("{} {act}{dry}", document.title()))
    })
    .await
}

/// What applying one has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Created,
    Configured,
    Unchanged,
}

impl Act {
    fn of(before: Option<&DynamicObject>, after: &DynamicObject) -> Self {
        match before {
            None => Self::Created,
            Some(before) if before.uid() != after.uid() => Self::Created,
            Some(before) if wishes(before) == wishes(after) => Self::Unchanged,
            Some(_) => Self::Configured,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// What people have written into an object, without what the API and the controllers keep there.
fn wishes(object: &DynamicObject) -> (serde_json::Value, BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut data = object.data.clone();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("status");
    }
    (data, object.labels().clone(), object.annotations().clone())
}

/// Applies one. What is being deleted takes changes as well, and takes them with it: that one is waited for.
async fn apply(connection: &Connection, document: &Document, how: How, told: Told<'_>) -> Result<Act> {
    let (api, resource) = api_of(connection, document).await?;
    let mut object = document.object.clone();
    object.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
    let mut waited = false;
    loop {
        let before = match api.get_opt(document.name()).await {
            Err(kube::Error::Api(status)) => return Err(refusal(document, &status)),
            before => before?,
        };
        let mut answer = patch(&api, document.name(), &object, how).await;
        if matches!(&answer, Err(kube::Error::Api(status)) if is_with_ourselves(status)) {
            answer = take_over(&api, document.name(), &object, how).await;
        }
        match answer {
            Ok(dying) if dying.metadata.deletion_timestamp.is_some() => {
                if !waited {
                    told.waiting(format!("{} is being deleted: it is made again once it is gone", document.title())).await?;
                }
                if how.dry_run {
                    return Ok(Act::Created);
                }
                waited = true;
                gone(&api, document, &dying, how.patience).await?;
            }
            Ok(applied) => return Ok(Act::of(before.as_ref(), &applied)),
            Err(kube::Error::Api(status)) => return Err(refusal(document, &status)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until one that is being deleted is gone.
async fn gone(api: &Api<DynamicObject>, document: &Document, dying: &DynamicObject, patience: Wait) -> Result {
    let uid = dying.uid().unwrap_or_default();
    let end = end(api.clone(), document.name(), &uid);
    let late = || {
        let held = dying.finalizers().join(", ");
        let what = document.title();
        Failure::new(
            Code::NotReady,
            format!(
                "{}: {what} is being deleted and not gone after {}; it waits for {held}. It is not made again: --timeout waits longer",
                document.place(),
                patience
            ),
        )
    };
    tokio::time::timeout(patience.get().max(Duration::from_millis(1)), end).await.unwrap_or_else(|_| Err(late()))
}

async fn patch(api: &Api<DynamicObject>, name: &str, object: &DynamicObject, how: How) -> kube::Result<DynamicObject> {
    let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
    params.force = how.force;
    params.dry_run = how.dry_run;
    api.patch(name, &params, &Patch::Apply(object)).await
}

/// Whether nobody else has the fields: `mesh scale` and `mesh restart` wrote them, and what the same person applies now is newer.
fn is_with_ourselves(status: &Status) -> bool {
    let causes = causes(status);
    let ours = format!("conflict with \"{FIELD_MANAGER}\"");
    // Behind the name stand the subresource and the version.
    let is_ours = |message: &str| message.strip_prefix(&ours).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    status.code == 409 && !causes.is_empty() && causes.iter().all(|cause| is_ours(&cause.message))
}

/// Takes our own fields over, and none that somebody else may get meanwhile: what is looked at is what is changed.
async fn take_over(api: &Api<DynamicObject>, name: &str, object: &DynamicObject, how: How) -> kube::Result<DynamicObject> {
    let mut object = object.clone();
    let mut tries = 0;
    loop {
        object.metadata.resource_version = api.get(name).await?.metadata.resource_version;
        let answer = match patch(api, name, &object, how).await {
            Err(kube::Error::Api(status)) if is_with_ourselves(&status) => patch(api, name, &object, How { force: true, ..how }).await,
            answer => answer,
        };
        tries += 1;
        // Its status is written all the time while it scales.
        match answer {
            Err(kube::Error::Api(status)) if status.code == 409 && causes(&status).is_empty() && tries < TRIES => {}
            answer => return answer,
        }
    }
}

fn causes(status: &Status) -> &[StatusCause] {
    status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default()
}

fn refusal(document: &Document, status: &Status) -> Failure {
    let failure = Failure::from(kube::Error::Api(status.clone().boxed()));
    let complaint = document.complaint(status);
    match failure.code {
        Code::Unreachable => failure.context(format!("{}: {}", document.place(), document.title())),
        Code::Conflict if !causes(status).is_empty() => {
            Failure::new(Code::Conflict, format!("{complaint}; --force-conflicts takes the fields over"))
        }
        code => Failure::new(code, complaint),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_done_is_told_by_what_people_have_written() {
        let object = |more: serde_json::Value| {
            let mut object =
                json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}, "spec": {"replicas": 1}, "status": {"ready": 1}});
            object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value::<DynamicObject>(object).unwrap()
        };
        let before = object(json!({}));
        for (after, act) in [
            (json!({"status": {"ready": 2}}), Act::Unchanged),
            (json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "2"}}), Act::Unchanged),
            (json!({"metadata": {"name": "a", "uid": "u", "labels": {"a": "b"}}}), Act::Configured),
            (json!({"spec": {"replicas": 2}}), Act::Configured),
            (json!({"metadata": {"name": "a", "uid": "another"}}), Act::Created),
        ] {
            assert_eq!(Act::of(Some(&before), &object(after.clone())), act, "{after}");
        }
        assert_eq!(Act::of(None, &before), Act::Created);
    }

    #[test]
    fn a_conflict_is_with_ourselves_only_if_nobody_else_is_in_it() {
        let is = |code: u16, messages: &[&str]| {
            let causes: Vec<StatusCause> = messages
                .iter()
                .map(|message| {
                    serde_json::from_value(json!({"reason": "FieldManagerConflict", "message": message, "field": ".spec"})).unwrap()
                })
                .collect();
            let status: Status = serde_json::from_value(json!({"code": code, "details": {"causes": causes}})).unwrap();
            is_with_ourselves(&status)
        };
        let scaled = "conflict with \"mesh\" with subresource \"scale\" using mesh-controller.dev/v1alpha1";
        assert!(is(409, &[scaled]) && is(409, &["conflict with \"mesh\"", scaled]));
        for (code, messages) in [
            (409, &[][..]),
            (422, &[scaled]),
            (409, &["conflict with \"kubectl\""]),
            (409, &[scaled, "conflict with \"kubectl\" with subresource \"scale\""]),
            (409, &["conflict with \"mesh\"er\""]),
        ] {
            assert!(!is(code, messages), "{code} {messages:?}");
        }
    }
}
