//! What the package says of itself (C-M). `make pack` itself is run by the check in `.ci/run`.

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// holds C-M2 C-D1 C-D2 C-D3
#[test]
fn the_readme_has_the_fields_of_the_assignment() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for field in [
        "**Full name and login**: The Pillarbox Authors / pillarbox",
        "**Which features are implemented**",
        "milestone 1",
        "milestone 2",
        "milestone 3",
        "**Extra credit**",
        "**What does not work**",
        "**Outside code**",
        "**Notes**",
        "Start a new pthread",
        "MD5_Init",
        "The exact text",
        "loopback",
        "bare LF",
        "0x16",
    ] {
        assert!(readme.contains(field), "{field}");
    }
}

/// holds C-M1
#[test]
fn make_builds_every_program() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let programs = makefile.lines().find_map(|line| line.strip_prefix("PROGRAMS := ")).unwrap();
    for program in ["echoserver", "smtp", "pop3", "echo-test", "smtp-test", "pop3-test", "pillarbox"] {
        assert!(programs.split(' ').any(|built| built == program), "{program}");
    }
    for target in ["all:", "clean:", "pack:", "install:"] {
        assert!(makefile.lines().any(|line| line.starts_with(target)), "{target}");
    }
}
