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

    /// The word of a quantity, which must be there.
    ///
    /// # Errors
    /// A problem that says where the words are.
    pub(super) fn quantity(&self) -> Result<&str, Problem> {
        self.text("quantity").ok_or_else(|| {
            bad(
                "quantity",
                "missing: the word of a quantity expected, such as air-temperature; GET /api/v1/quantities lists them",
                "缺少：应为物理量的名称，例如 air-temperature；见 GET /api/v1/quantities",
            )
        })
    }

    /// Length of windows in milliseconds: a minute when absent.
    ///
    /// # Errors
    /// As [`Params::parsed`].
    pub(super) fn window(&self) -> Result<i64, Problem> {
        Ok(self.parsed("window", window, "1m, 1h or 1d", " 1m、1h 或 1d")?.unwrap_or(60_000))
    }

    /// Characters of cells: 6 when absent.
    ///
    /// # Errors
    /// As [`Params::parsed`].
    pub(super) fn precision(&self) -> Result<u8, Problem> {
        Ok(self.parsed("precision", precision, "5, 6 or 7", " 5、6 或 7")?.unwrap_or(6))
    }

    /// A rectangle.
    ///
    /// # Errors
    /// As [`Params::parsed`].
    pub(super) fn bbox(&self) -> Result<Option<[f64; 4]>, Problem> {
        self.parsed(
            "bbox",
            bbox,
            "west,south,east,north in degrees, west < east",
            "西,南,东,北（度），且西小于东",
        )
    }

    /// `from` and `to`, in order when both are there.
    ///
    /// # Errors
    /// As [`Params::time`].
    pub(super) fn span(&self) -> Result<(Option<i64>, Option<i64>), Problem> {
        let span = (self.time("from")?, self.time("to")?);
        if let (Some(from), Some(to)) = span {
            in_order(from, to)?;
        }
        Ok(span)
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

/// Complains of a span that is empty.
pub(super) fn in_order(from_ms: i64, to_ms: i64) -> Result<(), Problem> {
    if from_ms < to_ms {
        return Ok(());
    }
    Err(bad(
        "from",
        &format!("{from_ms} is not before to, {to_ms}"),
        &format!("{from_ms} 不早于 to（{to_ms}）"),
    ))
}

fn window(text: &str) -> Option<i64> {
    match text {
        "1m" => Some(60_000),
        "1h" => Some(3_600_000),
        "1d" => Some(86_400_000),
        _ => None,
    }
}

fn precision(text: &str) -> Option<u8> {
    text.parse().ok().filter(|precision| (5..=7).contains(precision))
}

/// A length of time with its unit: `90s`, `5m`, `2h`, `1d`; in milliseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let number = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit_ms = match &text[number.len()..] {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u32>().ok().map(|number| i64::from(number) * unit_ms)
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
fn bbox(text: &str) -> Option<[f64; 4]> {
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
    fn lengths_of_time_have_a_unit() {
        for (text, ms) in [
            ("90s", Some(90_000)),
            ("5m", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("1d", Some(86_400_000)),
            ("5", None),
            ("m", None),
            ("5min", None),
            ("-5m", None),
            ("五m", None),
        ] {
            assert_eq!(duration(text), ms, "{text}");
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
