//! Addresses and paths (C-S5).

use pillarbox_proto::address::{DOMAIN_MAX_OCTETS, LOCAL_PART_MAX_OCTETS, PATH_MAX_OCTETS, parse_path};
use pillarbox_proto::{Address, ReversePath};

use super::input::{Input, is_printable};

/// What parses is shown as printable US-ASCII within the limits, and parses to itself again.
pub(crate) fn check(input: &Input) {
    let wire = input.wire.as_slice();
    match parse_path(wire) {
        Ok(path) => {
            assert_eq!(path.parameters, path.parameters.trim_ascii());
            assert!(wire.trim_ascii_end().ends_with(path.parameters), "parameters stand behind the path");
            let reverse_path = ReversePath(path.address);
            let text = reverse_path.to_string();
            assert!(text.len() <= PATH_MAX_OCTETS, "{text:?} is too long");
            let again = parse_path(text.as_bytes()).expect("what is shown parses");
            assert_eq!((again.parameters, ReversePath(again.address)), (&b""[..], reverse_path.clone()));
            if let Some(address) = &reverse_path.0 {
                check_address(address);
            }
        }
        Err(error) => assert!(is_printable(error.to_string().as_bytes())),
    }
    if let Ok(address) = Address::parse(wire) {
        check_address(&address);
    }
    if let Ok(local_part) = std::str::from_utf8(wire)
        && let Ok(address) = Address::at_localhost(local_part)
    {
        assert_eq!(address.local_part(), local_part);
        assert!(address.is_at("LocalHost"));
        check_address(&address);
    }
}

fn check_address(address: &Address) {
    let text = address.to_string();
    assert!(is_printable(text.as_bytes()), "{text:?}");
    assert_eq!(text.parse().as_ref(), Ok(address), "{text:?}");
    assert!((1..=LOCAL_PART_MAX_OCTETS).contains(&address.local_part().len()));
    assert!((1..=DOMAIN_MAX_OCTETS).contains(&address.domain().len()));
    assert!(!address.domain().contains([' ', '<', '>', '@', '"', '\\']), "{text:?}");
}
