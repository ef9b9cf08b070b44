//! Tests of `maildrop.rs`.

use std::fs;

use super::*;
use crate::scan::scan;

const FROM_LINE: &str = "From a Mon Aug 22 23:00:00 2016\n";

/// A mailbox with these messages.
fn mailbox(texts: &[&str]) -> (tempfile::TempDir, Snapshot, Vec<Entry>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mailbox");
    fs::write(&path, texts.iter().map(|text| format!("{FROM_LINE}{text}\n")).collect::<String>()).unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    let entries = scan(|buffer, offset| read_at(&file, buffer, offset)).unwrap();
    (dir, Snapshot { file: Arc::new(OpenMailbox::new(file)), path }, entries)
}

fn all(mut passage: Passage) -> Result<Vec<u8>, StoreError> {
    let mut text = Vec::new();
    while let Some(chunk) = passage.next()? {
        text.extend(chunk);
    }
    Ok(text)
}

/// holds C-P5
#[test]
fn a_short_message_is_read_at_once_if_it_is_in_memory() {
    let short = AT_ONCE_MAX_OCTETS as usize - FROM_LINE.len();
    let texts = ["", "a\n", ">From b\n", &("x".repeat(short - 1) + "\n"), &("x".repeat(short) + "\n")];
    let (_dir, mailbox, entries) = mailbox(&texts);
    assert_eq!(entries.len(), texts.len());
    for (entry, text) in entries.iter().zip(texts) {
        let passage = || Passage::new(mailbox.clone(), *entry);
        let expected = text.replace(">From", "From").replace('\n', "\r\n");
        assert_eq!(all(passage()).unwrap(), expected.as_bytes());
        let mut at_once = passage();
        match at_once.next_at_once() {
            Some(chunk) => {
                assert!(entry.end - entry.start <= AT_ONCE_MAX_OCTETS && at_once.is_complete);
                assert_eq!(chunk.unwrap().unwrap_or_default(), expected.as_bytes());
            }
            // It is long, or the file system does not say what is in memory. Then nothing of it has been taken.
            None => assert_eq!(all(at_once).unwrap(), expected.as_bytes()),
        }
    }
}

/// holds C-P5
#[test]
fn a_short_message_that_was_changed_is_not_shown() {
    let (_dir, mailbox, entries) = mailbox(&["a\n", "b\n"]);
    fs::write(&mailbox.path, format!("{FROM_LINE}a\n\n{FROM_LINE}c\n\n")).unwrap();
    let mut changed = Passage::new(mailbox.clone(), entries[1]);
    assert!(matches!(changed.next_at_once(), None | Some(Err(StoreError::Changed { .. }))));
    assert!(matches!(all(Passage::new(mailbox.clone(), entries[1])), Err(StoreError::Changed { .. })));
    // What is not there at all is not in memory either.
    mailbox.file.set_len(entries[1].start).unwrap();
    assert!(Passage::new(mailbox.clone(), entries[1]).next_at_once().is_none());
    assert!(matches!(all(Passage::new(mailbox, entries[1])), Err(StoreError::Changed { .. })));
}
