//! The file for editors, as JSON Schema.

use serde_json::{Map, Value, json};

use crate::file::File;
use crate::key::{About, Described, Table};

/// What a file may look like: JSON Schema, draft 2020-12.
///
/// It knows less than `check`: a string with a variable may become anything, and what only
/// several keys together tell is not in it.
pub fn schema() -> Value {
    let mut schema = object(&File::described());
    let mut tables = Map::new();
    gather(&mut schema, &mut tables);
    schema["$defs"] = Value::Object(tables);
    unmark(&mut schema);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Configuration of Roundel");
    schema
}

/// The title of a table until it is in one place.
const MARK: &str = "$table";

/// As [`object`], with a name by which it can be referred to.
pub(crate) fn named<T: Table>() -> Value {
    let mut schema = object(&T::described());
    let name = std::any::type_name::<T>().rsplit("::").next();
    let name = name.and_then(|name| name.strip_suffix("Table"));
    schema[MARK] = json!(name.unwrap_or_default().to_lowercase());
    schema
}

/// Moves tables that stand among others, or in lists, into `tables`, each once.
fn gather(schema: &mut Value, tables: &mut Map<String, Value>) {
    let inner: &mut dyn Iterator<Item = &mut Value> = match schema {
        Value::Object(map) => &mut map.values_mut(),
        Value::Array(list) => &mut list.iter_mut(),
        _ => return,
    };
    inner.for_each(|value| gather(value, tables));
    let mut refer = |value: &mut Value| {
        let name = value.get(MARK).and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = name {
            let refer = json!({ "$ref": format!("#/$defs/{name}") });
            let table = std::mem::replace(value, refer);
            tables.insert(name, table);
        }
    };
    match schema {
        Value::Object(map) => map.get_mut("items").into_iter().for_each(&mut refer),
        Value::Array(list) => list.iter_mut().for_each(&mut refer),
        _ => {}
    }
}

/// Takes the names out again.
fn unmark(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove(MARK);
            map.values_mut().for_each(unmark);
        }
        Value::Array(list) => list.iter_mut().for_each(unmark),
        _ => {}
    }
}

/// A table with these keys and no others.
pub(crate) fn object(keys: &[Described]) -> Value {
    let property = |key: &Described| {
        let mut schema = key.shape.schema.clone();
        let words = words(&key.about);
        if !words.is_empty() {
            schema["description"] = json!(words);
        }
        if let Some(default) = key.about.default.and_then(json_of) {
            schema["default"] = default;
        }
        if let Some(example) = key.about.example.and_then(json_of) {
            schema["examples"] = json!([example]);
        }
        (key.about.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = keys.iter().map(property).collect();
    let required = keys.iter().filter(|key| key.about.is_required);
    let required: Vec<&str> = required.map(|key| key.about.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// What a key does, and whether it needs a restart.
pub(crate) fn words(about: &About) -> String {
    let restart = match (about.needs_restart, about.words.is_empty()) {
        (false, _) => "",
        (true, true) => "needs a restart",
        (true, false) => "; needs a restart",
    };
    format!("{}{restart}", about.words)
}

/// A value in TOML as JSON.
fn json_of(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
