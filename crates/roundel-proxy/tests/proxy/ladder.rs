//! Imports inside the crate make no circle: a file takes from those below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules that each module names by `crate::`, by their paths without it.
type Ladder = BTreeMap<String, BTreeSet<String>>;

fn modules(folder: &Path, within: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = format!("{within}{stem}");
        if path.is_dir() {
            modules(&path, &format!("{name}::"), found);
        } else {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// Leaves out those that are there for tests only, by the attribute before their `mod`.
fn without_tests(found: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut tests = BTreeSet::from(["lib".to_owned()]);
    for (name, text) in &found {
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some((_, declared)) = pair[1].strip_suffix(';').unwrap_or("").split_once("mod ")
            {
                let within = if name == "lib" {
                    ""
                } else {
                    &format!("{name}::")
                };
                tests.insert(format!("{within}{declared}"));
            }
        }
    }
    let mut left = found;
    left.retain(|name, _| !tests.contains(name));
    left
}

/// Every path behind `crate::` in the code, groups taken apart.
fn paths(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(str::trim);
    let code: String = lines
        .filter(|line| !line.starts_with("//"))
        .flat_map(|line| line.chars().filter(|c| *c != ' '))
        .collect();
    let mut all = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        take_apart("", &code[at + word.len()..], &mut all);
    }
    all
}

/// Returns what follows the path at the beginning of `rest`.
fn take_apart<'t>(before: &str, rest: &'t str, all: &mut Vec<String>) -> &'t str {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(length);
    let path = format!("{before}{name}");
    if let Some(group) = rest.strip_prefix("::{") {
        rest = group;
        while !rest.starts_with('}') {
            rest = take_apart(&format!("{path}::"), rest, all);
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        return &rest[1..];
    }
    match rest.strip_prefix("::") {
        Some(more) if more.starts_with(is_name) => take_apart(&format!("{path}::"), more, all),
        _ => {
            all.push(path);
            rest
        }
    }
}

fn ladder() -> Ladder {
    let mut found = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    modules(&folder, "", &mut found);
    let found = without_tests(found);
    let module = |path: String| {
        let mut path = path.as_str();
        while !found.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path.to_owned())
    };
    let named = |(name, text): (&String, &String)| {
        let below = paths(text).into_iter().filter_map(module);
        (name.clone(), below.filter(|other| other != name).collect())
    };
    found.iter().map(named).collect()
}

/// Takes out what stands on nothing that is left, until that is nobody: a circle is left.
fn circle(mut ladder: Ladder) -> Ladder {
    loop {
        let left: BTreeSet<String> = ladder.keys().cloned().collect();
        for below in ladder.values_mut() {
            below.retain(|other| left.contains(other));
        }
        let before = ladder.len();
        ladder.retain(|_, below| !below.is_empty());
        if ladder.len() == before {
            return ladder;
        }
    }
}

#[test]
fn imports_make_no_circle() {
    let ladder = ladder();
    let names = |of: &str| &ladder[of];
    assert!(names("connection").contains("lent"), "{ladder:#?}");
    assert!(names("worker").contains("exchange::state"), "{ladder:#?}");
    assert!(names("upstream").contains("transport"), "{ladder:#?}");
    assert!(!ladder.contains_key("stand"), "it is there for tests only");
    let circle = circle(ladder);
    assert!(
        circle.is_empty(),
        "a circle, and who stands on it: {circle:#?}"
    );
}

#[test]
fn a_circle_is_found_and_groups_are_taken_apart() {
    let code = "use crate::a::{B, c::{self, D}, e::F};\n// crate::no\nfn f() { crate::g::h(1) }";
    let found = ["a::B", "a::c::self", "a::c::D", "a::e::F", "g::h"];
    assert_eq!(paths(code), found);
    let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "e")];
    let mut ladder = Ladder::new();
    for (from, to) in edges {
        ladder.entry(from.into()).or_default().insert(to.into());
        ladder.entry(to.into()).or_default();
    }
    let left: Vec<String> = circle(ladder).into_keys().collect();
    assert_eq!(left, ["a", "b", "c"]);
}
