//! Who wrote this: the one place for name and login (C-C6).

/// Full name and login, as the echo server greets with them. Building with `PILLARBOX_AUTHOR='Full Name / login'` sets
/// others.
pub const AUTHOR: &str = match option_env!("PILLARBOX_AUTHOR") {
    Some(author) => author,
    None => "The Pillarbox Authors / pillarbox",
};

const _: () = assert!(names_a_login(AUTHOR), "PILLARBOX_AUTHOR must read 'Full Name / login'");

/// Whether ` / ` stands between two texts, and nothing in them would break a line.
const fn names_a_login(author: &str) -> bool {
    let octets = author.as_bytes();
    let mut found = false;
    let mut at = 0;
    while at < octets.len() {
        if octets[at] < b' ' {
            return false;
        }
        if at > 0 && at + 3 < octets.len() && octets[at] == b' ' && octets[at + 1] == b'/' && octets[at + 2] == b' ' {
            found = true;
        }
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_has_a_name_and_a_login() {
        assert!(names_a_login("Linh Thi Xuan Phan / linhphan"));
        for author in ["", "Linh", "Linh / ", " / linh", "Linh/linh", "Linh\n / linh"] {
            assert!(!names_a_login(author), "{author:?}");
        }
    }
}
