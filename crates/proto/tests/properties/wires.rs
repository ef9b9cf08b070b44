//! What wires are made of: openings, so that more than the first states are seen, and pieces that follow them.

#![allow(dead_code, reason = "not every user of this file needs all of it")]

pub(crate) const LINES: &[&str] = &["\r\n", "\n", "\r", " ", "x", ".", "\0", "\u{fc}"];

pub(crate) const DATA: &[&str] = &["\r\n", "\r\n.\r\n", "\r\n.", "\n", "\r", ".", "a", "\r\n..", "\n.\n", ".\r"];

pub(crate) const PATH_OPENINGS: &[&str] =
    &["", "<", "<a@", "<\"", "\"", "a@", "a@b", "<@a:", "<a@[IPv6:", "<\"a..b", "<\"\""];
pub(crate) const PATHS: &[&str] = &[
    "<",
    ">",
    "a",
    "@",
    "b",
    ".",
    "@localhost",
    "@localhost>",
    "\"",
    "\\",
    "\"@",
    "\"@b>",
    " ",
    "@a,@b:",
    "[IPv6:",
    "::1",
    "]",
    "@[127.0.0.1]>",
    "-",
    "\u{fc}",
    "\0",
    "a.234567890123456789012345678901234567890123456789012345678901234",
];

pub(crate) const SMTP_OPENINGS: &[&str] = &[
    "",
    "\u{16}",
    "POST / HTTP/1.1\r\nHELO client.example\r\n",
    "GET ",
    "a HTTP/1.1\r\n",
    "HELO client.example\r\n",
    "HELO client.example\r\nMAIL FROM:<>\r\n",
    "HELO client.example\r\nMAIL FROM:<a@localhost>\r\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost>\r\n",
    "HELO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost>\r\nDATA\r\n",
    "HELO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<b@localhost>\r\nDATA\r\n..text\n\r\n.\r\n",
];
pub(crate) const SMTP: &[&str] = &[
    "HELO client.example\r\n",
    "MAIL FROM:<a@localhost>\r\n",
    "RCPT TO:<b@localhost>\r\n",
    "RCPT TO:<c@example.org>\r\n",
    "DATA\r\n",
    "MAIL FROM:<a@localhost>\r\nRCPT TO:<b@localhost>\r\nRCPT TO:<c@localhost>\r\nDATA\r\n",
    "text\r\n",
    "..\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "text of some length, so that it reaches limits\r\n.\r\n",
    "RSET\r\n",
    "NOOP\n",
    "QUIT\r\n",
    "EHLO x\r\n",
    "x",
    "\n",
    "\r",
    " ",
];

pub(crate) const POP3_OPENINGS: &[&str] = &[
    "",
    "\u{16}",
    "post / HTTP/1.1\r\nUSER a\r\nPASS cis505\r\n",
    "PRI ",
    "a HTTP/2\n",
    "USER a\r\nPASS cis505\r\n",
    "USER a\r\nPASS cis505\r\nLIST\r\nUIDL\r\n",
    "USER a\r\nPASS a\r\nUSER a\r\nPASS b\r\nUSER a\r\nPASS c\r\nUSER a\r\nPASS d\r\n",
];
pub(crate) const POP3: &[&str] = &[
    "USER a\r\n",
    "PASS cis505\r\n",
    "USER a\r\nPASS cis505\r\n",
    "STAT\r\n",
    "LIST\r\n",
    "LIST 1\r\n",
    "UIDL\r\n",
    "UIDL 2\r\n",
    "RETR 1\r\n",
    "RETR 2\r\n",
    "DELE 1\r\n",
    "DELE 3\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "x",
    "\n",
    " ",
];

pub(crate) const REPLY_OPENINGS: &[&str] = &[
    "",
    "220 a\r\n",
    "220 a\r\n250 b\r\n250 c\r\n",
    "220 a\r\n250 b\r\n550 c\r\n",
    "220 a\r\n550 b\r\n250 c\r\n250 d\r\n250 e\r\n354 f\r\n",
    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n",
    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n354 e\r\n250 f\r\n",
    "220 a\r\n250 b\r\n250 c\r\n550 d\r\n250 e\r\n354 f\r\n",
    "220 a\r\n250 b\r\n250 c\r\n250 d\r\n250 e\r\n354 f\r\n250 g\r\n",
    "220-a\r\n220 b\r\n250-c\r\n250-SIZE\r\n250-8BITMIME\r\n250 PIPELINING\r\n250 d\r\n",
    "220 a\r\n250-c\r\n250 PIPELINING\r\n550 d\r\n",
];
pub(crate) const REPLIES: &[&str] = &[
    "250 OK\r\n",
    "250 OK\r\n",
    "250 OK\r\n",
    "250 OK\r\n250 OK\r\n250 OK\r\n",
    "250-OK\r\n250 OK\r\n",
    "354 go on\r\n",
    "354 go on\r\n250 OK\r\n",
    "421 away\r\n",
    "450 later\r\n",
    "550 never\r\n",
    "350 what\r\n",
    "250-x\r\n",
    "221 bye\r\n",
    "x",
    "\n",
    " ",
    "\u{fc}",
];

pub(crate) const ECHO_OPENINGS: &[&str] = &["", "\u{16}", "ECHO hello\r\n", "echo \u{fc}\0\n", "GET / HTTP/1.1\r\n"];
pub(crate) const ECHO: &[&str] =
    &["ECHO hello\r\n", "ECHO\r\n", "ECHO  two \n", "eChO x\r\n", "QUIT\r\n", "QUIT x\r\n", "x", "\n", "\r", " "];
