//! The definitions in `crds/` are those that the program makes, and a real API server takes them: they are structural.
use std::path::Path;

use mesh_controller::{api::crds, cli::crd};

#[test]
fn the_files_in_crds_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut names = Vec::new();
    for definition in crds::all() {
        let (name, made) = (crd::file_name(&definition), crd::yaml(&definition).unwrap());
        mesh_gear::golden::check(&format!("crds/{name}"), &made);
        names.push(name);
    }
    let mut there: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    names.sort();
    assert_eq!(there, names);
}

#[test]
fn what_is_written_reads_back_as_the_same_definition() {
    for definition in crds::all() {
        let yaml = crd::yaml(&definition).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(back, serde_json::to_value(&definition).unwrap());
    }
}
