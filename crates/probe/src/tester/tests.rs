//! Tests of `tester.rs`.

use super::*;

/// holds C-T1
#[test]
fn lines_are_shown_as_the_assignment_shows_them() {
    let mut out = Vec::new();
    let mut print = Print::new(&mut out);
    print.sent(1, b"HO blubb\r\nECHO xyz\r\n");
    print.received(1, b"+OK blubb\r\n", None);
    print.received(1, b"+OK xyz\0\xab\r\n", Some("`+OK xyz<CR><LF>`"));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "C: HO blubb<CR><LF>ECHO xyz<CR><LF>\n\
         S: +OK blubb<CR><LF> [OK]\n\
         S: +OK xyz<0x00><0xAB><CR><LF> [expected `+OK xyz<CR><LF>`]\n"
    );
}
