//! `mesh-controller crd`: the `CustomResourceDefinition`s as YAML, as they stand in `crds/`.
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use super::{exit::Result, output};
use mesh_api::crds;

/// Print the CustomResourceDefinitions as YAML.
#[derive(Debug, Args)]
pub struct Crd {
    /// Write a file per kind into this directory instead.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

impl Crd {
    /// Prints or writes them.
    pub fn run(self) -> Result {
        let Some(dir) = self.output_dir else {
            let documents: Vec<String> = crds::all().iter().map(yaml).collect::<anyhow::Result<_>>()?;
            return output::print(&documents.join("---\n"));
        };
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        for crd in crds::all() {
            let path = dir.join(file_name(&crd));
            std::fs::write(&path, yaml(&crd)?).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// The file of a definition: `meshservices.yaml`.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.yaml", crd.spec.names.plural)
}

/// A definition as YAML.
pub fn yaml(crd: &CustomResourceDefinition) -> anyhow::Result<String> {
    serde_saphyr::to_string(crd).with_context(|| format!("{} as YAML", crd.spec.names.kind))
}
