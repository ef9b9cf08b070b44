//! The man pages in `docs/man` are what the definitions of the options say.

#![allow(clippy::unwrap_used)]

use std::env;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use pillarbox::CLASSIC_PASSWORD;
use pillarbox::cli::{Echoserver, Forward, Pillarbox, Pop3, Smtp};
use pillarbox_probe::tester::{EchoTest, Pop3Test, SmtpTest};

/// Terms and what is said of them.
type Items = &'static [(&'static str, &'static str)];

const OK: (&str, &str) = ("0", "Success; a server: it was stopped by a signal.");
const USAGE: (&str, &str) = ("64", "Wrong usage.");
const NO_INPUT: (&str, &str) = ("66", "DIR does not exist, or cannot be read and written.");
const IN_USE: (&str, &str) = ("69", "A port is in use, or the address is not one of this host's.");
const SYSTEM: (&str, &str) = ("71", "The system gives no threads or descriptors.");
const CANNOT_CREATE: (&str, &str) = ("73", "A file cannot be made: the disk is full, or the folder takes none.");
const IO: (&str, &str) = ("74", "An error while reading or writing.");
const RESULTS: (&str, &str) = ("74", "An error while reading or writing; the results could not be written.");
const NOT_PERMITTED: (&str, &str) = ("77", "Not permitted: ports below 1024 are for privileged programs.");

const MAILBOX: (&str, &str) =
    ("DIR/user.mbox", "The mailbox of user@localhost, an mbox file. It counts as soon as it exists.");
const DOTLOCK: (&str, &str) =
    ("DIR/user.mbox.lock", "Its dotlock, with the id of the process that has it; an fcntl lock is taken as well.");
const QUEUE: (&str, &str) = ("DIR/mqueue", "Mail for other domains that is not delivered yet, an mbox file.");
const WORKING: (&str, &str) = (
    "DIR/.pillarbox/",
    "What is under way. A program that starts, or that locks a mailbox next, repairs from it what a killed one has left.",
);

const STOP: (&str, &str) = (
    "SIGINT, SIGTERM",
    "Each client is told, a commit that has begun is finished, and the program ends within two seconds.",
);
const STOP_SENDING: (&str, &str) =
    ("SIGINT, SIGTERM", "The program ends; what was not delivered is in the queue, and the exit status is 75.");

/// The exit codes of the testers.
const JUDGED: Items = &[
    ("0", "All was right."),
    ("1", "Something was wrong."),
    USAGE,
    ("69", "The server cannot be reached."),
    ("74", "All was right, but what was said could not be written."),
];

struct Page {
    name: &'static str,
    exit: Items,
    files: Items,
    signals: Items,
    see_also: &'static str,
}

const PAGES: &[Page] = &[
    Page {
        name: "echo-test",
        exit: JUDGED,
        files: &[],
        signals: &[],
        see_also: "echoserver(1), smtp-test(1), pop3-test(1)",
    },
    Page {
        name: "smtp-test",
        exit: JUDGED,
        files: &[],
        signals: &[],
        see_also: "smtp(1), pop3-test(1), echo-test(1), RFC 5321",
    },
    Page {
        name: "pop3-test",
        exit: JUDGED,
        files: &[],
        signals: &[],
        see_also: "pop3(1), smtp-test(1), echo-test(1), RFC 1939",
    },
    Page {
        name: "echoserver",
        exit: &[OK, USAGE, IN_USE, SYSTEM, NOT_PERMITTED],
        files: &[],
        signals: &[STOP],
        see_also: "echo-test(1), smtp(1), pop3(1)",
    },
    Page {
        name: "smtp",
        exit: &[OK, USAGE, NO_INPUT, IN_USE, SYSTEM, CANNOT_CREATE, IO, NOT_PERMITTED],
        files: &[MAILBOX, DOTLOCK, QUEUE, WORKING],
        signals: &[STOP],
        see_also: "smtp-test(1), pop3(1), forward(1), pillarbox-serve(1), RFC 5321",
    },
    Page {
        name: "pop3",
        exit: &[OK, USAGE, NO_INPUT, IN_USE, SYSTEM, CANNOT_CREATE, IO, NOT_PERMITTED],
        files: &[MAILBOX, DOTLOCK, WORKING],
        signals: &[STOP],
        see_also: "pop3-test(1), smtp(1), pillarbox-serve(1), RFC 1939",
    },
    Page {
        name: "forward",
        exit: &[
            ("0", "The queue is empty."),
            USAGE,
            NO_INPUT,
            SYSTEM,
            CANNOT_CREATE,
            IO,
            ("75", "Something is left in the queue, or the queue is locked by another program."),
        ],
        files: &[QUEUE, WORKING],
        signals: &[STOP_SENDING],
        see_also: "smtp(1), pillarbox-serve(1), RFC 5321",
    },
    Page {
        name: "pillarbox",
        exit: &[OK, USAGE, ("other", "As the page of the subcommand says.")],
        files: &[],
        signals: &[],
        see_also: "pillarbox-serve(1), pillarbox-fsck(1), pillarbox-user(1), smtp(1), pop3(1), forward(1)",
    },
    Page {
        name: "pillarbox-fsck",
        exit: &[
            ("0", "All is sound."),
            USAGE,
            ("65", "Something is damaged."),
            NO_INPUT,
            (
                "74",
                "Something cannot be read, and nothing is damaged in what could be; or the findings could not be written.",
            ),
            ("75", "Nothing is damaged, but something is being written to, or waits for the next start."),
        ],
        files: &[MAILBOX, QUEUE, WORKING],
        signals: &[],
        see_also: "pillarbox-serve(1), smtp(1), pop3(1), forward(1)",
    },
    Page {
        name: "pillarbox-serve",
        exit: &[OK, USAGE, NO_INPUT, IN_USE, SYSTEM, CANNOT_CREATE, IO, NOT_PERMITTED],
        files: &[MAILBOX, DOTLOCK, QUEUE, WORKING],
        signals: &[STOP],
        see_also: "pillarbox-user(1), smtp(1), pop3(1), forward(1)",
    },
    Page {
        name: "pillarbox-torture",
        exit: &[
            ("0", "No message was lost, twice or torn."),
            USAGE,
            ("70", "One was; the folder is left as it is."),
            SYSTEM,
            ("73", "The folder cannot be made, or is not empty."),
            ("74", "A mailbox could not be read at the end, or the figures could not be written."),
        ],
        files: &[MAILBOX, WORKING],
        signals: &[],
        see_also: "pillarbox-fsck(1), pillarbox-serve(1)",
    },
    Page {
        name: "pillarbox-user",
        exit: &[OK, USAGE, ("other", "As the page of the subcommand says.")],
        files: &[],
        signals: &[],
        see_also: "pillarbox-user-add(1), pillarbox-user-list(1), pillarbox-serve(1)",
    },
    Page {
        name: "pillarbox-user-add",
        exit: &[
            ("0", "The mailbox is there, new or not."),
            USAGE,
            NO_INPUT,
            ("73", "The mailbox cannot be made: the disk is full, or there is something else of its name."),
            RESULTS,
        ],
        files: &[MAILBOX, WORKING],
        signals: &[],
        see_also: "pillarbox-user-list(1), pillarbox-serve(1)",
    },
    Page {
        name: "pillarbox-user-list",
        exit: &[("0", "Success."), USAGE, ("66", "DIR does not exist, or is no folder."), RESULTS],
        files: &[MAILBOX],
        signals: &[],
        see_also: "pillarbox-user-add(1), pillarbox-serve(1)",
    },
];

/// The commands that have a page, subcommands too, by the names of their pages.
fn commands() -> Vec<(String, Command)> {
    fn add(command: &Command, found: &mut Vec<(String, Command)>) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        command.get_subcommands().for_each(|command| add(command, found));
        found.push((name, command.clone()));
    }
    let mut found = Vec::new();
    for command in [
        Echoserver::command(),
        Smtp::command(),
        Pop3::command(),
        Forward::command(),
        Pillarbox::command(),
        EchoTest::command(),
        SmtpTest::command(),
        Pop3Test::command(),
    ] {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        add(&command, &mut found);
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn render(command: &Command, page: &Page) -> String {
    let mut octets = Vec::new();
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone()).source(format!("pillarbox {version}")).manual("Pillarbox");
    man.render_title(&mut octets).unwrap();
    man.render_name_section(&mut octets).unwrap();
    man.render_synopsis_section(&mut octets).unwrap();
    man.render_description_section(&mut octets).unwrap();
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut octets).unwrap();
    }
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut octets).unwrap();
    }
    let mut rest = Roff::new();
    for (title, items) in [("EXIT STATUS", page.exit), ("FILES", page.files), ("SIGNALS", page.signals)] {
        if !items.is_empty() {
            rest.control("SH", [title]);
        }
        for (term, text) in items {
            rest.control("TP", []).text([bold(*term)]).text([roman(*text)]);
        }
    }
    rest.control("SH", ["SEE ALSO"]).text([roman(page.see_also)]);
    // The definitions of macros have been written by the title.
    octets.extend_from_slice(rest.to_roff().as_bytes());
    let text = String::from_utf8(octets).unwrap();
    // Who is asked for the author needs no DIR; all others do.
    let needs_dir = ["smtp", "pop3", "forward"].contains(&command.get_name());
    if needs_dir { text.replace("[\\fIDIR\\fR]", "<\\fIDIR\\fR>") } else { text }
}

#[test]
fn every_program_has_a_man_page_that_says_what_its_options_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("docs/man");
    let commands = commands();
    let mut names: Vec<_> = PAGES.iter().map(|page| page.name).collect();
    names.sort_unstable();
    assert_eq!(names, commands.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "a page for each command");

    let update = env::var_os("UPDATE_DOCS").is_some();
    if update {
        fs::create_dir_all(&folder).unwrap();
    }
    for (name, command) in &commands {
        let page = PAGES.iter().find(|page| page.name == name).unwrap();
        let (path, rendered) = (folder.join(format!("{name}.1")), render(command, page));
        if update {
            fs::write(&path, &rendered).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == rendered, "docs/man/{name}.1 is out of date: run this test with UPDATE_DOCS=1");
    }
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, commands.len(), "a file for each command, and no other");
}

#[test]
fn the_pages_say_what_one_has_to_know() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/man");
    let page = |name: &str| fs::read_to_string(folder.join(format!("{name}.1"))).unwrap();
    for name in ["pop3", "pillarbox-serve", "pillarbox-user-add", "pop3-test"] {
        assert!(page(name).contains(CLASSIC_PASSWORD), "{name}: the password");
    }
    for name in ["smtp", "pop3", "forward", "pillarbox-fsck", "pillarbox-torture"] {
        assert!(page(name).contains("<\\fIDIR\\fR>") && !page(name).contains("[\\fIDIR"), "{name}: DIR is required");
    }
}
