//! The verbs that all members of the gossip take part in, with Serf's output.

use std::time::Duration;

use serde_json::{Value, json};

use super::{post, print_json};
use crate::cli::{EventArgs, KeysAct, KeysArgs, OperatorArgs, QueryArgs};
use crate::table::Table;
use crate::{client, out};

/// Longest time that the members may take to answer, beside what the operator allows.
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints a new key.
pub(crate) fn keygen() -> anyhow::Result<()> {
    Ok(out::line(roundel_gossip_tokio::new_key()?)?)
}

/// Changes or lists the keys of all members.
pub(crate) async fn keys(args: &KeysArgs) -> anyhow::Result<()> {
    let (operator, verb, key) = match &args.act {
        KeysAct::Install(args) => (&args.operator, "install", args.key.as_str()),
        KeysAct::Use(args) => (&args.operator, "use", args.key.as_str()),
        KeysAct::Remove(args) => (&args.operator, "remove", args.key.as_str()),
        KeysAct::List(operator) => (operator, "list", ""),
    };
    let body = json!({ "act": verb, "key": key });
    let value = post(operator, "/api/v1/cluster:keys", Some(body), PATIENCE).await?;
    if operator.reader.json {
        return print_json(&value["result"]);
    }
    let done = match verb {
        "install" => "Successfully installed key!",
        "use" => "Successfully changed primary key!",
        "remove" => "Successfully removed key!",
        _ => return Ok(out::text(key_table(&value["result"]))?),
    };
    Ok(out::line(done)?)
}

/// One line per key: how many of the members have it, and whether it is primary.
fn key_table(result: &Value) -> String {
    let mut table = Table::default();
    for (key, count) in result["keys"].as_object().into_iter().flatten() {
        let primary = &result["primary"][key];
        table.row([
            key.clone(),
            format!("[{count}/{}]", result["members"]),
            match primary.as_u64() {
                Some(count) => format!("primary on {count}"),
                None => String::new(),
            },
        ]);
    }
    table.to_string()
}

/// Asks the members something.
pub(crate) async fn query(args: &QueryArgs) -> anyhow::Result<()> {
    let tags = args.tags.iter();
    let tags: serde_json::Map<String, Value> =
        tags.map(|(tag, expr)| (tag.clone(), json!(expr))).collect();
    let body = json!({
        "name": args.name,
        "payload": args.payload,
        "nodes": args.nodes,
        "tags": tags,
        "ack": !args.no_ack,
        "relay_factor": args.relay_factor,
        "timeout_seconds": args.timeout.map(|t| t.as_secs_f64()),
    });
    let limit = PATIENCE + args.timeout.unwrap_or_default();
    let value = post(&args.operator, "/api/v1/cluster:query", Some(body), limit).await?;
    let result = &value["result"];
    let acks = result["acks"].as_array().cloned().unwrap_or_default();
    let responses = result["responses"].as_object().cloned().unwrap_or_default();
    if args.operator.reader.json {
        // As `serf query -format=json` has it, without acknowledgements too.
        let acks = (!args.no_ack).then_some(acks);
        return print_json(&json!({ "Acks": acks, "Responses": responses }));
    }
    out::line(format_args!("Query '{}' dispatched", args.name))?;
    for from in acks.iter().filter_map(Value::as_str) {
        out::line(format_args!("Ack from '{from}'"))?;
    }
    for (from, said) in &responses {
        let said = said.as_str().unwrap_or_default().trim_end();
        out::line(format_args!("Response from '{from}': {said}"))?;
    }
    if !args.no_ack {
        out::line(format_args!("Total Acks: {}", acks.len()))?;
    }
    Ok(out::line(format_args!(
        "Total Responses: {}",
        responses.len()
    ))?)
}

/// Announces a user event.
pub(crate) async fn event(args: &EventArgs) -> anyhow::Result<()> {
    let body = json!({
        "name": args.name,
        "payload": args.payload,
        "coalesce": args.coalesce,
    });
    let operator: &OperatorArgs = &args.operator;
    let value = post(operator, "/api/v1/cluster:event", Some(body), client::LIMIT).await?;
    if operator.reader.json {
        return print_json(&value);
    }
    let (name, coalesce) = (&args.name, args.coalesce);
    let text = format!("Event '{name}' dispatched! Coalescing enabled: {coalesce}");
    Ok(out::line(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_with_their_counts() {
        let result = json!({
            "members": 3,
            "keys": {"AQ==": 3, "Ag==": 2},
            "primary": {"AQ==": 3},
        });
        let text = key_table(&result);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert!(
            lines[0].starts_with("AQ==") && lines[0].ends_with("primary on 3"),
            "{text}"
        );
        assert!(lines[1].ends_with("[2/3]"), "{text}");
    }
}
