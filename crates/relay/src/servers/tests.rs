//! Tests of `servers.rs`.

use super::*;

fn named(resolv_conf: &str) -> Vec<String> {
    Servers::parse(resolv_conf.as_bytes(), 53).addresses.iter().map(ToString::to_string).collect()
}

/// holds C-F8
#[test]
fn name_servers_are_found_whatever_else_the_file_says() {
    for (resolv_conf, expected) in [
        ("nameserver 192.0.2.1\n", "192.0.2.1:53"),
        ("nameserver 192.0.2.1", "192.0.2.1:53"),
        ("nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n", "192.0.2.1:53 192.0.2.2:53"),
        ("nameserver\t192.0.2.1  # ours\n", "192.0.2.1:53"),
        ("nameserver 192.0.2.1;ours\n", "192.0.2.1:53"),
        ("  nameserver   192.0.2.1 192.0.2.2\n", "192.0.2.1:53"),
        ("nameserver ::1\nnameserver 2001:db8::1", "[::1]:53 [2001:db8::1]:53"),
        ("nameserver fe80::1%1\n", "[fe80::1%1]:53"),
        ("nameserver fe80::1%lo\n", "[fe80::1%1]:53"),
        ("nameserver 127.1\nnameserver 0x7f000002\nnameserver 127.0.0x03", "127.0.0.1:53 127.0.0.2:53 127.0.0.3:53"),
        ("nameserver 010.0.0.1", "8.0.0.1:53"),
        // No more than the C library takes.
        (
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n",
            "192.0.2.1:53 192.0.2.2:53 192.0.2.3:53",
        ),
        // What cannot be an address is no name server, and keeps no other away.
        (
            "nameserver\nnameserver dns.example.org\nnameserver 192.0.2.256\nnameserver 1.2.3.4.5\n\
             nameserver fe80::1%no-such-interface\nnameserver 192.0.2.1:53\nnameserver 4294967296\nnameserver 192.0.2.9",
            "192.0.2.9:53",
        ),
        ("nameserver256\nnameserver192.0.2.1\nNAMESERVER 192.0.2.2\nnameserver 192.0.2.3", "192.0.2.3:53"),
        // Search lists that are none, and words that nobody knows.
        ("domain (none)\nnameserver 192.0.2.1", "192.0.2.1:53"),
        ("search \"quoted\" .local a..b . -\nnameserver 192.0.2.1", "192.0.2.1:53"),
        ("search bad\\032name \u{fc}mlaut.example\nnameserver 192.0.2.1", "192.0.2.1:53"),
        ("sortlist 130.155.160.0/255.255.240.0\nlookup file bind\nfamily inet6\nnameserver 192.0.2.1", "192.0.2.1:53"),
        ("options ndots:x edns0 trust-ad inet6 rotate no-such:7 :\nnameserver 192.0.2.1", "192.0.2.1:53"),
        ("# nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameserver 192.0.2.3", "192.0.2.3:53"),
        // Where nobody is named, this host is asked.
        ("", "127.0.0.1:53"),
        ("search example.org\n", "127.0.0.1:53"),
        ("nameserver\n", "127.0.0.1:53"),
    ] {
        assert_eq!(named(resolv_conf).join(" "), expected, "{resolv_conf:?}");
    }
    let odd = [&b"search \xff\xfe\0\n"[..], &[b'x'; 70_000], b"\nnameserver 192.0.2.1\n"].concat();
    assert_eq!(Servers::parse(&odd, 5353).addresses, ["192.0.2.1:5353".parse().unwrap()]);
}

/// holds C-F8
#[test]
fn times_and_ways_are_those_of_the_file() {
    for (resolv_conf, timeout_s, attempts, tcp) in [
        ("", 5, 2, false),
        ("options timeout:1 attempts:3", 1, 3, false),
        ("options timeout:0 attempts:0", 1, 1, false),
        ("options timeout:99 attempts:99 use-vc", 30, 5, true),
        ("options timeout:x attempts: timeout", 5, 2, false),
        ("options timeout:-1 attempts:1.5", 5, 2, false),
        ("options timeout:2\noptions attempts:1 timeout:3", 3, 1, false),
    ] {
        let servers = Servers::parse(resolv_conf.as_bytes(), 53);
        assert_eq!(
            (servers.timeout.as_secs(), servers.attempts, servers.tcp),
            (timeout_s, attempts, tcp),
            "{resolv_conf}"
        );
    }
}
