//! Addresses and paths: what stands behind `MAIL FROM:` and `RCPT TO:`.
//!
//! RFC 5321 §4.1.2 (syntax), §4.5.3.1 (limits), RFC 821 (source routes). A path is parsed once, here, into a type
//! with a closed alphabet: printable US-ASCII without line ends. Whoever holds an [`Address`] may write it into a
//! `From ` line, a file or a command without another look.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Longest local part, in octets, without the quotes of a quoted one (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_MAX_OCTETS: usize = 64;
/// Longest domain, in octets (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_MAX_OCTETS: usize = 255;
/// Longest path, in octets, angle brackets and source route included (RFC 5321 §4.5.3.1.3).
pub const PATH_MAX_OCTETS: usize = 256;
/// Longest label of a domain, in octets (RFC 1035 §2.3.4).
pub const LABEL_MAX_OCTETS: usize = 63;

/// The domain this host answers for, and the one a bare `<postmaster>` belongs to.
pub const LOCALHOST: &str = "localhost";

/// A mailbox in the sense of RFC 5321 §4.1.2: local part and domain.
///
/// [`fmt::Display`] writes `local@domain` as it goes on the wire, the local part quoted again where it must be. Domains
/// keep the case they came in; [`Address::is_at`] compares without it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    local_part: String,
    domain: String,
}

impl Address {
    /// Parses `local@domain`, without angle brackets and without a source route.
    ///
    /// # Errors
    /// [`AddressError`] says which rule of RFC 5321 §4.1.2 or which limit of §4.5.3.1 it breaks.
    pub fn parse(text: &[u8]) -> Result<Self, AddressError> {
        let text = ascii(text)?;
        let (local_part, rest) = take_local_part(text)?;
        let domain = rest.strip_prefix('@').ok_or(if rest.is_empty() {
            AddressError::NoDomain
        } else {
            AddressError::LocalPart
        })?;
        check_domain(domain)?;
        Ok(Self { local_part, domain: domain.to_owned() })
    }

    /// The address of `local_part` at [`LOCALHOST`].
    ///
    /// # Errors
    /// [`AddressError`] when the local part is empty, too long, or holds more than printable US-ASCII.
    pub fn at_localhost(local_part: &str) -> Result<Self, AddressError> {
        if local_part.is_empty() || !local_part.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
            return Err(AddressError::LocalPart);
        }
        if local_part.len() > LOCAL_PART_MAX_OCTETS {
            return Err(AddressError::TooLong("local part"));
        }
        Ok(Self { local_part: local_part.to_owned(), domain: LOCALHOST.to_owned() })
    }

    /// The local part as it is meant: quotes and backslashes of a quoted string are gone.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain or address literal, as it was written.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether the address is at `domain`; domains have no case (RFC 5321 §2.4).
    #[must_use]
    pub fn is_at(&self, domain: &str) -> bool {
        self.domain.eq_ignore_ascii_case(domain)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local_part) {
            f.write_str(&self.local_part)?;
        } else {
            f.write_str("\"")?;
            for character in self.local_part.chars() {
                if matches!(character, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{character}")?;
            }
            f.write_str("\"")?;
        }
        write!(f, "@{}", self.domain)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text.as_bytes())
    }
}

/// Where a message came from: an address, or the null reverse-path `<>` of notifications (RFC 5321 §4.5.5).
///
/// [`fmt::Display`] writes it with its angle brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ReversePath(pub Option<Address>);

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(address) => write!(f, "<{address}>"),
            None => f.write_str("<>"),
        }
    }
}

/// What SMTP says about a message outside of its text (RFC 5321 §2.3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Who is told when delivery fails.
    pub reverse_path: ReversePath,
    /// Who receives it, in the order of the RCPT commands; may name one mailbox several times.
    pub forward_paths: Vec<Address>,
}

/// Why octets are no address. Its text is fit for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// An octet that is no printable US-ASCII; addresses in UTF-8 need SMTPUTF8 (RFC 6531).
    NotAscii,
    /// No `@domain`.
    NoDomain,
    /// The local part is neither a dot-string nor a quoted string.
    LocalPart,
    /// The domain is neither a name nor an address literal.
    Domain,
    /// A source route that does not read `@domain,@domain:`.
    SourceRoute,
    /// Angle brackets that do not match.
    Brackets,
    /// Longer than RFC 5321 §4.5.3.1 allows: the local part, the domain or the path.
    TooLong(&'static str),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAscii => f.write_str("only printable US-ASCII is taken in an address"),
            Self::NoDomain => f.write_str("the address has no domain"),
            Self::LocalPart => f.write_str("the local part is malformed"),
            Self::Domain => f.write_str("the domain is malformed"),
            Self::SourceRoute => f.write_str("the source route is malformed"),
            Self::Brackets => f.write_str("the angle brackets do not match"),
            Self::TooLong(what) => write!(f, "the {what} is too long"),
        }
    }
}

impl std::error::Error for AddressError {}

/// A path as it stands behind `FROM:` or `TO:`, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsedPath<'a> {
    /// The address; `None` for the null path `<>`. Source routes are dropped (RFC 5321 appendix C).
    pub address: Option<Address>,
    /// What stands behind the path and one or more spaces: ESMTP parameters, usually empty.
    pub parameters: &'a [u8],
}

/// Parses a path and what follows it (C-S5). Spaces before it and missing angle brackets are taken, because people
/// type them; `<postmaster>` in any case stands for `postmaster@localhost` (RFC 5321 §4.5.1).
///
/// # Errors
/// [`AddressError`] where RFC 5321 §4.1.2 allows no such path. An empty argument is [`AddressError::NoDomain`].
pub fn parse_path(argument: &[u8]) -> Result<ParsedPath<'_>, AddressError> {
    let argument = argument.trim_ascii_start();
    let (path, rest) = split_path(argument)?;
    let parameters = match rest.first() {
        None => rest,
        Some(b' ' | b'\t') => rest.trim_ascii(),
        Some(_) => return Err(AddressError::Brackets),
    };
    let (inner, bracketed) = match path.strip_prefix(b"<").and_then(|path| path.strip_suffix(b">")) {
        Some(inner) => (inner, true),
        None => (path, false),
    };
    if inner.len() + 2 > PATH_MAX_OCTETS {
        return Err(AddressError::TooLong("path"));
    }
    if inner.is_empty() && bracketed {
        return Ok(ParsedPath { address: None, parameters });
    }
    let mailbox = strip_source_route(inner)?;
    let address = if mailbox.eq_ignore_ascii_case(b"postmaster") {
        Address::at_localhost("postmaster")?
    } else {
        Address::parse(mailbox)?
    };
    Ok(ParsedPath { address: Some(address), parameters })
}

/// Cuts the path off its argument: up to the closing bracket, or up to a space; neither counts inside quotes.
fn split_path(argument: &[u8]) -> Result<(&[u8], &[u8]), AddressError> {
    let bracketed = argument.first() == Some(&b'<');
    let mut quoted = false;
    let mut escaped = false;
    for (at, &octet) in argument.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if bracketed && !quoted => return Ok(argument.split_at(at + 1)),
            b' ' | b'\t' if !bracketed && !quoted => return Ok(argument.split_at(at)),
            _ => {}
        }
    }
    if bracketed { Err(AddressError::Brackets) } else { Ok((argument, b"")) }
}

/// Drops `@one,@two:` in front of a mailbox.
fn strip_source_route(path: &[u8]) -> Result<&[u8], AddressError> {
    if path.first() != Some(&b'@') {
        return Ok(path);
    }
    let colon = route_end(path).ok_or(AddressError::SourceRoute)?;
    for hop in path[..colon].split(|&octet| octet == b',') {
        let domain = hop.strip_prefix(b"@").ok_or(AddressError::SourceRoute)?;
        check_domain(ascii(domain)?)?;
    }
    Ok(&path[colon + 1..])
}

/// Where the colon stands that ends a source route: the first one outside of an address literal.
fn route_end(path: &[u8]) -> Option<usize> {
    let mut literal = false;
    for (at, &octet) in path.iter().enumerate() {
        match octet {
            b'[' => literal = true,
            b']' => literal = false,
            b':' if !literal => return Some(at),
            _ => {}
        }
    }
    None
}

fn ascii(text: &[u8]) -> Result<&str, AddressError> {
    if !text.iter().all(|octet| (b' '..=b'~').contains(octet)) {
        return Err(AddressError::NotAscii);
    }
    std::str::from_utf8(text).map_err(|_| AddressError::NotAscii)
}

/// Reads a local part and gives it unquoted, with the rest of the text.
fn take_local_part(text: &str) -> Result<(String, &str), AddressError> {
    let (local_part, rest) = if let Some(quoted) = text.strip_prefix('"') {
        take_quoted_string(quoted)?
    } else {
        let end = text.find('@').unwrap_or(text.len());
        let (local_part, rest) = text.split_at(end);
        if !is_dot_string(local_part) {
            return Err(AddressError::LocalPart);
        }
        (local_part.to_owned(), rest)
    };
    if local_part.len() > LOCAL_PART_MAX_OCTETS {
        return Err(AddressError::TooLong("local part"));
    }
    if local_part.is_empty() {
        return Err(AddressError::LocalPart);
    }
    Ok((local_part, rest))
}

/// Reads a quoted string behind its opening quote (RFC 5321 `Quoted-string`).
fn take_quoted_string(quoted: &str) -> Result<(String, &str), AddressError> {
    let mut content = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((content, &quoted[at + 1..])),
            '\\' => content.push(characters.next().ok_or(AddressError::LocalPart)?.1),
            _ => content.push(character),
        }
    }
    Err(AddressError::LocalPart)
}

/// Whether the local part may stand without quotes (RFC 5321 `Dot-string`).
fn is_dot_string(local_part: &str) -> bool {
    local_part.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

/// RFC 5322 §3.2.3.
fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

fn check_domain(domain: &str) -> Result<(), AddressError> {
    if domain.len() > DOMAIN_MAX_OCTETS {
        return Err(AddressError::TooLong("domain"));
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let literal = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
        return if is_address_literal(literal) { Ok(()) } else { Err(AddressError::Domain) };
    }
    if domain.split('.').all(is_label) { Ok(()) } else { Err(AddressError::Domain) }
}

/// RFC 5321 §4.1.3: IPv4 as it is, IPv6 behind its tag. No other tag is registered.
fn is_address_literal(literal: &str) -> bool {
    match literal.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => literal[5..].parse::<Ipv6Addr>().is_ok(),
        _ => literal.parse::<Ipv4Addr>().is_ok(),
    }
}

/// RFC 5321 `sub-domain`: letters, digits and inner hyphens.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_MAX_OCTETS
        && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
#[path = "address/tests.rs"]
mod tests;
