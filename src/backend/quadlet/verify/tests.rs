//! What `verify` finds, a line per mistake.
use super::*;

fn findings(path: &str, text: &str, podman: Podman) -> Vec<String> {
    let files = BTreeMap::from([(path.to_owned(), text.to_owned())]);
    verify(&files, podman).iter().map(ToString::to_string).collect()
}

#[test]
fn what_quadlet_takes_without_a_word_is_found() {
    let image = "[Container]\nImage=localhost/a:1\n";
    for (text, expected) in [
        (
            format!("{image}Memroy=1\n"),
            "a.container:3: error: [Container] has no key \"Memroy\": Quadlet makes no unit of this file; did you mean Memory=?",
        ),
        (
            format!("{image}image=x\n"),
            "a.container:3: error: [Container] has no key \"image\": Quadlet makes no unit of this file; did you mean Image=?",
        ),
        (
            format!("{image}Memory=1\n"),
            "a.container:3: error: Memory= needs Podman 5.5, and this is for 5.4: Quadlet makes no unit of this file",
        ),
        (
            format!("{image}ReadOnly=perhaps\n"),
            "a.container:3: error: ReadOnly=perhaps: Quadlet takes every word but true, yes, on and 1 for false",
        ),
        (
            format!("{image}[Servise]\n"),
            "a.container:3: error: the section [Servise] is not read in this file: everything in it is skipped without a word",
        ),
        (format!("{image}[Service]\nRestrat=always\n"), "a.container:4: warning: systemd knows no Restrat= in [Service] and skips it"),
        (
            format!("{image}[Service]\nUser=bob\n"),
            "a.container:4: error: User=bob in [Service]: Podman itself would run as that user; write it into [Container]",
        ),
        (
            format!("{image}Network=n.network\n"),
            "a.container:3: error: Network= names n.network, which is not there: Quadlet makes no unit of this file",
        ),
        (
            format!("{image}Exec=a \"\" b\n"),
            "a.container:3: error: Exec=: Quadlet stops reading at an empty word; what stands behind it is lost",
        ),
        (format!("{image}Exec=a ; b\n"), "a.container:3: error: Exec=: a lone semicolon ends the command for systemd"),
        (format!("{image}Environment=\"A=1\n"), "a.container:3: error: Environment=: a quote is not closed"),
        ("[Container]\nExec=a\n".to_owned(), "a.container:1: error: it has neither Image= nor Rootfs=: Quadlet makes no unit of this file"),
        (
            "[Container]\nImage\n".to_owned(),
            "a.container:2: error: \"Image\" has no '=': it is neither a comment nor a section nor KEY=VALUE",
        ),
        (
            format!("{image}Label=a\rb\n"),
            "a.container:3: error: it contains the control character '\\r', which ends the line for systemd or is lost",
        ),
    ] {
        let found = findings("a.container", &text, Podman::new(5, 4));
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn what_is_right_is_not_complained_of() {
    let files = [
        (
            "u/a.container",
            "# c\n[Unit]\nAfter=b.container\n[Container]\nImage=i\nNetwork=n.network:alias=x\nVolume=v.volume:/v\nExec=a \\\n  b\n[Service]\nRestart=always\n[X-Mine]\nA=b\n",
        ),
        ("u/b.container", "[Container]\nImage=i\n"),
        ("u/b.container.d/10.conf", "[Container]\nReadOnly=yes\n"),
        ("u/n.network", "[Network]\n"),
        ("u/v.volume", "[Volume]\n"),
        ("s/r.socket", "[Socket]\nListenStream=80\n"),
        ("s/a.timer", "[Timer]\nOnCalendar=*-*-* 02:30:00 UTC\nPersistent=true\nFixedRandomDelay=true\n"),
        ("u/notes.txt", "whatever"),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    assert_eq!(verify(&files, Podman::new(5, 4)), []);
}

#[test]
fn a_misspelt_key_of_a_timer_is_found() {
    let found = findings("s/a.timer", "[Timer]\nOnCalender=daily\n[Container]\nImage=i\n", Podman::new(5, 4));
    assert_eq!(
        found,
        [
            "s/a.timer:2: warning: systemd knows no OnCalender= in [Timer] and skips it",
            "s/a.timer:3: error: the section [Container] is not read in this file: everything in it is skipped without a word",
        ]
    );
}

#[test]
fn a_drop_in_without_its_unit_is_found() {
    let found = findings("u/a@1.container.d/x.conf", "[Container]\nReadOnly=yes\n", Podman::new(5, 4));
    assert_eq!(found, ["u/a@1.container.d/x.conf:1: warning: there is no a@1.container for this drop-in: it is not read"]);
}

#[test]
fn a_value_that_is_split_at_its_spaces_is_found() {
    let image = "[Container]\nImage=localhost/a:1\n";
    let split =
        "Environment=: Quadlet splits it at white space, and \"world\" has no '=': put quotes around the whole, \"GREETING=hello world\"";
    for (text, podman, expected) in [
        (format!("{image}Environment=GREETING=hello world\n"), (5, 4), vec![format!("a.container:3: error: {split}")]),
        (format!("{image}Environment=GREETING=hello world\n"), (5, 7), vec![format!("a.container:3: error: {split}")]),
        (
            format!("{image}Label=of=a b\n"),
            (5, 4),
            vec!["a.container:3: error: Label=: Quadlet splits it at white space, and \"b\" has no '=': put quotes around the whole, \"of=a b\"".to_owned()],
        ),
        (
            format!("{image}[Service]\nEnvironment=GREETING=hello world\n"),
            (5, 4),
            vec![format!("a.container:4: error: {}", split.replace("Quadlet", "systemd"))],
        ),
        (
            format!("{image}Environment=HOME\n"),
            (5, 5),
            vec!["a.container:3: error: Environment=: \"HOME\" has no '=', and is skipped: write NAME=VALUE".to_owned()],
        ),
        (format!("{image}Environment=HOME LANG\n"), (5, 6), vec![]),
        (format!("{image}Environment=A=b \"C=d e\" F=\"g h\"\n[Service]\nEnvironment=\"A=b c\"\n"), (5, 4), vec![]),
    ] {
        assert_eq!(findings("a.container", &text, Podman::new(podman.0, podman.1)), expected, "{text}");
    }
}

#[test]
fn where_podman_has_no_quadlet_that_is_said_once_for_each_file() {
    let text = "[Container]\nImage=localhost/a:1\nMemory=1\n";
    let [said] = &findings("a.container", text, Podman::new(4, 3))[..] else { panic!("once") };
    assert!(said.starts_with("a.container:1: error: Quadlet came with Podman 4.4, and this is for 4.3"), "{said}");
    assert_eq!(findings("a.service", "[Service]\nExecStart=true\n", Podman::new(4, 3)), [""; 0], "a plain service is none of its files");
}
