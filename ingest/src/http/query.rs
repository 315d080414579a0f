//! Query parameters, read strictly: an unknown name or a bad value is an error that says what is known.

use axum::http::Uri;

use super::problem::{BAD_PARAMETER, Problem, UNKNOWN_PARAMETER};
use crate::intake::cut;
use crate::views::{MAX_PAGE, PageQuery};

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of `uri`, which may have the parameters `known` and no other, each once.
    ///
    /// # Errors
    /// A problem that names the parameter and the known ones.
    pub(super) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| {
                Problem::new(
                    BAD_PARAMETER,
                    format!("the query cannot be read: {error}"),
                    format!("无法解析查询：{error}"),
                )
            })?
            .0;
        for (index, (name, _)) in pairs.iter().enumerate() {
            let shown = cut(name, 40);
            if !known.contains(&name.as_str()) {
                let list = if known.is_empty() { "none".into() } else { known.join(", ") };
                return Err(Problem::new(
                    UNKNOWN_PARAMETER,
                    format!("{shown:?} is not a parameter here; known are: {list}"),
                    format!("此处没有参数 {shown:?}；可用的是：{list}"),
                ));
            }
            if pairs.iter().take(index).any(|(other, _)| other == name) {
                return Err(bad(&shown, "given twice: once expected", "重复给出，只能给一次"));
            }
        }
        Ok(Self(pairs))
    }

    /// The text of a parameter; absent and empty are the same.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, value)| other == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// A parameter read by `parse`, which gives the expectation in English and Chinese when it fails.
    ///
    /// # Errors
    /// A problem that names parameter, value and expectation.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
        expected_zh: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| {
            let shown = cut(text, 60);
            bad(
                name,
                &format!("{shown:?} found, {expected} expected"),
                &format!("给的是 {shown:?}，应为{expected_zh}"),
            )
        })
    }

    /// A time: RFC 3339 or milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Params::parsed`].
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Problem> {
        self.parsed(
            name,
            time,
            "a time, RFC 3339 like 2026-11-22T08:00:00+08:00 or milliseconds since 1970",
            "时间：RFC 3339 或 1970 年起的毫秒数",
        )
    }

    /// `limit` and `cursor`.
    ///
    /// # Errors
    /// As [`Params::parsed`].
    pub(super) fn page(&self) -> Result<PageQuery, Problem> {
        let limit = self.limit(MAX_PAGE)?.unwrap_or(0);
        Ok(PageQuery { limit, cursor: self.text("cursor").map(str::to_owned) })
    }

    /// `limit`, from 1 to `most`.
    ///
    /// # Errors
    /// As [`Params::parsed`].
    pub(super) fn limit(&self, most: usize) -> Result<Option<usize>, Problem> {
        self.parsed(
            "limit",
            |text| text.parse::<usize>().ok().filter(|limit| (1..=most).contains(limit)),
            &format!("a whole number from 1 to {most}"),
            &format!(" 1 到 {most} 的整数"),
        )
    }
}

/// A bad value of a parameter.
pub(super) fn bad(name: &str, detail: &str, detail_zh: &str) -> Problem {
    Problem::new(BAD_PARAMETER, format!("{name}: {detail}"), format!("参数 {name}：{detail_zh}"))
}

/// RFC 3339 or milliseconds since 1970; between 1970 and 9999.
fn time(text: &str) -> Option<i64> {
    let ms = match text.parse::<i64>() {
        Ok(ms) => ms,
        // In a query an unescaped + is a blank: people paste +08:00.
        Err(_) => text.replace(' ', "+").parse::<jiff::Timestamp>().ok()?.as_millisecond(),
    };
    (0..=253_402_300_799_999).contains(&ms).then_some(ms)
}

/// `west,south,east,north` in degrees.
pub(super) fn bbox(text: &str) -> Option<[f64; 4]> {
    let mut parts =
        text.split(',').map(|part| part.trim().parse::<f64>().ok().filter(|number| number.is_finite()));
    let found = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    let [west, south, east, north] = found;
    let fits = parts.next().is_none()
        && west < east
        && south < north
        && west >= -180.0
        && east <= 180.0
        && south >= -90.0
        && north <= 90.0;
    fits.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Params, Problem> {
        Params::read(&format!("/x?{query}").parse().unwrap(), &["from", "limit", "cursor"])
    }

    #[test]
    fn unknown_names_are_errors_that_name_the_known_ones() {
        let problem = read("form=1").unwrap_err();
        assert_eq!(problem.detail, "\"form\" is not a parameter here; known are: from, limit, cursor");
        assert_eq!(problem.status, 400);
        assert!(read("from=1&from=2").is_err());
        assert!(read("").is_ok());
    }

    #[test]
    fn times_come_in_two_forms() {
        for (text, ms) in [
            ("1763800000000", Some(1_763_800_000_000)),
            ("2025-11-22T08:26:40Z", Some(1_763_800_000_000)),
            ("2025-11-22T16:26:40%2B08:00", Some(1_763_800_000_000)),
            ("2025-11-22T16:26:40+08:00", Some(1_763_800_000_000)),
            ("yesterday", None),
            ("-5", None),
            ("99999999999999999", None),
        ] {
            let found = read(&format!("from={text}")).unwrap().time("from").ok().flatten();
            assert_eq!(found, ms, "{text}");
        }
    }

    #[test]
    fn limits_are_limited() {
        assert_eq!(
            read("limit=5&cursor=a").unwrap().page().unwrap(),
            PageQuery { limit: 5, cursor: Some("a".into()) }
        );
        for bad in ["0", "1001", "-1", "x", "5.0"] {
            assert!(read(&format!("limit={bad}")).unwrap().page().is_err(), "{bad}");
        }
    }

    #[test]
    fn boxes_have_four_edges_in_order() {
        assert_eq!(bbox("104,30.5,104.2, 30.8"), Some([104.0, 30.5, 104.2, 30.8]));
        for bad in ["", "1,2,3", "1,2,3,4,5", "3,2,1,4", "1,4,3,2", "a,2,3,4", "NaN,2,3,4", "-200,0,0,1"] {
            assert_eq!(bbox(bad), None, "{bad}");
        }
    }
}
