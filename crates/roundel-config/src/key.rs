//! What is known of a key: its name, its type, its default, its words, told once.
//!
//! From these descriptions come reading, defaults, the example with every key (`reference`), the
//! schema for editors (`schema`), what `check --print` shows (`write`), and which changes need a
//! restart. A table of the file is a struct whose fields are [`Maybe`] and a list of [`Key`]s.

use crate::kind::Kind;
use crate::reader::{At, Place, Section, read_value};

/// An optional value with its place.
pub(crate) type Maybe<T> = Option<At<T>>;

/// A table of the file.
pub(crate) trait Table: Default + Clone + PartialEq + 'static {
    /// What to write where something else stands.
    const EXAMPLE: &'static str;
    /// Keys that are understood but that this version cannot do yet, with what to do instead.
    const LATER: &'static [(&'static str, &'static str)] = &[];

    /// Its keys, in the order in which they are shown.
    fn keys() -> Vec<Key<Self>>;

    /// Reports what only several keys together tell; without `true` the table does not count.
    fn verify(&mut self, _section: &Section<'_>) -> bool {
        true
    }

    /// Fills in what is as other keys say, once the others have their defaults.
    fn complete(&mut self) {}

    /// Reads every key, and reports unknown ones. `None` if the table cannot count.
    fn read(section: &Section<'_>) -> Option<Self> {
        let mut table = Self::default();
        let keys = Self::keys();
        for key in &keys {
            key.field.read(&key.about, section, &mut table);
        }
        let is_right = table.verify(section);
        section.finish(Self::LATER);
        let is_whole = |key: &Key<Self>| !key.about.is_required || key.field.is_said(&table);
        (is_right && keys.iter().all(is_whole)).then_some(table)
    }

    /// Takes from `base` what it does not say itself.
    fn inherit(&mut self, base: &Self) {
        for key in Self::keys() {
            key.field.inherit(self, base);
        }
    }

    /// Gives every key that is absent its default.
    fn fill(&mut self) {
        for key in Self::keys() {
            key.field.fill(&key.about, self);
        }
        self.complete();
    }

    /// What it says, a line for each key.
    fn lines(&self, style: Style) -> Vec<Line> {
        let mut lines = Vec::new();
        for key in Self::keys() {
            key.field.lines(&key.about, self, style, &mut lines);
        }
        lines
    }

    /// What is known of its keys.
    fn described() -> Vec<Described> {
        let described = |key: Key<Self>| Described {
            shape: key.field.shape(),
            about: key.about,
        };
        Self::keys().into_iter().map(described).collect()
    }
}

/// What is known of a key apart from its type. Texts of values are TOML.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// What it does, in the words of the reference.
    pub(crate) words: &'static str,
    /// What counts when nobody says it; none if that depends on other keys, or is nothing.
    pub(crate) default: Option<&'static str>,
    /// What the reference shows instead of the default.
    pub(crate) example: Option<&'static str>,
    /// Whether the reference says the example, or has it in a comment.
    pub(crate) is_example_said: bool,
    pub(crate) is_required: bool,
    /// Whether only a restart takes a change over.
    pub(crate) needs_restart: bool,
    /// Whether it is never shown.
    pub(crate) is_secret: bool,
    /// Whether what counts without it depends on other tables or keys.
    pub(crate) is_contextual: bool,
}

/// A key of the table `T`.
pub(crate) struct Key<T> {
    pub(crate) about: About,
    pub(crate) field: Box<dyn Field<T>>,
}

/// A key of the name of the field that holds its value, and of the type that a kind reads.
macro_rules! key {
    ($field:ident, $kind:expr) => {
        $crate::key::Key::new(
            stringify!($field),
            $kind,
            |table: &Self| &table.$field,
            |table: &mut Self| &mut table.$field,
        )
    };
}

/// A key that holds a table, which is there even where the file does not have it.
macro_rules! part {
    ($field:ident) => {
        $crate::key::Key::part(
            stringify!($field),
            |table: &Self| &table.$field,
            |table: &mut Self| &mut table.$field,
        )
    };
}

pub(crate) use {key, part};

impl<T: 'static> Key<T> {
    pub(crate) fn new<K: Kind + 'static>(
        name: &'static str,
        kind: K,
        get: fn(&T) -> &Maybe<K::Value>,
        get_mut: fn(&mut T) -> &mut Maybe<K::Value>,
    ) -> Self {
        let field = Leaf { kind, get, get_mut };
        Self::of(name, Box::new(field))
    }

    pub(crate) fn part<P: Table>(
        name: &'static str,
        get: fn(&T) -> &P,
        get_mut: fn(&mut T) -> &mut P,
    ) -> Self {
        Self::of(name, Box::new(Part { get, get_mut }))
    }

    fn of(name: &'static str, field: Box<dyn Field<T>>) -> Self {
        let about = About {
            name,
            ..About::default()
        };
        Self { about, field }
    }

    /// The same key in a table that `T` is a part of.
    pub(crate) fn within<U: 'static>(
        self,
        get: fn(&U) -> &T,
        get_mut: fn(&mut U) -> &mut T,
    ) -> Key<U> {
        let field = Within {
            field: self.field,
            get,
            get_mut,
        };
        Key {
            about: self.about,
            field: Box::new(field),
        }
    }

    pub(crate) fn words(mut self, words: &'static str) -> Self {
        self.about.words = words;
        self
    }

    pub(crate) fn default(mut self, text: &'static str) -> Self {
        self.about.default = Some(text);
        self
    }

    /// What the reference has in a comment.
    pub(crate) fn example(mut self, text: &'static str) -> Self {
        self.about.example = Some(text);
        self
    }

    /// What the reference says.
    pub(crate) fn said(mut self, text: &'static str) -> Self {
        self.about.is_example_said = true;
        self.example(text)
    }

    pub(crate) fn required(mut self) -> Self {
        self.about.is_required = true;
        self
    }

    pub(crate) fn restart(mut self) -> Self {
        self.about.needs_restart = true;
        self
    }

    pub(crate) fn secret(mut self) -> Self {
        self.about.is_secret = true;
        self
    }

    pub(crate) fn contextual(mut self) -> Self {
        self.about.is_contextual = true;
        self
    }
}

/// What is known of a key, whatever table it is in.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) about: About,
    pub(crate) shape: Shape,
}

/// What is known of the type of a key.
#[derive(Debug)]
pub(crate) struct Shape {
    /// What a value looks like, as JSON Schema.
    pub(crate) schema: serde_json::Value,
    /// The keys of the table that it holds or may hold.
    pub(crate) keys: Vec<Described>,
    /// Whether it is always that table.
    pub(crate) is_part: bool,
}

/// How values are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Also what is as by default.
    pub(crate) all: bool,
    /// Also what is secret.
    pub(crate) secrets: bool,
}

/// One key with its value, as the file has it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// A table with its header.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: String,
    pub(crate) lines: Vec<Line>,
}

/// Where a key's value is in the table `T`, and what can be done with it there.
pub(crate) trait Field<T> {
    fn read(&self, about: &About, from: &Section<'_>, to: &mut T);
    fn is_said(&self, table: &T) -> bool;
    fn inherit(&self, to: &mut T, base: &T);
    fn fill(&self, about: &About, to: &mut T);
    fn lines(&self, about: &About, from: &T, style: Style, lines: &mut Vec<Line>);
    /// What it says, if that is tables with headers.
    fn blocks(&self, about: &About, from: &T, style: Style) -> Vec<Block>;
    fn shape(&self) -> Shape;
    /// Names the keys within `path` that need a restart and are not the same in both tables.
    fn restarts(&self, about: &About, path: &str, a: &T, b: &T) -> Vec<String>;
    /// Takes from `running` what needs a restart.
    fn keep(&self, about: &About, to: &mut T, running: &T);
}

/// A field with a value.
struct Leaf<T, K: Kind> {
    kind: K,
    get: fn(&T) -> &Maybe<K::Value>,
    get_mut: fn(&mut T) -> &mut Maybe<K::Value>,
}

impl<T, K: Kind> Leaf<T, K> {
    fn default(&self, about: &About) -> Option<K::Value> {
        read_value(about.default?, |item| self.kind.read(item))
    }
}

impl<T, K: Kind> Field<T> for Leaf<T, K> {
    fn read(&self, about: &About, from: &Section<'_>, to: &mut T) {
        let read = |item: &_| self.kind.read(item);
        *(self.get_mut)(to) = match about.is_required {
            true => from.require(about.name, read),
            false => from.get(about.name, read),
        };
    }

    fn is_said(&self, table: &T) -> bool {
        (self.get)(table).is_some()
    }

    fn inherit(&self, to: &mut T, base: &T) {
        let field = (self.get_mut)(to);
        if field.is_none() {
            field.clone_from((self.get)(base));
        }
    }

    fn fill(&self, about: &About, to: &mut T) {
        let field = (self.get_mut)(to);
        if field.is_none() {
            *field = self.default(about).map(At::default);
        }
        if let Some(at) = field {
            self.kind.fill(&mut at.value);
        }
    }

    fn lines(&self, about: &About, from: &T, style: Style, lines: &mut Vec<Line>) {
        let Some(at) = (self.get)(from) else { return };
        if about.is_secret && !style.secrets {
            return;
        }
        let show = |value: &K::Value| self.kind.show(value, style);
        let value = show(&at.value);
        let is_default = || self.default(about).is_some_and(|d| show(&d) == value);
        if style.all || about.is_contextual || !is_default() {
            let key = about.name.to_owned();
            let place = at.place.clone();
            lines.push(Line { key, value, place });
        }
    }

    fn blocks(&self, about: &About, from: &T, style: Style) -> Vec<Block> {
        match (self.get)(from) {
            Some(at) => self.kind.blocks(about.name, &at.value, style),
            None => Vec::new(),
        }
    }

    fn shape(&self) -> Shape {
        Shape {
            schema: self.kind.schema(),
            keys: self.kind.keys(),
            is_part: false,
        }
    }

    fn restarts(&self, about: &About, path: &str, a: &T, b: &T) -> Vec<String> {
        if !about.needs_restart || (self.get)(a) == (self.get)(b) {
            return Vec::new();
        }
        let own = format!("{path}{}", about.name);
        match ((self.get)(a), (self.get)(b)) {
            (Some(a), Some(b)) => self.kind.restarts(&own, &a.value, &b.value),
            _ => vec![own],
        }
    }

    fn keep(&self, about: &About, to: &mut T, running: &T) {
        if about.needs_restart {
            (self.get_mut)(to).clone_from((self.get)(running));
        }
    }
}

/// A field that is a table.
struct Part<T, P> {
    get: fn(&T) -> &P,
    get_mut: fn(&mut T) -> &mut P,
}

impl<T, P: Table> Field<T> for Part<T, P> {
    fn read(&self, about: &About, from: &Section<'_>, to: &mut T) {
        let section = from
            .item(about.name)
            .and_then(|item| item.section(P::EXAMPLE));
        if let Some(part) = section.and_then(|section| P::read(&section)) {
            *(self.get_mut)(to) = part;
        }
    }

    fn is_said(&self, _table: &T) -> bool {
        true
    }

    fn inherit(&self, to: &mut T, base: &T) {
        (self.get_mut)(to).inherit((self.get)(base));
    }

    fn fill(&self, _about: &About, to: &mut T) {
        (self.get_mut)(to).fill();
    }

    fn lines(&self, about: &About, from: &T, style: Style, lines: &mut Vec<Line>) {
        for line in (self.get)(from).lines(style) {
            let key = format!("{}.{}", about.name, line.key);
            lines.push(Line { key, ..line });
        }
    }

    fn blocks(&self, about: &About, from: &T, style: Style) -> Vec<Block> {
        let lines = (self.get)(from).lines(style);
        let header = format!("[{}]", about.name);
        let block = (!lines.is_empty()).then_some(Block { header, lines });
        block.into_iter().collect()
    }

    fn shape(&self) -> Shape {
        Shape {
            schema: crate::schema::object(&P::described()),
            keys: P::described(),
            is_part: true,
        }
    }

    fn restarts(&self, about: &About, path: &str, a: &T, b: &T) -> Vec<String> {
        restarts(
            &format!("{path}{}.", about.name),
            (self.get)(a),
            (self.get)(b),
        )
    }

    fn keep(&self, _about: &About, to: &mut T, running: &T) {
        keep((self.get_mut)(to), (self.get)(running));
    }
}

/// Names the keys that need a restart and are not the same in both tables.
pub(crate) fn restarts<T: Table>(path: &str, a: &T, b: &T) -> Vec<String> {
    let keys = T::keys();
    let keys = keys.iter();
    keys.flat_map(|key| key.field.restarts(&key.about, path, a, b))
        .collect()
}

/// Takes from `running` what needs a restart.
pub(crate) fn keep<T: Table>(to: &mut T, running: &T) {
    for key in T::keys() {
        key.field.keep(&key.about, to, running);
    }
}

/// A field of a part, as a field of the whole.
struct Within<U, T> {
    field: Box<dyn Field<T>>,
    get: fn(&U) -> &T,
    get_mut: fn(&mut U) -> &mut T,
}

impl<U, T> Field<U> for Within<U, T> {
    fn read(&self, about: &About, from: &Section<'_>, to: &mut U) {
        self.field.read(about, from, (self.get_mut)(to));
    }

    fn is_said(&self, table: &U) -> bool {
        self.field.is_said((self.get)(table))
    }

    fn inherit(&self, to: &mut U, base: &U) {
        self.field.inherit((self.get_mut)(to), (self.get)(base));
    }

    fn fill(&self, about: &About, to: &mut U) {
        self.field.fill(about, (self.get_mut)(to));
    }

    fn lines(&self, about: &About, from: &U, style: Style, lines: &mut Vec<Line>) {
        self.field.lines(about, (self.get)(from), style, lines);
    }

    fn blocks(&self, about: &About, from: &U, style: Style) -> Vec<Block> {
        self.field.blocks(about, (self.get)(from), style)
    }

    fn shape(&self) -> Shape {
        self.field.shape()
    }

    fn restarts(&self, about: &About, path: &str, a: &U, b: &U) -> Vec<String> {
        self.field
            .restarts(about, path, (self.get)(a), (self.get)(b))
    }

    fn keep(&self, about: &About, to: &mut U, running: &U) {
        self.field
            .keep(about, (self.get_mut)(to), (self.get)(running));
    }
}
