//! What the package says of itself (C-M), and what `make` does around Cargo, which is a script here. `make pack` and
//! what it makes are tried by `.ci/run`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::program::binary;

const PROGRAMS: [&str; 8] =
    ["echoserver", "smtp", "pop3", "forward", "pillarbox", "echo-test", "smtp-test", "pop3-test"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A folder with our `Makefile` and a Cargo that does what the script says. A folder `crates/probe` shows that it is not
/// the package.
fn sources(cargo: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::copy(root().join("Makefile"), dir.path().join("Makefile")).unwrap();
    fs::create_dir_all(dir.path().join("crates/probe")).unwrap();
    fs::write(dir.path().join("cargo"), cargo).unwrap();
    dir
}

fn make(dir: &TempDir, arguments: &[&str]) -> Output {
    // The make that runs the tests tells what runs below it of itself.
    let mut command = Command::new("make");
    for variable in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(variable);
    }
    command.current_dir(dir.path()).arg("CARGO=sh cargo").args(arguments).output().unwrap()
}

fn check_made(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

/// holds C-M2 C-D1 C-D2 C-D3
#[test]
fn the_readme_has_the_fields_of_the_assignment() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for field in [
        "**Full name and login**: ",
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
    // Whose they are is for who hands it in.
    let author = readme.lines().find_map(|line| line.strip_prefix("- **Full name and login**: ")).unwrap();
    assert!(author.contains(" / "), "{author}");
}

/// holds C-M1
#[test]
fn make_builds_every_program() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let programs = makefile.lines().find_map(|line| line.strip_prefix("PROGRAMS := ")).unwrap();
    assert_eq!(programs.split(' ').collect::<Vec<_>>(), PROGRAMS);
    for target in ["all:", "clean:", "pack:", "install:"] {
        assert!(makefile.lines().any(|line| line.starts_with(target)), "{target}");
    }
}

/// Cargo builds where it is told to, by `CARGO_TARGET_DIR` for one.
///
/// holds C-M1
#[test]
fn make_leaves_links_to_the_programs_wherever_cargo_builds_them() {
    let elsewhere = TempDir::new().unwrap();
    for (target, link) in [("$PWD/target/release", "target/release"), ("$CARGO_TARGET_DIR", "")] {
        let dir = sources(&format!(
            "case \"$*\" in *--message-format=json*) ;; *) exit 0 ;; esac\n\
             for program in {programs}; do\n\
             echo '{{\"reason\":\"compiler-artifact\",\"executable\":null}}'\n\
             echo \"{{\\\"reason\\\":\\\"compiler-artifact\\\",\\\"executable\\\":\\\"{target}/$program\\\",\\\"fresh\\\":true}}\"\n\
             done\n",
            programs = PROGRAMS.join(" "),
        ));
        let mut command = Command::new("make");
        command.current_dir(dir.path()).arg("CARGO=sh cargo").env("CARGO_TARGET_DIR", elsewhere.path());
        check_made(&command.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output().unwrap());
        let link = if link.is_empty() { elsewhere.path() } else { Path::new(link) };
        for program in PROGRAMS {
            assert_eq!(fs::read_link(dir.path().join(program)).unwrap(), link.join(program));
        }
    }
}

/// holds C-M1
#[test]
fn make_install_needs_no_cargo_when_all_is_built_and_strips() {
    let dir = sources("exit 1\n");
    for program in PROGRAMS {
        std::os::unix::fs::symlink(binary("echoserver"), dir.path().join(program)).unwrap();
    }
    let prefix = dir.path().join("installed");
    let prefix_is = format!("PREFIX={}", prefix.display());
    check_made(&make(&dir, &["install", &prefix_is]));
    for program in PROGRAMS {
        let installed = prefix.join("bin").join(program);
        let octets = |path: &Path| path.metadata().unwrap().len();
        assert!(octets(&installed) < octets(&binary("echoserver")), "{program} is stripped");
        assert!(Command::new(&installed).arg("-a").output().unwrap().status.success(), "{program} runs");
    }
    // What is missing has to be built.
    fs::remove_file(dir.path().join("smtp")).unwrap();
    assert!(!make(&dir, &["install", &prefix_is]).status.success());
}

/// holds C-M1
#[test]
fn make_pack_names_what_is_left_out_because_it_is_not_committed() {
    let dir = sources("for last do :; done\necho packed >\"$last\"\n");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(variable);
        }
        command.current_dir(dir.path()).args(["-c", "user.name=a", "-c", "user.email=a@localhost"]).args(arguments);
        check_made(&command.output().unwrap());
    };
    // `git archive` wants each path that is named.
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE",
        "crates/server/Cargo.toml",
        "crates/server/src/lib.rs",
        "crates/store/tests/conformance.rs",
        "crates/store/tests/common/mod.rs",
        "crates/store/src/check.rs",
    ] {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "all"]);
    let clean = make(&dir, &["pack"]);
    check_made(&clean);
    let stderr = String::from_utf8_lossy(&clean.stderr);
    assert!(!stderr.contains("warning"), "{stderr}");

    for file in ["crates/server/src/lib.rs", "crates/server/src/new.rs", "crates/store/src/check.rs", "notes"] {
        fs::write(dir.path().join(file), "changed").unwrap();
    }
    let changed = make(&dir, &["pack"]);
    check_made(&changed);
    let stderr = String::from_utf8_lossy(&changed.stderr);
    let words = [
        "warning: the package is made of what is committed",
        " M crates/server/src/lib.rs",
        "?? crates/server/src/new.rs",
    ];
    for word in words {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    // What is not packed may change.
    assert!(!stderr.contains("check.rs") && !stderr.contains("notes"), "{stderr}");
}
