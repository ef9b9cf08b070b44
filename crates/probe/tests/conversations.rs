//! The conversation files themselves: all of them can be read, hold something, and tell testers nothing they cannot do.

use std::path::Path;

use pillarbox_probe::conversations_in;

const GROUPS: [&str; 3] = ["echo", "smtp", "pop3"];

#[test]
fn every_file_can_be_read_and_holds_something() {
    for group in GROUPS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conversations").join(group);
        let conversations = conversations_in(&folder).unwrap_or_else(|error| panic!("{error}"));
        assert!(!conversations.is_empty(), "{group} has none");
        for conversation in conversations {
            assert!(!conversation.holds.is_empty(), "{} holds nothing", conversation.name());
            assert!(!conversation.steps.is_empty(), "{} says nothing", conversation.name());
        }
    }
}
