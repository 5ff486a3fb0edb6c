//! The pieces of a page that change, so that a stream can send only those that did.

use std::collections::BTreeMap;

use roundel_model::visible;

/// One element of the page, named by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The element's id.
    pub(crate) id: String,
    /// The element, its own tags included.
    pub(crate) html: String,
    /// Whatever of it lies outside the children; equal text means equal markup.
    pub(crate) shell: String,
    /// Elements inside that may change on their own.
    pub(crate) children: Vec<Part>,
}

impl Part {
    /// A part that changes as a whole.
    pub(crate) fn leaf(id: impl Into<String>, html: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            html: html.into(),
            shell: String::new(),
            children: Vec::new(),
        }
    }

    /// The same without hidden characters.
    pub(crate) fn visible(self) -> Self {
        Self {
            id: self.id,
            html: visible(self.html),
            shell: visible(self.shell),
            children: self.children.into_iter().map(Self::visible).collect(),
        }
    }

    /// Bytes of text in it.
    pub(crate) fn len(&self) -> usize {
        let children = self.children.iter().map(Self::len).sum::<usize>();
        self.id.len() + self.html.len() + self.shell.len() + children
    }
}

/// What a viewer who has `before` must replace to have `now`: elements by id.
pub(crate) fn changes<'a>(before: &[Part], now: &'a [Part]) -> BTreeMap<&'a str, &'a str> {
    let mut out = BTreeMap::new();
    for part in now {
        match before.iter().find(|old| old.id == part.id) {
            Some(old) => differences(old, part, &mut out),
            None => {
                out.insert(part.id.as_str(), part.html.as_str());
            }
        }
    }
    out
}

/// All elements by id.
pub(crate) fn everything(now: &[Part]) -> BTreeMap<&str, &str> {
    now.iter()
        .map(|p| (p.id.as_str(), p.html.as_str()))
        .collect()
}

fn differences<'a>(old: &Part, new: &'a Part, out: &mut BTreeMap<&'a str, &'a str>) {
    if old.html == new.html {
        return;
    }
    let ids = |part: &Part| {
        part.children
            .iter()
            .map(|c| c.id.clone())
            .collect::<Vec<_>>()
    };
    let same_frame = old.shell == new.shell && ids(old) == ids(new);
    if new.children.is_empty() || !same_frame {
        out.insert(&new.id, &new.html);
        return;
    }
    for (old, new) in old.children.iter().zip(&new.children) {
        differences(old, new, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(shell: &str, rows: &[(&str, &str)]) -> Part {
        let children: Vec<_> = rows
            .iter()
            .map(|(id, html)| Part::leaf(*id, *html))
            .collect();
        Part {
            id: "t".into(),
            html: format!("{shell}{children:?}"),
            shell: shell.into(),
            children,
        }
    }

    fn ids(before: &Part, now: &Part) -> Vec<String> {
        let (before, now) = ([before.clone()], [now.clone()]);
        changes(&before, &now)
            .into_keys()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn only_rows_that_changed_are_sent() {
        let one = table("x", &[("a", "1"), ("b", "1")]);
        assert!(ids(&one, &one).is_empty());
        assert_eq!(ids(&one, &table("x", &[("a", "1"), ("b", "2")])), ["b"]);
        assert_eq!(ids(&one, &table("x", &[("a", "1")])), ["t"]);
        assert_eq!(ids(&one, &table("y", &[("a", "1"), ("b", "1")])), ["t"]);
        assert_eq!(ids(&Part::leaf("other", ""), &one), ["t"]);
    }
}
