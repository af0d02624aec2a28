//! What of the files is ours to change, and what is left of them.
use super::*;
use mesh_plan::instance::InstanceKey;

const ME: &str = "11111111-1111-1111-1111-111111111111";
const HERE: &str = "host:/var/lib/mesh";

fn record(name: &str, ordinal: u32) -> Record {
    let key = InstanceKey { namespace: "shop".into(), name: name.into(), uid: format!("uid-{ordinal}") };
    Record::new(key, "mesh-shop.api-r1", ordinal, &format!("mesh-shop-{name}"), "2026-11-21T09:00:00Z".parse().unwrap())
}

fn text(path: &Path, body: &str) -> Wanted {
    let body = format!("[Unit]\nX-MeshStateDir={HERE}\n\n[Container]\nNetwork=n.network\n{body}Label={}={ME}\n", labels::CONTROLLER);
    Wanted::Text {
        path: path.to_owned(),
        text: header::add(&body, ME, "MeshService shop/api"),
        drop_in: path.with_extension("d").join("50-local.conf"),
    }
}

fn wanted(units: &Path, ordinal: u32) -> Vec<Wanted> {
    let paths = Paths::new(units, "shop", "api", "mesh-shop.api-r1", ordinal);
    let name = paths.template.file_name().unwrap().to_str().unwrap().to_owned();
    let own = format!(
        "ContainerName=mesh-shop-api-r1-{ordinal}\nPublishPort=127.0.0.1:2000{ordinal}:8080\n\
         Volume=mesh-shop-api-r1-{ordinal}-scratch:/scratch:rw\nVolume=mesh-shop-keep.volume:/keep:rw\n\
         Label={}=uid-{ordinal}\nLabel={}=shop\nLabel={}=api-r1-{ordinal}\n",
        labels::UID,
        labels::NAMESPACE,
        labels::INSTANCE
    );
    vec![
        text(&shared(units, "n.network"), ""),
        text(&paths.template, ""),
        Wanted::Link { path: paths.own.clone(), to: name },
        text(&paths.drop_in(), &own),
    ]
}

fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for path in listed(dir).unwrap() {
        if path.is_dir() && !path.is_symlink() {
            found.extend(tree(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}

#[test]
fn files_are_written_once_found_again_and_all_go_with_the_last_instance() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path();
    for ordinal in [0, 1] {
        assert!(bring_about(&wanted(units, ordinal), ME).unwrap());
        assert!(!bring_about(&wanted(units, ordinal), ME).unwrap(), "nothing to do the second time");
    }
    let mut known = found(units, ME).unwrap();
    known.sort_by_key(|record| record.ordinal);
    let expected = |ordinal: u32| Record {
        port: Some((20_000 + u16::try_from(ordinal).unwrap(), 8080)),
        volumes: vec![format!("mesh-shop-api-r1-{ordinal}-scratch")],
        made: known[0].made,
        ..record(&format!("api-r1-{ordinal}"), ordinal)
    };
    assert_eq!(known.iter().map(|record| Record { made: known[0].made, ..record.clone() }).collect::<Vec<_>>(), [expected(0), expected(1)]);
    assert_eq!(found(units, "another controller").unwrap(), []);
    assert_eq!(remove(units, &known[0], ME).unwrap(), Freed::default());
    let last = remove(units, &known[1], ME).unwrap();
    assert_eq!(last, Freed { revision: true, shared: vec![shared(units, "n.network")] });
    remove_own(&shared(units, "n.network"), ME).unwrap();
    assert_eq!(tree(units), [shown(&units.join(SHARED))]);
}

#[test]
fn what_an_earlier_state_directory_left_is_found_by_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path();
    let old = header::add("[Container]\nImage=x\n", "before the place was written down", "MeshService shop/web");
    write(&units.join("mesh-shop.web/mesh-shop.web-r1@.container"), old.as_bytes(), 0o644).unwrap();
    write(&units.join("mine.container.d/10-mesh.conf"), format!("[Unit]\nX-MeshStateDir={HERE}\n").as_bytes(), 0o644).unwrap();
    assert_eq!(left_by(units, HERE).unwrap(), None);
    bring_about(&wanted(units, 0), ME).unwrap();
    assert_eq!(left_by(units, HERE).unwrap().as_deref(), Some(ME));
    assert_eq!(left_by(units, "host:/var/lib/other").unwrap(), None);
}

#[test]
fn what_others_put_there_stays() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path();
    bring_about(&wanted(units, 0), ME).unwrap();
    let paths = Paths::of(units, &record("api-r1-0", 0));
    assert_eq!(paths, Paths::new(units, "shop", "api", "mesh-shop.api-r1", 0));
    let of_instance = paths.drop_ins.join("50-local.conf");
    let of_service = paths.folder.join("mesh-shop.api-.container.d/50-local.conf");
    let other = units.join("mine.container");
    for path in [&of_instance, &of_service, &other] {
        write(path, b"[Container]\nNetwork=n.network\n", 0o644).unwrap();
    }
    let freed = remove(units, &record("api-r1-0", 0), ME).unwrap();
    assert_eq!(freed, Freed { revision: true, shared: vec![] }, "somebody's own unit names the network");
    assert!([&of_instance, &of_service, &other].into_iter().all(|path| path.exists()));
    assert!(!paths.own.is_symlink() && !paths.template.exists() && !paths.drop_in().exists());
}

#[test]
fn a_file_that_is_not_as_it_was_made_here_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let units = dir.path();
    let files = wanted(units, 0);
    bring_about(&files, ME).unwrap();
    let path = Paths::of(units, &record("api-r1-0", 0)).template;
    let made = fs::read_to_string(&path).unwrap();
    for (there, expected) in [
        (format!("{made}Environment=A=b\n"), "edited by hand"),
        ("[Container]\nImage=x\n".to_owned(), "move it away"),
        (header::add("[Container]\nImage=x\n", "another", "x"), "if that is gone for good, stop its unit and remove the file"),
        (header::add("[Unit]\nX-MeshStateDir=elsewhere:/state\n", "another", "x"), "with the state directory elsewhere:/state"),
    ] {
        fs::write(&path, &there).unwrap();
        let error = bring_about(&files, ME).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), there);
    }
}
