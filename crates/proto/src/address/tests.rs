//! Tests of `address.rs`.

use super::*;

/// Parses an argument and shows it again: the address, `<>` for the null path, or the error.
fn check(argument: &str, expected: &str) {
    let shown = match parse_path(argument.as_bytes()) {
        Ok(ParsedPath { address, parameters }) => {
            let path = ReversePath(address);
            if parameters.is_empty() {
                path.to_string()
            } else {
                format!("{path} + {}", String::from_utf8_lossy(parameters))
            }
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(shown, expected, "for {argument:?}");
}

#[test]
fn paths_people_and_programs_send() {
    check("<a@localhost>", "<a@localhost>");
    check(" <a@localhost>", "<a@localhost>");
    check("a@localhost", "<a@localhost>");
    check("<>", "<>");
    check("<Postmaster>", "<postmaster@localhost>");
    check("<@one,@two:a@localhost>", "<a@localhost>");
    check("<@[IPv6:::1],@two:a@localhost>", "<a@localhost>");
    check("<\"a b\"@localhost>", "<\"a b\"@localhost>");
    check("<\"plain\"@localhost>", "<plain@localhost>");
    check("<\"a\\\"b\\\\c\"@localhost>", "<\"a\\\"b\\\\c\"@localhost>");
    check("<\"a>b@c\"@localhost>", "<\"a>b@c\"@localhost>");
    check("<a@[127.0.0.1]>", "<a@[127.0.0.1]>");
    check("<a@[IPv6:::1]>", "<a@[IPv6:::1]>");
    check("<a@localhost> SIZE=3 BODY=8BITMIME", "<a@localhost> + SIZE=3 BODY=8BITMIME");
    check("a@localhost SIZE=3", "<a@localhost> + SIZE=3");
}

#[test]
fn malformed_paths_are_refused() {
    for argument in ["", " ", "<a>", "a", "<@localhost>", "<a@>", "<a@b@c>", "<a..b@c>", "<.a@c>", "<a b@c>"] {
        assert!(parse_path(argument.as_bytes()).is_err(), "for {argument:?}");
    }
    check("<a@localhost", "the angle brackets do not match");
    check("<<a@localhost>>", "the angle brackets do not match");
    check("<a@localhost>x", "the angle brackets do not match");
    check("<a@-b>", "the domain is malformed");
    check("<a@b_c>", "the domain is malformed");
    check("<a@b..c>", "the domain is malformed");
    check("<a@[1.2.3]>", "the domain is malformed");
    check("<a@[IPv6:x]>", "the domain is malformed");
    check("<@one a@localhost>", "the source route is malformed");
    check("<\"a@localhost>", "the angle brackets do not match");
    check("<b\u{fc}cher@localhost>", "only printable US-ASCII is taken in an address");
    check("<a\u{0}@localhost>", "only printable US-ASCII is taken in an address");
}

#[test]
fn limits_of_rfc_5321_4_5_3_1() {
    let local_part = "l".repeat(LOCAL_PART_MAX_OCTETS);
    check(&format!("<{local_part}@localhost>"), &format!("<{local_part}@localhost>"));
    check(&format!("<{local_part}l@localhost>"), "the local part is too long");
    let label = "d".repeat(LABEL_MAX_OCTETS);
    check(&format!("<a@{label}>"), &format!("<a@{label}>"));
    check(&format!("<a@{label}d>"), "the domain is malformed");
    // A path of exactly 256 octets: brackets, "a@", and a domain of 252.
    let domain = format!("{label}.{label}.{label}.{}", "e".repeat(60));
    assert_eq!(format!("<a@{domain}>").len(), PATH_MAX_OCTETS);
    check(&format!("<a@{domain}>"), &format!("<a@{domain}>"));
    check(&format!("<ab@{domain}>"), "the path is too long");
    let domain = "x.".repeat(DOMAIN_MAX_OCTETS / 2) + "x";
    assert_eq!(domain.len(), DOMAIN_MAX_OCTETS);
    assert!(check_domain(&domain).is_ok());
    assert_eq!(check_domain(&(domain + "x")), Err(AddressError::TooLong("domain")));
}

#[test]
fn shown_addresses_parse_to_themselves() {
    for text in ["a@b", "\"a b\"@c.d", "\"\\\"\"@c", "x+y@[10.0.0.1]"] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), text);
    }
}
