//! The OpenAPI document against the routes and what they answer.

use std::collections::BTreeSet;

use axum::body::Body;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::fixture::{self, Rig, rig};
use crate::{Acts, Config};

fn document() -> Value {
    serde_json::from_str(OPENAPI).expect("the document is JSON")
}

async fn call(rig: &Rig, method: &str, path: &str) -> (StatusCode, String) {
    let request = http::Request::builder().method(method).uri(path);
    let request = request.header("host", "127.0.0.1:1936").body(Body::empty());
    let response = rig.admin.router().oneshot(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

/// Nobody gives the token, so that no act is carried out.
fn rig_with_everything() -> Rig {
    let config = Config {
        acts: Acts::Token("secret".to_owned()),
        ..Config::default()
    };
    rig(config, fixture::secured(4))
}

/// A path with names that the fixture knows.
fn filled(path: &str) -> String {
    path.replace("{backend}", "nodes")
        .replace("{server}", "webapp-1")
}

#[tokio::test]
async fn every_path_and_method_is_described_and_nothing_else() {
    let document = document();
    let described = document["paths"].as_object().unwrap();
    let routed: BTreeSet<&str> = api_paths().into_iter().map(|(path, _)| path).collect();
    let named: BTreeSet<&str> = described.keys().map(String::as_str).collect();
    assert_eq!(named, routed);
    let rig = rig_with_everything();
    for (path, methods) in described {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let (status, _) = call(&rig, method, &filled(path)).await;
            let taken = status != StatusCode::METHOD_NOT_ALLOWED;
            let said = methods.get(method.to_lowercase()).is_some();
            assert_eq!(taken, said, "{method} {path}: {status}");
            let answers = &methods[method.to_lowercase()]["responses"];
            let known = answers.get(status.as_str()).is_some();
            assert!(!said || known, "{method} {path} answers {status}");
        }
    }
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let (document, rig) = (document(), rig_with_everything());
    for (path, methods) in document["paths"].as_object().unwrap() {
        let answer = &methods["get"]["responses"]["200"];
        if answer.is_null() {
            continue;
        }
        let (status, body) = call(&rig, "GET", &filled(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let body: Value = serde_json::from_str(&body).unwrap();
        let schema = &answer["content"]["application/json"]["schema"];
        if let Err(fault) = validate(&document, schema, &body, path) {
            panic!("{fault}");
        }
    }
}

/// Holds a value against the part of JSON Schema that the document uses. A field of an object
/// that the schema does not name is a fault, and so is a named one that is missing.
fn validate(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = document.pointer(name.trim_start_matches('#'));
        let target = target.ok_or(format!("{at}: {name} is not there"))?;
        return validate(document, target, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |s: &Value| validate(document, s, value, at).is_ok();
        return match any.iter().any(fits) {
            true => Ok(()),
            false => Err(format!("{at}: {value} fits none of {any:?}")),
        };
    }
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |kind: &Value| kind == is || (kind == "number" && is == "integer");
    let kinds = &schema["type"];
    if !kinds.is_null() && !fits(kinds) && !kinds.as_array().is_some_and(|k| k.iter().any(fits)) {
        return Err(format!("{at} is {is}, not {kinds}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{at}: {value} is none of {words:?}"));
    }
    for (i, one) in value.as_array().into_iter().flatten().enumerate() {
        let own = schema["prefixItems"].get(i).unwrap_or(&schema["items"]);
        validate(document, own, one, &format!("{at}[{i}]"))?;
    }
    let named = schema["properties"].as_object();
    for (key, field) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{key}");
        let own = match named {
            Some(named) => named.get(key).ok_or(format!("{at} is not described"))?,
            None => &schema["additionalProperties"],
        };
        validate(document, own, field, &at)?;
    }
    for key in named.into_iter().flatten().map(|(key, _)| key) {
        if value.is_object() && value.get(key).is_none() {
            return Err(format!("{at} has no {key}"));
        }
    }
    Ok(())
}
