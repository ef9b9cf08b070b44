//! What every octet of mail goes through: line framing, message data, the parts of the store that read mailboxes.

#![allow(missing_docs, reason = "criterion's macros make functions without them")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pillarbox_bench::{count, quote, unquote};
use pillarbox_proto::data::{DataReader, DotStuffer};
use pillarbox_proto::lines::Lines;

/// What the server reads at once.
const BLOCK: usize = 64 * 1024;

/// Lines of 76 letters, as attachments have, up to `octets`.
fn text(octets: usize) -> Vec<u8> {
    let line =
        [b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/ABCDEFGHIJKL".as_slice(), b"\r\n"].concat();
    line.iter().copied().cycle().take(octets / line.len() * line.len()).collect()
}

/// Short lines of prose; some begin with a dot or with `From `.
fn prose(octets: usize) -> Vec<u8> {
    let lines = b"Hello,\r\n\r\nthe quick brown fox jumps over the lazy dog.\r\n..and back\r\nFrom here to there\r\n>From there\r\n";
    lines.iter().copied().cycle().take(octets / lines.len() * lines.len()).collect()
}

fn framing(criterion: &mut Criterion) {
    let commands = b"MAIL FROM:<alice@localhost>\r\nRCPT TO:<bob@localhost>\r\nDATA\r\n".repeat(1000);
    let mut group = criterion.benchmark_group("framing");
    group.throughput(Throughput::Bytes(commands.len() as u64));
    group.bench_function("commands", |bencher| {
        bencher.iter(|| {
            let mut lines = Lines::default();
            let mut count = 0;
            for block in commands.chunks(BLOCK) {
                lines.push(block);
                while let Some(line) = lines.cut() {
                    black_box(line);
                    count += 1;
                }
            }
            count
        });
    });
}

fn data(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("data");
    for (name, text) in [("attachment", text(1 << 20)), ("prose", prose(1 << 20))] {
        let mut wire = Vec::new();
        let mut stuffer = DotStuffer::default();
        stuffer.stuff(&text, &mut wire);
        stuffer.end(&mut wire);
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(format!("reader/{name}"), |bencher| {
            bencher.iter(|| {
                let mut reader = DataReader::default();
                for block in wire.chunks(BLOCK) {
                    let mut text = Vec::with_capacity(block.len());
                    reader.read(block, &mut text);
                    black_box(text);
                }
                assert!(reader.ended());
            });
        });
        group.bench_function(format!("stuffer/{name}"), |bencher| {
            bencher.iter(|| {
                let mut stuffer = DotStuffer::default();
                for block in text.chunks(BLOCK) {
                    let mut wire = Vec::with_capacity(block.len() + block.len() / 64);
                    stuffer.stuff(block, &mut wire);
                    black_box(wire);
                }
            });
        });
    }
}

fn quoting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("quoting");
    for (name, text) in [("attachment", text(1 << 20)), ("prose", prose(1 << 20))] {
        let mut stored = Vec::new();
        quote(std::iter::once(text.as_slice()), &mut stored);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("quote/{name}"), |bencher| {
            bencher.iter_batched_ref(
                || Vec::with_capacity(stored.len()),
                |out| quote(text.chunks(BLOCK), out),
                BatchSize::LargeInput,
            );
        });
        group.bench_function(format!("unquote/{name}"), |bencher| {
            bencher.iter_batched_ref(
                || Vec::with_capacity(stored.len()),
                |out| unquote(stored.chunks(BLOCK), out),
                BatchSize::LargeInput,
            );
        });
    }
}

fn mailbox(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.sample_size(20);
    for (name, octets, messages) in [("4 KB messages", 4096, 4096), ("10 MB messages", 10_000_000, 2)] {
        let message =
            [b"From load@localhost Thu Nov 26 10:00:00 2026\nSubject: x\r\n\r\n".as_slice(), &text(octets), b"\n"]
                .concat();
        let mbox = message.repeat(messages);
        group.throughput(Throughput::Bytes(mbox.len() as u64));
        group.bench_function(format!("scan/{name}"), |bencher| {
            bencher.iter(|| {
                let found = count(|space, at| {
                    // All of it is in memory.
                    let rest = &mbox[usize::try_from(at).unwrap_or(mbox.len()).min(mbox.len())..];
                    let octets = rest.len().min(space.len());
                    space[..octets].copy_from_slice(&rest[..octets]);
                    Ok(octets)
                });
                assert_eq!(found.ok(), Some(messages));
            });
        });
    }
}

criterion_group!(parsers, framing, data, quoting, mailbox);
criterion_main!(parsers);
