//! JSON Schema, as far as ours goes. What it does not know fails, so that nothing is passed over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use regex::Regex;
use serde_json::{Map, Value};

/// Says where `value` is not as `schema` has it; nothing if it is.
pub(super) fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let root = schema;
    Check { root }.value(schema, value, "", &mut faults);
    faults
}

struct Check<'a> {
    root: &'a Value,
}

impl Check<'_> {
    fn value(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = schema.as_object().expect("a schema is an object");
        let mut fail = |why: &str| faults.push(format!("{at}: {why}"));
        let is_number = |limit: &Value| limit.as_f64().expect("a number");
        for (word, rule) in schema {
            match word.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" | "examples" => {}
                "type" if !is_of(rule, value) => fail("another type"),
                "enum" if !rule.as_array().expect("a list").contains(value) => {
                    fail("none of these")
                }
                "const" if rule != value => fail("not this"),
                "minimum" if value.as_f64().is_some_and(|n| n < is_number(rule)) => fail("too low"),
                "maximum" if value.as_f64().is_some_and(|n| n > is_number(rule)) => {
                    fail("too high")
                }
                "pattern" if !matches(rule.as_str().expect("a pattern"), value) => fail("no match"),
                "type" | "enum" | "const" | "minimum" | "maximum" | "pattern" => {}
                "required" => {
                    let has = |key: &Value| value.get(key.as_str().expect("a key")).is_some();
                    if value.is_object() && !rule.as_array().expect("a list").iter().all(has) {
                        fail("a key is missing");
                    }
                }
                "properties" | "patternProperties" => {}
                "additionalProperties" => {}
                "items" => {
                    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.value(rule, item, &format!("{at}[{i}]"), faults);
                    }
                    return self.keys(schema, value, at, faults);
                }
                "anyOf" => {
                    let fits = |one: &Value| {
                        let mut inner = Vec::new();
                        self.value(one, value, at, &mut inner);
                        inner.is_empty()
                    };
                    if !rule.as_array().expect("a list").iter().any(fits) {
                        fail("fits none");
                    }
                }
                "$ref" => {
                    let path = rule.as_str().and_then(|text| text.strip_prefix('#'));
                    let found = self.root.pointer(path.expect("within the schema"));
                    self.value(found.expect("which is there"), value, at, faults);
                    return;
                }
                unknown => panic!("{unknown} is not known here"),
            }
        }
        self.keys(schema, value, at, faults);
    }

    fn keys(&self, schema: &Map<String, Value>, value: &Value, at: &str, faults: &mut Vec<String>) {
        let own = |word: &str| schema.get(word).and_then(Value::as_object);
        for (key, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{key}");
            let named = own("properties").and_then(|keys| keys.get(key));
            let mut patterns = own("patternProperties").into_iter().flatten();
            let patterned = || {
                let found = patterns.find(|(pattern, _)| compiled(pattern).is_match(key));
                found.map(|(_, schema)| schema)
            };
            match named
                .or_else(patterned)
                .or(schema.get("additionalProperties"))
            {
                None => {}
                Some(Value::Bool(allowed)) if *allowed => {}
                Some(Value::Bool(_)) => faults.push(format!("{at}: an unknown key")),
                Some(schema) => self.value(schema, value, &at, faults),
            }
        }
    }
}

fn is_of(types: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("the name of a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        unknown => panic!("{unknown} is no type"),
    };
    match types.as_array() {
        Some(types) => types.iter().any(is),
        None => is(types),
    }
}

fn matches(pattern: &str, value: &Value) -> bool {
    value
        .as_str()
        .is_none_or(|text| compiled(pattern).is_match(text))
}

fn compiled(pattern: &str) -> Rc<Regex> {
    thread_local!(static KNOWN: RefCell<BTreeMap<String, Rc<Regex>>> = RefCell::default());
    let new = || Rc::new(Regex::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}")));
    KNOWN.with_borrow_mut(|known| Rc::clone(known.entry(pattern.to_owned()).or_insert_with(new)))
}
