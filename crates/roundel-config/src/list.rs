//! Repeatable flags whose values may hold commas: a flag is one value, its variable is a list.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::parser::ValueSource;
use clap::{Arg, Command, Error};

/// What one flag or the whole variable gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Reads each item with the parser inside. Only a variable is split at commas; `\,` is a comma.
#[derive(Debug, Clone)]
pub(crate) struct Listed<P>(pub(crate) P);

impl<P> TypedValueParser for Listed<P>
where
    P: TypedValueParser,
    P::Value: Clone + Send + Sync + 'static,
{
    type Value = List<P::Value>;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        let item = self.0.parse_ref(command, arg, value)?;
        Ok(List(vec![item]))
    }

    fn parse_ref_(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
        source: ValueSource,
    ) -> Result<Self::Value, Error> {
        let text = value.to_str();
        let Some(text) = text.filter(|_| source == ValueSource::EnvVariable) else {
            return self.parse_ref(command, arg, value);
        };
        let items = split(text).into_iter();
        let items = items.map(|item| self.0.parse_ref(command, arg, OsStr::new(&item)));
        items.collect::<Result<_, _>>().map(List)
    }
}

/// Splits at commas that no backslash stands before; that backslash goes, others stay.
fn split(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let last = items.last_mut().expect("there is one from the beginning");
        match c {
            ',' => items.push(String::new()),
            '\\' if chars.next_if_eq(&',').is_some() => last.push(','),
            c => last.push(c),
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_variable_is_a_list() {
        let read = |source| {
            let command = Command::new("roundel");
            let text = OsStr::new("a=1,b=2");
            let list = Listed(crate::value::pair).parse_ref_(&command, None, text, source);
            let list = list.unwrap();
            let pairs = list.0.iter().map(|(k, v)| format!("{k} is {v}"));
            pairs.collect::<Vec<_>>()
        };
        assert_eq!(read(ValueSource::EnvVariable), ["a is 1", "b is 2"]);
        assert_eq!(read(ValueSource::CommandLine), ["a is 1,b=2"]);
    }

    #[test]
    fn an_escaped_comma_belongs_to_the_item() {
        for (text, items) in [
            ("a=1", &["a=1"][..]),
            ("a=1,b=2", &["a=1", "b=2"]),
            (r"paths=/a\,/b,b=2", &["paths=/a,/b", "b=2"]),
            (r"a=\d,b=\", &[r"a=\d", r"b=\"]),
        ] {
            assert_eq!(split(text), items, "{text}");
        }
    }
}
