//! Real mail programs at work in the same mailbox. A program that is not installed is left out.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::Folder;
use pillarbox_store::{Maildrop, Store, StoreError};

const MESSAGES: usize = 25;

/// Appends under lock(), as its documentation shows.
const PYTHON: &str = r#"
import mailbox, sys, time
def locked(path, work):
    while True:
        box = mailbox.mbox(path)
        try:
            box.lock()
        except mailbox.ExternalClashError:
            box.close()
            time.sleep(0.003)
            continue
        try:
            # What was read before the lock was had may be old.
            fresh = mailbox.mbox(path)
            work(fresh)
            fresh.flush()
        finally:
            box.unlock()
        box.close()
        return
for number in range(int(sys.argv[2])):
    locked(sys.argv[1], lambda box: box.add("Subject: python %d\n\nFrom here\n" % number))
"#;

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
        || Command::new(program).arg("-v").stdin(Stdio::null()).output().is_ok()
}

/// Ours, Python's `mailbox` and procmail append at once while a session fetches and removes.
///
/// holds C-P8
#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_each_program_is_there_once() {
    let folder = Folder::new(&[("alice", "")]);
    let mailbox = folder.path("alice.mbox");
    let mut others = Vec::new();
    if is_installed("python3") {
        let python = Command::new("python3").args(["-c", PYTHON]).arg(&mailbox).arg(MESSAGES.to_string()).spawn();
        let mut python = python.unwrap();
        others.push(("python", std::thread::spawn(move || assert!(python.wait().unwrap().success()))));
    }
    if is_installed("procmail") {
        let recipe = folder.path("procmailrc");
        // Its own lock file is the dotlock; it locks with fcntl as well.
        let content = format!("LOCKSLEEP=1\nVERBOSE=no\nDEFAULT={0}\n:0:\n{0}\n", mailbox.display());
        fs::write(&recipe, content).unwrap();
        others.push((
            "procmail",
            std::thread::spawn(move || {
                for number in 0..MESSAGES {
                    let mut procmail =
                        Command::new("procmail").arg("-m").arg(&recipe).stdin(Stdio::piped()).spawn().unwrap();
                    let message =
                        format!("From p Mon Aug 22 23:00:00 2016\nSubject: procmail {number}\n\n>From here\n");
                    procmail.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
                    assert!(procmail.wait().unwrap().success());
                }
            }),
        ));
    }
    let store = folder.store.clone().with_lock_timeout(Duration::from_secs(60));
    let ours = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..MESSAGES {
                let text = format!("Subject: ours {number}\r\n\r\nFrom here\r\n");
                common::deliver(&store, &["alice"], &text).await.unwrap();
            }
        }
    });
    let alice = common::mailbox(&store, "alice").await;
    let mut found = Vec::new();
    let mut is_last = false;
    loop {
        let maildrop = store.open(&alice).await.unwrap();
        let listed = common::texts(&maildrop).await;
        // All but the last, so that there is something to move.
        let delete: Vec<usize> = (0..listed.len().saturating_sub(usize::from(!is_last))).collect();
        match maildrop.commit(&delete).await {
            Ok(()) => found.extend(listed.into_iter().take(delete.len())),
            Err(StoreError::Changed { .. }) => panic!("nobody changes what is there"),
            Err(error) => panic!("{error}"),
        }
        if is_last {
            break;
        }
        is_last = ours.is_finished() && others.iter().all(|(_, other)| other.is_finished());
    }
    ours.await.unwrap();
    let mut programs = vec!["ours"];
    for (program, other) in others {
        other.join().unwrap();
        programs.push(program);
    }
    for program in &programs {
        for number in 0..MESSAGES {
            let subject = format!("Subject: {program} {number}\r\n");
            assert_eq!(found.iter().filter(|text| text.starts_with(&subject)).count(), 1, "{subject:?} in {found:#?}");
        }
    }
    assert_eq!(found.len(), programs.len() * MESSAGES);
    assert_eq!(folder.mbox("alice"), "");
}
