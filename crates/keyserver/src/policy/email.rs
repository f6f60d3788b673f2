//! E-mail addresses, as far as one may be told from another.

use url::Host;

/// The longest address, in bytes (RFC 5321 section 4.5.3.1.3, less its brackets).
const MAX: usize = 254;

/// An address with its domain in ASCII form. The part before the `@` is for its domain alone to interpret
/// (RFC 5321 section 2.3.11), so it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) text: String,
    pub(crate) domain: String,
}

/// The address in its one form: exactly one `@`, nothing quoted, nothing that could be read as two.
pub(crate) fn address(email: &str) -> Option<Address> {
    let (local, name) = email.split_once('@')?;
    let odd =
        |c: char| c.is_control() || c.is_whitespace() || matches!(c, '"' | '@' | '\\' | ',' | '<' | '>');
    if local.is_empty() || email.len() > MAX || local.contains(odd) || name.contains(odd) {
        return None;
    }
    let domain = domain(name)?;
    Some(Address { text: format!("{local}@{domain}"), domain })
}

/// A domain name in its ASCII form (A-labels, lower case), without a dot at its end.
pub(crate) fn domain(name: &str) -> Option<String> {
    if name.contains(['%', '*']) || name.ends_with('.') {
        return None;
    }
    match Host::parse(name) {
        Ok(Host::Domain(domain)) => Some(domain),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (written, text) in [
            ("alice@corp.example", "alice@corp.example"),
            ("Alice+x@CORP.Example", "Alice+x@corp.example"),
            ("o'hara@b\u{fc}cher.example", "o'hara@xn--bcher-kva.example"),
            ("alice@corp\u{3002}example", "alice@corp.example"),
        ] {
            assert_eq!(address(written).unwrap().text, text);
        }
    }

    #[test]
    fn what_could_be_two_addresses_is_none() {
        for odd in [
            "",
            "@",
            "alice",
            "corp.example",
            "@corp.example",
            "alice@",
            "alice@corp.example.",
            "a@evil@corp.example",
            "\"a@evil\"@corp.example",
            "a b@corp.example",
            "a\u{0}@corp.example",
            "a@corp.example\n",
            "a@127.0.0.1",
            "a@[::1]",
            "a@corp%2eexample",
            "a,b@corp.example",
            "<a@corp.example>",
            "a@*.example",
            "a@corp example",
        ] {
            assert_eq!(address(odd), None, "{odd:?}");
        }
        assert_eq!(address(&format!("{}@corp.example", "a".repeat(250))), None);
    }
}
