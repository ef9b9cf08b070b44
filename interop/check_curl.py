"""curl sends (smtp://) and reads (pop3://)."""

import letters
from bench import expect, expect_equal
from talk import PASSWORD


def sends_and_reads(bench):
    """curl sends three texts and gets them back octet for octet; LIST, UIDL, DELE; wrong password"""
    bench.mailbox("linhphan")
    smtp, pop3 = bench.smtp(), bench.pop3()
    texts = [letters.letter("small", 800, bench.rng), letters.letter("large", 300_000, bench.rng),
             b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n\r\nFrom here\r\n>From there\r\n\r\n"]
    for number, text in enumerate(texts):
        file = bench.folder / f"{number}.eml"
        file.write_bytes(text)
        _curl(bench, f"smtp://127.0.0.1:{smtp.port}/localhost", "--mail-from", "linhphan@localhost",
              "--mail-rcpt", "linhphan@localhost", "--upload-file", str(file))
    url = f"pop3://127.0.0.1:{pop3.port}/"
    login = ["--user", f"linhphan:{PASSWORD}"]
    for number, text in enumerate(texts, 1):
        expect_equal(_curl(bench, url + str(number), *login), text, f"message {number} as curl gets it")
    expect_equal(_curl(bench, url, *login), b"".join(b"%d %d\r\n" % (number, len(text))
                                                     for number, text in enumerate(texts, 1)), "LIST")
    expect_equal(_curl(bench, url, *login, "--request", "UIDL"),
                 b"".join(b"%d %s\r\n" % (number, letters.uid(text).encode())
                          for number, text in enumerate(texts, 1)), "UIDL")
    _curl(bench, url + "2", *login, "--request", "DELE", "--head")
    expect_equal(_curl(bench, url, *login, "--request", "UIDL"),
                 b"1 %s\r\n2 %s\r\n" % (letters.uid(texts[0]).encode(), letters.uid(texts[2]).encode()),
                 "UIDL after DELE 2")
    status, _, _ = bench.run(["curl", "-sS", "--max-time", "20", url, "--user", "linhphan:wrong"])
    expect_equal(status, 67, "curl's exit status for a wrong password")
    status, _, error = bench.run(["curl", "-sS", "--max-time", "20", f"smtp://127.0.0.1:{smtp.port}/localhost",
                                  "--mail-from", "a@localhost", "--mail-rcpt", "nobody@localhost",
                                  "--upload-file", str(bench.folder / "0.eml")])
    expect(status != 0 and b"550" in error, f"curl to an unknown user: status {status}, {error!r}")


def _curl(bench, *arguments):
    status, out, error = bench.run(["curl", "-sS", "--max-time", "30", *arguments])
    expect(status == 0, f"curl {' '.join(arguments)}: status {status}, {error.decode('utf-8', 'replace')}")
    return out


CHECKS = {"curl.sends-and-reads": (sends_and_reads, 60)}
