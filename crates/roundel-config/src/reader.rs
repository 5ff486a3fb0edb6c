//! Walks a parsed TOML file and collects every problem with its place.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use roundel_model::Name;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::interpolate::interpolate;
use super::problem::MOST;
use crate::value::{Fault, closest};

/// A value together with who said it.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it comes from.
    pub(crate) place: Place,
}

/// Two values are the same wherever they come from.
impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> At<T> {
    /// A value that nobody said.
    pub(crate) fn default(value: T) -> Self {
        let place = Place::Default;
        Self { value, place }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The bytes of the file that say it.
    File(Range<usize>),
    /// A flag or a variable, in words.
    Said(String),
    /// Nobody said it.
    Default,
}

/// Collects problems, and looks variables up.
pub(crate) struct Reader<'e> {
    problems: RefCell<Vec<Problem>>,
    lookup: &'e dyn Fn(&str) -> Option<String>,
    /// Whether what it reads is a user's file.
    has_places: bool,
}

impl<'e> Reader<'e> {
    pub(crate) fn new(lookup: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            problems: RefCell::default(),
            lookup,
            has_places: true,
        }
    }

    /// Reads texts of our own, whose values nobody said.
    fn of_defaults() -> Self {
        let has_places = false;
        let lookup = &|_: &str| None;
        Self {
            has_places,
            ..Reader::new(lookup)
        }
    }

    /// Reports what is wrong with a value, at its place if that is in the file.
    pub(crate) fn report_at(&self, place: &Place, fault: Fault) {
        match place {
            Place::File(span) => self.report(span.clone(), fault),
            _ => self.report_nowhere(fault),
        }
    }

    pub(crate) fn report(&self, span: Range<usize>, fault: Fault) {
        self.problems.borrow_mut().push(Problem {
            message: fault.message,
            hint: fault.hint,
            span: Some(span),
        });
    }

    /// Reports what no place of the file stands for.
    pub(crate) fn report_nowhere(&self, fault: Fault) {
        self.problems.borrow_mut().push(Problem {
            message: fault.message,
            hint: fault.hint,
            span: None,
        });
    }

    /// The word that was likely meant; none any more once more is wrong than is told.
    pub(crate) fn near<'k>(
        &self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Option<&'k str> {
        let is_told = self.problems.borrow().len() < MOST;
        is_told.then(|| closest(word, known)).flatten()
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// One table of the file.
///
/// Every key that is asked for becomes a known one; [`Section::finish`] reports the others.
pub(crate) struct Section<'a> {
    reader: &'a Reader<'a>,
    table: &'a DeTable<'a>,
    path: String,
    span: Range<usize>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(reader: &'a Reader<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            reader,
            table: table.get_ref(),
            path: String::new(),
            span: table.span(),
            known: RefCell::default(),
        }
    }

    /// Where the table stands (its header, or the whole inline table).
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of `key`, if the file has one.
    pub(crate) fn item(&self, key: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(key);
        let (_, value) = self.table.iter().find(|(k, _)| k.get_ref() == key)?;
        Some(Item {
            reader: self.reader,
            value,
            path: self.join(key),
        })
    }

    /// Reads `key` by `read`; `None` if it is absent or wrong (which is reported).
    pub(crate) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        let item = self.item(key)?;
        let value = read(&item)?;
        Some(At {
            value,
            place: item.place(),
        })
    }

    /// Reads `key`, which has to be there.
    pub(crate) fn require<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<At<T>> {
        if !self.table.keys().any(|k| k.get_ref() == key) {
            let what = if self.path.is_empty() {
                "the file"
            } else {
                &self.path
            };
            self.reader.report(
                self.span(),
                Fault::new(format!("{what} needs a `{key}`"), format!("add {key} = …")),
            );
        }
        self.get(key, read)
    }

    /// Every key with its value, for tables whose keys are free.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        self.table.iter().map(|(key, value)| {
            let item = Item {
                reader: self.reader,
                value,
                path: self.join(key.get_ref()),
            };
            (key.get_ref().as_ref(), item)
        })
    }

    /// Reports that the table is wrong as a whole.
    pub(crate) fn fail(&self, fault: Fault) {
        self.reader.report(self.span(), fault);
    }

    /// Reports that one of its values is wrong beside the others.
    pub(crate) fn report_at(&self, place: &Place, fault: Fault) {
        self.reader.report_at(place, fault);
    }

    /// Reports that a free key is wrong.
    pub(crate) fn fail_key<T>(&self, key: &str, fault: Fault) -> Option<T> {
        let found = self.table.keys().find(|k| k.get_ref() == key);
        let span = found.map_or_else(|| self.span(), Spanned::span);
        self.reader.report(span, fault);
        None
    }

    /// Reports the keys that nobody asked for. `later` names keys that are understood but that
    /// this version cannot do yet.
    pub(crate) fn finish(&self, later: &[(&'static str, &'static str)]) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let place = if self.path.is_empty() {
                "at the top of the file".to_owned()
            } else {
                format!("in {}", self.path)
            };
            let fault = if let Some((_, hint)) = later.iter().find(|(k, _)| *k == word) {
                Fault::new(
                    format!("this version cannot do `{word}` {place} yet"),
                    *hint,
                )
            } else if let Some(near) = self.reader.near(word, known.iter().copied()) {
                Fault::new(
                    format!("unknown key `{word}` {place}"),
                    format!("did you mean `{near}`?"),
                )
            } else {
                let mut all: Vec<&str> = known.clone();
                all.sort_unstable();
                all.dedup();
                Fault::new(
                    format!("unknown key `{word}` {place}"),
                    format!("known here: {}", all.join(", ")),
                )
            };
            self.reader.report(key.span(), fault);
        }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// One value of the file.
pub(crate) struct Item<'a> {
    reader: &'a Reader<'a>,
    value: &'a Spanned<DeValue<'a>>,
    path: String,
}

impl<'a> Item<'a> {
    pub(crate) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Where its value comes from.
    pub(crate) fn place(&self) -> Place {
        match self.reader.has_places {
            true => Place::File(self.span()),
            false => Place::Default,
        }
    }

    /// Reports that this value is wrong.
    pub(crate) fn fail<T>(&self, fault: Fault) -> Option<T> {
        self.reader.report(self.span(), fault);
        None
    }

    fn wrong_type<T>(&self, wanted: &str, example: &str) -> Option<T> {
        let found = self.value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) {
            "an"
        } else {
            "a"
        };
        self.fail(Fault::new(
            format!("`{}` is {article} {found}, not {wanted}", self.path),
            format!("write for example {example}"),
        ))
    }

    pub(crate) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// A string with its variables replaced.
    pub(crate) fn text(&self) -> Option<String> {
        let Some(raw) = self.value.get_ref().as_str() else {
            return self.wrong_type("a string", "\"text\"");
        };
        match interpolate(raw, self.reader.lookup) {
            Ok(text) => Some(text),
            Err(fault) => self.fail(fault),
        }
    }

    /// A string in a notation of its own.
    pub(crate) fn parse<T>(&self, read: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        let text = self.text()?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(fault) => self.fail(fault),
        }
    }

    /// A whole number as it is written, if that is what stands here.
    pub(crate) fn bare_number(&self) -> Option<&str> {
        match self.value.get_ref() {
            DeValue::Integer(n) => Some(n.as_str()),
            _ => None,
        }
    }

    /// A string in a notation of its own that people tend to write as a plain number.
    pub(crate) fn measure<T>(
        &self,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        match self.value.get_ref() {
            DeValue::Integer(n) => {
                let fault = Fault::new(
                    format!("`{}` is a bare number", self.path),
                    format!("say the unit: \"{}{example}\"", n.as_str()),
                );
                self.fail(fault)
            }
            _ => self.parse(read),
        }
    }

    /// A whole number within `range`; a string counts when a variable may stand in it.
    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match self.value.get_ref() {
            DeValue::Integer(n) => i128::from_str_radix(n.as_str(), n.radix()).ok(),
            DeValue::String(raw) if raw.contains('$') => self.text()?.trim().parse().ok(),
            _ => return self.wrong_type("a number", &range.start().to_string()),
        };
        let within = number
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| range.contains(n));
        match within {
            Some(n) => Some(n),
            None => self.fail(Fault::new(
                format!("`{}` is out of range", self.path),
                format!("use {} to {}", range.start(), range.end()),
            )),
        }
    }

    /// A share from 0 to 1, in per cent.
    pub(crate) fn ratio(&self) -> Option<u8> {
        let number: Option<f64> = match self.value.get_ref() {
            DeValue::Float(n) => n.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(n) => n.as_str().parse().ok(),
            DeValue::String(raw) if raw.contains('$') => self.text()?.trim().parse().ok(),
            _ => return self.wrong_type("a share", "0.5"),
        };
        match number.filter(|n| (0.0..=1.0).contains(n)) {
            Some(n) => Some((n * 100.0).round() as u8),
            None => self.fail(Fault::new(
                format!("`{}` is out of range", self.path),
                "use 0.0 to 1.0",
            )),
        }
    }

    /// `true` or `false`; a string counts when a variable may stand in it.
    pub(crate) fn boolean(&self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(b) => Some(*b),
            DeValue::String(raw) if raw.contains('$') => match self.text()?.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => self.wrong_type("true or false", "true"),
            },
            _ => self.wrong_type("true or false", "true"),
        }
    }

    /// A name of a frontend, backend or server.
    pub(crate) fn name(&self) -> Option<Name> {
        self.parse(|text| {
            Name::new(text).map_err(|e| Fault {
                message: format!("`{text}` is not a name"),
                hint: Some(e.to_string()),
            })
        })
    }

    /// The values of an array; anything else counts as an array of one.
    pub(crate) fn list(&self) -> Vec<Item<'a>> {
        match self.value.get_ref().as_array() {
            Some(array) => array
                .iter()
                .map(|value| Item {
                    reader: self.reader,
                    value,
                    path: self.path.clone(),
                })
                .collect(),
            None => vec![Item {
                reader: self.reader,
                value: self.value,
                path: self.path.clone(),
            }],
        }
    }

    /// Reads every value of an array, each with its place; wrong ones are reported and left out.
    pub(crate) fn list_of<T>(&self, read: impl Fn(&Item<'a>) -> Option<T>) -> Vec<At<T>> {
        let read = |item: &Item<'a>| {
            read(item).map(|value| At {
                value,
                place: item.place(),
            })
        };
        self.list().iter().filter_map(read).collect()
    }

    /// A table.
    pub(crate) fn section(&self, example: &str) -> Option<Section<'a>> {
        let Some(table) = self.value.get_ref().as_table() else {
            return self.wrong_type("a table", example);
        };
        Some(Section {
            reader: self.reader,
            table,
            path: self.path.clone(),
            span: self.span(),
            known: RefCell::default(),
        })
    }
}

/// Reads a value of our own, written as in a file.
pub(crate) fn read_value<T>(text: &str, read: impl FnOnce(&Item<'_>) -> Option<T>) -> Option<T> {
    let text = format!("value = {text}");
    let table = DeTable::parse(&text).ok()?;
    let reader = Reader::of_defaults();
    let value = Section::root(&reader, &table).item("value")?;
    read(&value)
}

/// Finds the meaning of `text` among `words`.
pub(crate) fn choose<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let hint = match closest(text, all.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("use one of: {}", all.join(", ")),
    };
    Err(Fault::new(format!("`{text}` is not known here"), hint))
}
