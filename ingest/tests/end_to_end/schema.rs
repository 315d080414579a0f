//! Holds a JSON value against a schema of the OpenAPI document: the part of JSON Schema the document uses.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every place where `value` does not fit `schema`.
pub fn misfits(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, at, &mut found);
    if let Some(object) = value.as_object()
        && let Some(known) = keys(document, schema)
    {
        let strange = object.keys().filter(|key| !known.contains(key.as_str()));
        found.extend(strange.map(|key| format!("{at}: {key:?} is not documented")));
    }
    found
}

fn target<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    let pointer = reference.strip_prefix('#').expect("references point into the document");
    target(document, document.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere")))
}

/// The keys an object may have; `None` when any, or when the schema is a choice.
fn keys<'d>(document: &'d Value, schema: &'d Value) -> Option<BTreeSet<&'d str>> {
    let schema = target(document, schema);
    if let Some(parts) = schema["allOf"].as_array() {
        let parts: Option<Vec<_>> = parts.iter().map(|part| keys(document, part)).collect();
        return parts.map(|parts| parts.into_iter().flatten().collect());
    }
    let properties = schema["properties"].as_object()?;
    schema["additionalProperties"].is_null().then(|| properties.keys().map(String::as_str).collect())
}

fn check(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = target(document, schema);
    if let Some(parts) = schema["allOf"].as_array() {
        parts.iter().for_each(|part| check(document, part, value, at, found));
    }
    for any in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[any].as_array() {
            let fits = choices.iter().any(|choice| misfits(document, choice, value, at).is_empty());
            if !fits {
                found.push(format!("{at}: {value} fits none of {any}"));
            }
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|kind| is(kind, value)) {
        found.push(format!("{at}: {value} is none of {types:?}"));
        return;
    }
    if let (Some(words), false) = (schema["enum"].as_array(), value.is_null())
        && !words.contains(value)
    {
        found.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let Some(object) = value.as_object() {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(required) {
                found.push(format!("{at}: {required:?} is missing"));
            }
        }
        let properties = schema["properties"].as_object();
        for (key, inner) in object {
            match (properties.and_then(|known| known.get(key)), &schema["additionalProperties"]) {
                (Some(schema), _) => found.extend(misfits(document, schema, inner, &format!("{at}.{key}"))),
                (None, more @ Value::Object(_)) => {
                    found.extend(misfits(document, more, inner, &format!("{at}.{key}")))
                }
                (None, _) => {}
            }
        }
    }
    if let (Some(items), Value::Object(_)) = (value.as_array(), &schema["items"]) {
        for (index, item) in items.iter().enumerate() {
            found.extend(misfits(document, &schema["items"], item, &format!("{at}[{index}]")));
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the schema speaks of {other:?}"),
    }
}

#[test]
fn the_check_can_fail() {
    let document = serde_json::json!({"components": {"schemas": {"A": {
        "type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer"}, "t": {"type": ["string", "null"]}}
    }}}});
    let schema = serde_json::json!({"type": "array", "items": {"$ref": "#/components/schemas/A"}});
    let fits = |value| misfits(&document, &schema, &value, "$");
    assert_eq!(fits(serde_json::json!([{"n": 1}, {"n": 2, "t": null}])), Vec::<String>::new());
    assert_eq!(fits(serde_json::json!([{"n": 1.5}])).len(), 1);
    assert_eq!(fits(serde_json::json!([{"t": "x"}])).len(), 1);
    assert_eq!(fits(serde_json::json!([{"n": 1, "x": 1}])).len(), 1);
    assert_eq!(fits(serde_json::json!({"n": 1})).len(), 1);
}
