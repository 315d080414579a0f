//! An answer as rows and columns.

use serde_json::Value;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Milliseconds since 1970 UTC.
    Time,
    Count,
    Number,
}

/// A column: its name, what it holds, and where it is in an item of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) pointer: &'static str,
}

const fn column(name: &'static str, kind: Kind, pointer: &'static str) -> Column {
    Column { name, kind, pointer }
}

const CELL: Column = column("cell", Kind::Text, "/cell");
const START: Column = column("start", Kind::Time, "/start_ms");
const COUNT: Column = column("count", Kind::Count, "/count");
const MEAN: Column = column("mean", Kind::Number, "/mean");
const MIN: Column = column("min", Kind::Number, "/min");
const MAX: Column = column("max", Kind::Number, "/max");
const FIRST: Column = column("first", Kind::Number, "/first");
const LAST: Column = column("last", Kind::Number, "/last");
const P95: Column = column("p95", Kind::Number, "/p95");
const SENSORS: Column = column("sensors", Kind::Count, "/sensors");
const WEST: Column = column("west", Kind::Number, "/bbox/0");
const SOUTH: Column = column("south", Kind::Number, "/bbox/1");
const EAST: Column = column("east", Kind::Number, "/bbox/2");
const NORTH: Column = column("north", Kind::Number, "/bbox/3");

pub(super) const CELLS: &[Column] = &[
    CELL,
    START,
    COUNT,
    MEAN,
    MIN,
    MAX,
    FIRST,
    LAST,
    column("p50", Kind::Number, "/p50"),
    P95,
    SENSORS,
    WEST,
    SOUTH,
    EAST,
    NORTH,
];
pub(super) const SERIES: &[Column] = &[START, COUNT, MEAN, MIN, MAX, FIRST, LAST, P95];
pub(super) const TOP: &[Column] = &[
    CELL,
    START,
    COUNT,
    MEAN,
    MIN,
    MAX,
    LAST,
    column("last_at", Kind::Time, "/last_ms"),
    WEST,
    SOUTH,
    EAST,
    NORTH,
];
pub(super) const COVERAGE: &[Column] =
    &[CELL, SENSORS, column("last_well", Kind::Time, "/last_ms"), WEST, SOUTH, EAST, NORTH];

/// Rows under columns; null where there is nothing.
#[derive(Debug)]
pub(super) struct Sheet<'a> {
    /// What it is about, for people.
    pub(super) title: String,
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<&'a Value>>,
}

impl<'a> Sheet<'a> {
    /// The items of `list` in an answer.
    pub(super) fn of(body: &'a Value, list: &str, columns: &'static [Column]) -> Self {
        let items = body[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let row = |item: &'a Value| -> Vec<&'a Value> {
            columns.iter().map(|column| item.pointer(column.pointer).unwrap_or(&Value::Null)).collect()
        };
        Self { title: title(body), columns, rows: items.iter().map(row).collect() }
    }
}

/// The facts of an answer that are no list.
fn title(body: &Value) -> String {
    let shown = |key: &str| match &body[key] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let named = |key: &str, what: &str| shown(key).map(|value| format!("{what} {value}"));
    let facts = [
        shown("id"),
        shown("quantity"),
        shown("unit"),
        named("step", "step"),
        named("by", "by"),
        named("sensors", "sensors"),
        named("cells", "cells with sensors"),
        named("blind_cells", "blind"),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_become_rows() {
        let body = json!({
            "quantity": "rainfall", "unit": "mm", "by": "max", "window_ms": 60000,
            "cells": [{ "cell": "wm3yr", "bbox": [1, 2, 3, 4.5], "last": 7, "unknown": true }]
        });
        let sheet = Sheet::of(&body, "cells", TOP);
        assert_eq!(sheet.title, "rainfall · mm · by max");
        let cell = |name: &str| {
            let at = sheet.columns.iter().position(|column| column.name == name).unwrap();
            sheet.rows[0][at].clone()
        };
        assert_eq!(
            [cell("cell"), cell("north"), cell("last"), cell("mean")],
            [json!("wm3yr"), json!(4.5), json!(7), json!(null)]
        );
        assert!(Sheet::of(&body, "points", SERIES).rows.is_empty());
    }
}
