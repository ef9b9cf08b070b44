//! That documents agree with what they speak of.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What follows this text in a document, up to the next blank.
fn word_behind<'a>(document: &'a str, text: &str) -> &'a str {
    let at = document.find(text).unwrap_or_else(|| panic!("{text} is there")) + text.len();
    document[at..].split_whitespace().next().unwrap_or_default()
}

#[test]
fn the_tour_counts_octets_as_pop3_does() {
    let sent = ["Subject: hello", "", "It works."];
    let octets: usize = sent.iter().map(|line| line.len() + 2).sum();
    assert_eq!(
        word_behind(&read("README.md"), "RETR 1\n    250 OK                                       +OK "),
        octets.to_string()
    );
}

#[test]
fn the_readme_knows_every_exit_code() {
    let (readme, source) = (read("README.md"), read("crates/pillarbox/src/failure.rs"));
    let codes = source.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": u8 = "));
    let codes: Vec<_> = codes.map(|(_, code)| code.trim_end_matches(';')).collect();
    assert!(codes.len() >= 10, "{codes:?}");
    for code in codes {
        assert!(readme.contains(&format!("\n| {code} | ")), "{code}");
    }
}

/// Who is missing a program must learn of it before, wherever programs are listed.
#[test]
fn the_packages_for_the_interoperability_tests_are_listed_everywhere() {
    let needed = read("interop/needed.py");
    let (_, programs) = needed.split_once("\nPROGRAMS = {").unwrap();
    let (programs, _) = programs.split_once('}').unwrap();
    let packages: Vec<_> = programs.split(',').map(|pair| pair.rsplit('"').nth(1).unwrap()).collect();
    assert!(packages.contains(&"strace") && packages.contains(&"python3-aiosmtpd"), "{packages:?}");
    // Every Debian system has these.
    let usual = ["util-linux", "mount", "python3"];
    for file in ["README.md", "interop/README.md", ".ci/run"] {
        let text = read(file);
        let paragraph = text.split("\n\n").find(|paragraph| paragraph.contains("python3-aiosmtpd")).unwrap();
        for package in packages.iter().filter(|package| !usual.contains(package)) {
            assert!(paragraph.contains(package), "{file}: {package}");
        }
    }
}

#[test]
fn the_interoperability_tests_are_all_described() {
    let described = read("interop/README.md");
    for file in fs::read_dir(root().join("interop")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        if let Some(checks) = name.strip_prefix("check_").and_then(|name| name.strip_suffix(".py")) {
            // `check_kills.py` has the checks `kill.…`.
            let names = [checks, checks.trim_end_matches('s')].map(|name| format!("`{name}`"));
            let is_row = |line: &str| line.starts_with("| `") && names.iter().any(|name| line.contains(name));
            assert!(described.lines().any(is_row), "{checks}");
        }
    }
}

/// What can be read in an hour, by the files that the map begins with.
#[test]
fn an_hour_has_as_many_lines_as_is_said() {
    let files = ["session", "connection", "echo", "smtp"].map(|name| format!("crates/proto/src/{name}.rs"));
    let others = ["server/src/drive", "pillarbox/src/smtp", "pillarbox/src/refusal", "store/src/lib"];
    let files = files.into_iter().chain(others.map(|name| format!("crates/{name}.rs")));
    let lines: usize = files.map(|file| read(&file).lines().count()).sum();
    let said = 1_300;
    assert!((said * 3 / 4..said * 5 / 4).contains(&lines), "{lines} lines");
    for document in ["README.md", "ARCHITECTURE.md"] {
        assert!(read(document).contains("1,300"), "{document}");
    }
}

/// Every file that a document leads to is there.
#[test]
fn links_lead_somewhere() {
    let mut documents = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned(), "CHANGELOG.md".to_owned()];
    for folder in ["docs", "interop", "crates/probe/conversations"] {
        let files =
            fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        documents.extend(files.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")));
    }
    for document in documents {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let path = root().join(&document).with_file_name(file);
            assert!(target.contains("://") || file.is_empty() || path.exists(), "{document}: {target}");
        }
    }
}
