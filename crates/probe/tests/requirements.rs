//! Every requirement is shown kept by something, and `docs/requirements.md` says by what.

use std::env;
use std::fs;
use std::path::Path;

#[path = "requirements/table.rs"]
mod table;

use table::Table;

#[test]
fn every_requirement_is_held_and_the_page_says_by_what() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..").canonicalize().unwrap();
    let mut table = Table::parse(&fs::read_to_string(here.join("requirements.txt")).unwrap());
    table.add_conversations(&here.join("conversations"));
    table.add_tests(&root).unwrap();
    assert!(table.complaints.is_empty(), "{}", table.complaints.join("\n"));

    let page = root.join("docs/requirements.md");
    let markdown = table.to_markdown();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, &markdown).unwrap();
    }
    assert_eq!(table.missing(), Vec::<&str>::new(), "these requirements are held by nothing");
    let written = fs::read_to_string(&page).unwrap_or_default();
    assert!(written == markdown, "docs/requirements.md is out of date: run this test with UPDATE_DOCS=1");
}
