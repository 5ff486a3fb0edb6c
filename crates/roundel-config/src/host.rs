//! What the machine calls itself.

use roundel_model::Name;

/// The host name as a [`Name`]: characters that names do not have become `-`.
pub fn node_name() -> Name {
    let uname = rustix::system::uname();
    let raw = uname.nodename().to_string_lossy();
    let fit: String = raw
        .chars()
        .take(Name::MAX)
        .map(|c| match c {
            '.' | '_' | ':' | '-' => c,
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        })
        .collect();
    Name::new(&fit)
        .or_else(|_| Name::new("roundel"))
        .expect("a fixed name is a name")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_has_a_name() {
        assert!(!super::node_name().as_str().is_empty());
    }
}
