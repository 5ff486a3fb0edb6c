//! The types of keys: how values are read, shown, and described to editors.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use roundel_model::Name;
use serde_json::{Value, json};

use crate::key::{Block, Described, Style, Table, restarts};
use crate::reader::{At, Item, choose};
use crate::value::{self, Fault, show_duration, show_listen, show_size};

/// The type of a key.
pub(crate) trait Kind {
    type Value: Clone + PartialEq;

    /// Reads a value; `None` if it is wrong, which is reported.
    fn read(&self, item: &Item<'_>) -> Option<Self::Value>;

    /// Writes a value as TOML that reads back.
    fn show(&self, value: &Self::Value, style: Style) -> String;

    /// What a value looks like, as JSON Schema.
    fn schema(&self) -> Value;

    /// Gives every key within it that is absent its default.
    fn fill(&self, _value: &mut Self::Value) {}

    /// The keys within it.
    fn keys(&self) -> Vec<Described> {
        Vec::new()
    }

    /// The value as tables with headers, if that is what it is.
    fn blocks(&self, _name: &str, _value: &Self::Value, _style: Style) -> Vec<Block> {
        Vec::new()
    }

    /// Names what differs in two values of the key `path` that are not the same.
    fn restarts(&self, path: &str, _a: &Self::Value, _b: &Self::Value) -> Vec<String> {
        vec![path.to_owned()]
    }
}

/// What may hold a variable: it is known only when the file is read.
const VARIABLE: &str = "\\$";

/// A string that looks like `pattern`, or holds a variable.
pub(crate) fn text_schema(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") })
}

/// One of these words, or a string with a variable.
pub(crate) fn words_schema<'a>(words: impl IntoIterator<Item = &'a str>) -> Value {
    let words: Vec<&str> = words.into_iter().collect();
    json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
}

/// Writes a string.
pub(crate) fn quote(value: impl ToString) -> String {
    let mut out = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // A dollar would start a variable.
            '$' => out.push_str("$$"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes a table within a line.
pub(crate) fn inline(pairs: impl IntoIterator<Item = String>) -> String {
    let text = pairs.into_iter().collect::<Vec<_>>().join(", ");
    match text.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {text} }}"),
    }
}

/// Writes a list, over several lines if it is long.
pub(crate) fn list(values: impl IntoIterator<Item = String>) -> String {
    const LONG: usize = 80;
    let values: Vec<String> = values.into_iter().collect();
    let line = format!("[{}]", values.join(", "));
    match line.len() > LONG && values.len() > 1 {
        true => format!("[\n    {},\n]", values.join(",\n    ")),
        false => line,
    }
}

/// `true` or `false`.
pub(crate) struct Bool;

impl Kind for Bool {
    type Value = bool;

    fn read(&self, item: &Item<'_>) -> Option<bool> {
        item.boolean()
    }

    fn show(&self, value: &bool, _: Style) -> String {
        value.to_string()
    }

    fn schema(&self) -> Value {
        json!({ "type": ["boolean", "string"], "pattern": VARIABLE })
    }
}

/// Any string.
pub(crate) struct Text;

impl Kind for Text {
    type Value = String;

    fn read(&self, item: &Item<'_>) -> Option<String> {
        item.text()
    }

    fn show(&self, value: &String, _: Style) -> String {
        quote(value)
    }

    fn schema(&self) -> Value {
        json!({ "type": "string" })
    }
}

/// A path in the file system.
pub(crate) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(&self, item: &Item<'_>) -> Option<PathBuf> {
        item.text().map(PathBuf::from)
    }

    fn show(&self, value: &PathBuf, _: Style) -> String {
        quote(value.display())
    }

    fn schema(&self) -> Value {
        Text.schema()
    }
}

/// The name of a frontend, a backend, a server or a node.
pub(crate) struct Named;

impl Kind for Named {
    type Value = Name;

    fn read(&self, item: &Item<'_>) -> Option<Name> {
        item.name()
    }

    fn show(&self, value: &Name, _: Style) -> String {
        quote(value)
    }

    fn schema(&self) -> Value {
        text_schema("^[A-Za-z0-9._:-]+$")
    }
}

/// A whole number within a range.
pub(crate) struct Whole(pub(crate) RangeInclusive<u64>);

impl Kind for Whole {
    type Value = u64;

    fn read(&self, item: &Item<'_>) -> Option<u64> {
        item.integer(self.0.clone())
    }

    fn show(&self, value: &u64, _: Style) -> String {
        value.to_string()
    }

    fn schema(&self) -> Value {
        let (least, most) = (self.0.start(), self.0.end());
        json!({ "type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": VARIABLE })
    }
}

/// A share from 0.0 to 1.0, kept in per cent.
pub(crate) struct Ratio;

impl Kind for Ratio {
    type Value = u8;

    fn read(&self, item: &Item<'_>) -> Option<u8> {
        item.ratio()
    }

    fn show(&self, percent: &u8, _: Style) -> String {
        format!("{}.{:02}", percent / 100, percent % 100)
    }

    fn schema(&self) -> Value {
        json!({ "type": ["number", "string"], "minimum": 0, "maximum": 1, "pattern": VARIABLE })
    }
}

/// A time with its unit, and what else is asked of it, such as [`any`].
pub(crate) struct Time(pub(crate) fn(&Item<'_>, Duration) -> Option<Duration>);

impl Kind for Time {
    type Value = Duration;

    fn read(&self, item: &Item<'_>) -> Option<Duration> {
        let time = item.measure("s", value::duration)?;
        (self.0)(item, time)
    }

    fn show(&self, value: &Duration, _: Style) -> String {
        quote(show_duration(*value))
    }

    fn schema(&self) -> Value {
        text_schema(r"^\s*([0-9]+\s*(us|ms|s|m|min|h|d)\s*)+$|^0$")
    }
}

/// A size with its unit, and what else is asked of it; see [`any`].
pub(crate) struct Bytes(pub(crate) fn(&Item<'_>, u64) -> Option<u64>);

impl Kind for Bytes {
    type Value = u64;

    fn read(&self, item: &Item<'_>) -> Option<u64> {
        let size = item.measure("B", value::size)?;
        (self.0)(item, size)
    }

    fn show(&self, value: &u64, _: Style) -> String {
        quote(show_size(*value))
    }

    fn schema(&self) -> Value {
        text_schema(r"^\s*[0-9]+\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?\s*$")
    }
}

/// Nothing else is asked of a value.
pub(crate) fn any<T>(_item: &Item<'_>, value: T) -> Option<T> {
    Some(value)
}

/// An address to listen on.
pub(crate) struct Listen;

impl Kind for Listen {
    type Value = SocketAddr;

    fn read(&self, item: &Item<'_>) -> Option<SocketAddr> {
        if let Some(number) = item.bare_number() {
            return item.fail(Fault::new(
                format!("{number} is a bare number, not an address to listen on"),
                format!("write \":{number}\""),
            ));
        }
        item.parse(value::listen)
    }

    fn show(&self, value: &SocketAddr, _: Style) -> String {
        quote(show_listen(*value))
    }

    fn schema(&self) -> Value {
        text_schema("^.*:[0-9]{1,5}$")
    }
}

/// One of some words.
pub(crate) struct Word<T> {
    pub(crate) words: Vec<(&'static str, T)>,
    /// Whether they may be in capitals, as in HTTP.
    pub(crate) any_case: bool,
}

/// One of these words, as they are.
pub(crate) fn word<T: Copy>(words: &[(&'static str, T)]) -> Word<T> {
    Word {
        words: words.to_vec(),
        any_case: false,
    }
}

impl<T: Copy + PartialEq> Kind for Word<T> {
    type Value = T;

    fn read(&self, item: &Item<'_>) -> Option<T> {
        item.parse(|text| match self.any_case {
            true => choose(&text.to_lowercase(), &self.words),
            false => choose(text, &self.words),
        })
    }

    fn show(&self, value: &T, _: Style) -> String {
        let found = self.words.iter().find(|(_, meaning)| meaning == value);
        quote(found.map_or("", |(word, _)| word))
    }

    fn schema(&self) -> Value {
        let words = self.words.iter().map(|(word, _)| (*word).to_owned());
        let mut words: Vec<String> = words.collect();
        if self.any_case {
            let capital = |word: &String| word[..1].to_uppercase() + &word[1..];
            words.extend(words.iter().map(capital).collect::<Vec<_>>());
        }
        words_schema(words.iter().map(String::as_str))
    }
}

/// A string in a notation of its own.
pub(crate) struct Notation<T> {
    pub(crate) read: fn(&str) -> Result<T, Fault>,
    pub(crate) show: fn(&T) -> String,
    /// What it looks like, roughly: the reader knows more.
    pub(crate) pattern: &'static str,
}

impl<T: Clone + PartialEq> Kind for Notation<T> {
    type Value = T;

    fn read(&self, item: &Item<'_>) -> Option<T> {
        item.parse(self.read)
    }

    fn show(&self, value: &T, _: Style) -> String {
        quote((self.show)(value))
    }

    fn schema(&self) -> Value {
        text_schema(self.pattern)
    }
}

/// Several values; one alone may stand without brackets.
pub(crate) struct List<K>(pub(crate) K);

impl<K: Kind> Kind for List<K> {
    type Value = Vec<At<K::Value>>;

    fn read(&self, item: &Item<'_>) -> Option<Self::Value> {
        Some(item.list_of(|item| self.0.read(item)))
    }

    fn show(&self, value: &Self::Value, style: Style) -> String {
        // What is by default would hide in what entries have in common what tells them apart.
        let style = Style {
            all: false,
            ..style
        };
        list(value.iter().map(|at| self.0.show(&at.value, style)))
    }

    fn schema(&self) -> Value {
        let one = self.0.schema();
        json!({ "anyOf": [{ "type": "array", "items": one }, one] })
    }

    fn fill(&self, value: &mut Self::Value) {
        for at in value {
            self.0.fill(&mut at.value);
        }
    }

    fn keys(&self) -> Vec<Described> {
        self.0.keys()
    }

    fn blocks(&self, name: &str, value: &Self::Value, style: Style) -> Vec<Block> {
        let blocks = value
            .iter()
            .flat_map(|at| self.0.blocks(name, &at.value, style));
        let each = |block: Block| Block {
            header: format!("[{}]", block.header),
            ..block
        };
        blocks.map(each).collect()
    }
}

/// A value, or the word `off`.
pub(crate) struct OrOff<K> {
    pub(crate) kind: K,
    /// What is wrong with another string, where the value is none.
    pub(crate) other: Option<fn(&str) -> Fault>,
}

impl<K: Kind> Kind for OrOff<K> {
    type Value = Option<K::Value>;

    fn read(&self, item: &Item<'_>) -> Option<Self::Value> {
        if !item.is_text() {
            return self.kind.read(item).map(Some);
        }
        match (&*item.text()?, self.other) {
            ("off", _) => Some(None),
            (text, Some(other)) => item.fail(other(text)),
            (_, None) => self.kind.read(item).map(Some),
        }
    }

    fn show(&self, value: &Self::Value, style: Style) -> String {
        match value {
            Some(value) => self.kind.show(value, style),
            None => quote("off"),
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [self.kind.schema(), words_schema(["off"])] })
    }

    fn fill(&self, value: &mut Self::Value) {
        if let Some(value) = value {
            self.kind.fill(value);
        }
    }

    fn keys(&self) -> Vec<Described> {
        self.kind.keys()
    }
}

/// A table.
pub(crate) struct TableOf<T>(PhantomData<T>);

/// The table `T`.
pub(crate) fn table<T: Table>() -> TableOf<T> {
    TableOf(PhantomData)
}

impl<T: Table> Kind for TableOf<T> {
    type Value = T;

    fn read(&self, item: &Item<'_>) -> Option<T> {
        T::read(&item.section(T::EXAMPLE)?)
    }

    fn show(&self, value: &T, style: Style) -> String {
        let lines = value.lines(style).into_iter();
        inline(lines.map(|line| format!("{} = {}", line.key, line.value)))
    }

    fn schema(&self) -> Value {
        crate::schema::named::<T>()
    }

    fn fill(&self, value: &mut T) {
        value.fill();
    }

    fn keys(&self) -> Vec<Described> {
        T::described()
    }

    fn blocks(&self, name: &str, value: &T, style: Style) -> Vec<Block> {
        vec![Block {
            header: format!("[{name}]"),
            lines: value.lines(style),
        }]
    }

    fn restarts(&self, path: &str, a: &T, b: &T) -> Vec<String> {
        restarts(&format!("{path}."), a, b)
    }
}

/// A table that has a short form.
pub(crate) struct Short<T> {
    pub(crate) is_short: fn(&Item<'_>) -> bool,
    pub(crate) read: fn(&Item<'_>) -> Option<T>,
    /// The short form, if it says everything.
    pub(crate) show: fn(&T) -> Option<String>,
    pub(crate) schema: fn() -> Value,
}

impl<T: Table> Kind for Short<T> {
    type Value = T;

    fn read(&self, item: &Item<'_>) -> Option<T> {
        match (self.is_short)(item) {
            true => (self.read)(item),
            false => table().read(item),
        }
    }

    fn show(&self, value: &T, style: Style) -> String {
        (self.show)(value).unwrap_or_else(|| table().show(value, style))
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [(self.schema)(), table::<T>().schema()] })
    }

    fn fill(&self, value: &mut T) {
        value.fill();
    }

    fn keys(&self) -> Vec<Described> {
        T::described()
    }
}

/// A table of strings with keys of the user's.
pub(crate) struct Texts {
    pub(crate) example: &'static str,
}

impl Kind for Texts {
    type Value = BTreeMap<String, At<String>>;

    fn read(&self, item: &Item<'_>) -> Option<Self::Value> {
        let section = item.section(self.example)?;
        let entries = section.entries();
        let text = |(key, item): (&str, Item<'_>)| {
            let (place, value) = (item.place(), item.text()?);
            Some((key.to_owned(), At { value, place }))
        };
        Some(entries.filter_map(text).collect())
    }

    fn show(&self, value: &Self::Value, _: Style) -> String {
        inline(value.iter().map(|(key, at)| pair(key, quote(&at.value))))
    }

    fn schema(&self) -> Value {
        json!({ "type": "object", "additionalProperties": Text.schema() })
    }
}

/// Writes a key of the user's with its value.
pub(crate) fn pair(key: &str, value: impl std::fmt::Display) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !key.is_empty() && key.chars().all(is_bare) {
        true => format!("{key} = {value}"),
        // Keys hold no variables.
        false => format!("{} = {value}", quote(key).replace("$$", "$")),
    }
}
