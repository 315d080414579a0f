//! A sheet as text.

use serde_json::Value;

use super::sheet::{Column, Kind, Sheet};

/// Digits after the point that people are shown.
const DIGITS: usize = 4;

/// RFC 3339 in UTC; to the second where that is all.
fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| at_ms.to_string(), |at| at.to_string())
}

/// A value in full.
fn full(column: &Column, value: &Value) -> String {
    match (column.kind, value) {
        (_, Value::Null) => String::new(),
        (Kind::Time, value) => value.as_i64().map_or_else(String::new, time),
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    }
}

/// A value for people.
fn short(column: &Column, value: &Value) -> String {
    match (column.kind, value.as_f64()) {
        (Kind::Number, Some(number)) => {
            let text = format!("{number:.DIGITS$}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => full(column, value),
    }
}

/// Columns for people: text to the left, numbers to the right.
pub(super) fn table(sheet: &Sheet<'_>) -> String {
    let heading = sheet.columns.iter().map(|column| column.name.to_owned()).collect();
    let mut lines: Vec<Vec<String>> = vec![heading];
    for row in &sheet.rows {
        lines.push(sheet.columns.iter().zip(row).map(|(column, value)| short(column, value)).collect());
    }
    let widths: Vec<usize> = (0..sheet.columns.len())
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = format!("{}\n", sheet.title);
    for line in &lines {
        let cells =
            line.iter().zip(&widths).zip(sheet.columns).map(|((cell, &width), column)| match column.kind {
                Kind::Text | Kind::Time => format!("{cell:<width$}"),
                Kind::Count | Kind::Number => format!("{cell:>width$}"),
            });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    if sheet.rows.is_empty() {
        text.push_str("无数据 nothing\n");
    }
    text
}

/// RFC 4180, with a heading, values in full.
pub(super) fn csv(sheet: &Sheet<'_>) -> String {
    let heading: Vec<&str> = sheet.columns.iter().map(|column| column.name).collect();
    let mut text = heading.join(",") + "\r\n";
    for row in &sheet.rows {
        let cells = sheet.columns.iter().zip(row).map(|(column, value)| quoted(full(column, value)));
        text.push_str(&cells.collect::<Vec<_>>().join(","));
        text.push_str("\r\n");
    }
    text
}

fn quoted(text: String) -> String {
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sheet::{COVERAGE, SERIES};
    use super::*;

    #[test]
    fn columns_line_up() {
        let body = json!({ "id": "g:t", "unit": "Cel", "step": "1m", "points": [
            { "start_ms": 1_795_305_600_000_i64, "count": 12, "mean": 21.123456, "min": -3, "max": 1e3, "first": 0.5, "last": 20, "p95": 7.0 },
        ] });
        assert_eq!(
            table(&Sheet::of(&body, "points", SERIES)),
            "g:t · Cel · step 1m\n\
             start                 count     mean  min   max  first  last  p95\n\
             2026-11-22T00:00:00Z     12  21.1235   -3  1000    0.5    20    7\n"
        );
        assert_eq!(
            csv(&Sheet::of(&body, "points", SERIES)),
            "start,count,mean,min,max,first,last,p95\r\n2026-11-22T00:00:00Z,12,21.123456,-3,1000.0,0.5,20,7.0\r\n"
        );
    }

    #[test]
    fn what_is_not_there_is_empty_and_no_rows_are_said() {
        let body = json!({ "cells": 1, "blind": [{ "cell": "wm3yr", "sensors": 3, "last_ms": null }] });
        assert_eq!(
            csv(&Sheet::of(&body, "blind", COVERAGE)),
            "cell,sensors,last_well,west,south,east,north\r\nwm3yr,3,,,,,\r\n"
        );
        let none = table(&Sheet::of(&json!({ "blind": [] }), "blind", COVERAGE));
        assert!(none.ends_with("nothing\n"), "{none}");
        assert_eq!(quoted("a \"b\", c".into()), "\"a \"\"b\"\", c\"");
    }
}
