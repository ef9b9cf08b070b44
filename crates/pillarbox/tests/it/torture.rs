//! `pillarbox torture`: a short run finds nothing, and says so; a folder in use is left alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::program::binary;

fn run(dir: &Path, options: &[&str]) -> Output {
    let mut command = Command::new(binary("pillarbox"));
    command.arg("torture").args(options).arg(dir).stdin(Stdio::null()).output().unwrap()
}

/// A number of the verdict.
fn figure(json: &str, name: &str) -> u64 {
    let (_, rest) = json.split_once(&format!("\"{name}\": ")).unwrap_or_else(|| panic!("no {name} in {json}"));
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

/// holds C-S9 C-P7 C-P8
#[test]
fn servers_that_are_killed_lose_nothing() {
    // On a busy machine little may come of a few seconds.
    for time in ["4s", "20s", "100s"] {
        let dir = tempfile::tempdir().unwrap();
        let output = run(&dir.path().join("mail"), &["--time", time, "--clients", "8", "--seed", "7", "--json"]);
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(output.status.code(), Some(0), "{stdout}{stderr}");
        let json = stdout.lines().last().unwrap();
        for name in ["lost", "twice", "torn", "problems"] {
            assert_eq!(figure(json, name), 0, "{json}");
        }
        assert_eq!(figure(json, "seed"), 7);
        if ["kills", "acknowledged", "fetched"].iter().all(|name| figure(json, name) > 0) {
            return;
        }
    }
    panic!("nothing was killed, sent or fetched in 100 seconds");
}

#[test]
fn a_folder_that_is_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine"), "").unwrap();
    let output = run(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(73));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("is not empty; name a new folder"), "{stderr}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
