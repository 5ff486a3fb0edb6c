//! `${VAR}`, `${VAR:-default}` and `$$` in strings of the file.

use crate::value::Fault;

/// Replaces variables in `text` by what `lookup` says.
///
/// As in shells, `:-` also stands in for an empty variable. A `$` before anything else but
/// `{` and `$` is kept. Errors: a variable that is not set and has no default, an open brace.
pub(crate) fn interpolate(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or_else(|| {
                Fault::new(
                    "`${` without `}`",
                    "write ${VAR} or, for a plain dollar, $$",
                )
            })?;
            out.push_str(&expand(&after[..end], lookup)?);
            rest = &after[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn expand(inside: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        return Err(Fault::new(
            format!("`{name}` is not the name of a variable"),
            "write ${VAR} or ${VAR:-default}",
        ));
    }
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Fault::new(
            format!("the variable `{name}` is not set"),
            format!("set it, or give a default: ${{{name}:-default}}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_variables() {
        let lookup = |name: &str| match name {
            "IP" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let check = |input: &str, expected: &str| {
            assert_eq!(interpolate(input, &lookup).unwrap(), expected, "{input}");
        };
        check("${IP}:3000", "10.0.0.1:3000");
        check("${NONE:-x}${EMPTY:-y}${EMPTY}", "xy");
        check("$$5 $HOME a$", "$5 $HOME a$");
        for bad in ["${NONE}", "${IP", "${}", "${a b}"] {
            assert!(interpolate(bad, &lookup).is_err(), "{bad}");
        }
    }
}
