//! Lists: filter, sort, pages.

use std::cmp::Ordering;
use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use meadow_model::problem::FieldError;
use meadow_model::resource::List;
use meadow_model::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};

use crate::FORM_VERSION;

/// Most items of one page.
pub const MAX_LIMIT: usize = 500;
/// Items of a page where the caller does not say.
pub const DEFAULT_LIMIT: usize = 100;

/// The query of every list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Most items to return: 1 to 500, 100 where absent.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// The `next_page` of the page before, with the same filter and sort.
    pub page: Option<String>,
    /// Conditions that must all hold, `field=value` with commas between; the route says which fields there are.
    pub filter: Option<String>,
    /// The field to sort by, `-` before it for descending.
    pub sort: Option<String>,
}

/// A value to filter and sort by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Sorts as a number.
    Number(u64),
    /// Sorts by its numbers.
    Address {
        /// The address.
        address: IpAddr,
    },
    /// Sorts by its bytes.
    Text(String),
}

impl Value {
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Number(number) => text.parse() == Ok(*number),
            Self::Address { address } => text.parse() == Ok(*address),
            Self::Text(own) => own.eq_ignore_ascii_case(text),
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        Self::Address { address }
    }
}

impl<T: ToString + ?Sized> From<&T> for Value {
    fn from(text: &T) -> Self {
        Self::Text(text.to_string())
    }
}

/// A field that a list may be filtered and sorted by.
pub struct Field<T> {
    /// Its name in `filter` and `sort`.
    pub name: &'static str,
    /// Reads it.
    pub get: fn(&T) -> Value,
}

/// Where a page ends: everything up to here was returned. Keys, not positions, so that a page neither repeats nor
/// skips what stays while other items come and go.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    filter: String,
    sort: String,
    after: (Value, Value),
}

/// One page of `items`. The first of `fields` is the key that tells all items apart, and the default order.
///
/// # Errors
/// [`ProblemCode::BadRequest`] with the parameter that is wrong.
pub fn page<T>(
    items: impl IntoIterator<Item = T>,
    query: &ListQuery,
    fields: &[Field<T>],
    revision: u64,
) -> Result<List<T>, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(wrong("limit", format!("it must be 1 to {MAX_LIMIT}")));
    }
    let filter = query.filter.clone().unwrap_or_default();
    let conditions = parse_filter(&filter, fields)?;
    let sort = query.sort.clone().unwrap_or_default();
    let (descending, by) = match sort.strip_prefix('-') {
        Some(name) => (true, name),
        None => (false, sort.as_str()),
    };
    let Some(key) = fields.first() else { return Err(wrong("sort", "this list has no fields".to_owned())) };
    let by = if by.is_empty() { key } else { field("sort", by, fields)? };
    let position = |item: &T| ((by.get)(item), (key.get)(item));
    let order = |a: &(Value, Value), b: &(Value, Value)| if descending { b.cmp(a) } else { a.cmp(b) };

    let mut kept: Vec<T> =
        items.into_iter().filter(|item| conditions.iter().all(|(f, text)| (f.get)(item).is(text))).collect();
    kept.sort_by(|a, b| order(&position(a), &position(b)));
    if let Some(token) = &query.page {
        let cursor = read_cursor(token)?;
        if cursor.filter != filter || cursor.sort != sort {
            return Err(wrong("page", "it belongs to a list with another filter or sort".to_owned()));
        }
        kept.retain(|item| order(&position(item), &cursor.after) == Ordering::Greater);
    }
    let more = kept.len() > limit;
    kept.truncate(limit);
    let next_page =
        kept.last().filter(|_| more).map(|last| write_cursor(&Cursor { filter, sort, after: position(last) }));
    Ok(List { version: FORM_VERSION, revision, items: kept, next_page })
}

fn parse_filter<'a, 'f, T>(filter: &'a str, fields: &'f [Field<T>]) -> Result<Vec<(&'f Field<T>, &'a str)>, Problem> {
    let parts = filter.split(',').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| wrong("filter", format!("\"{part}\" has no \"=\"; write field=value")))?;
            Ok((field("filter", name, fields)?, value))
        })
        .collect()
}

fn field<'f, T>(parameter: &str, name: &str, fields: &'f [Field<T>]) -> Result<&'f Field<T>, Problem> {
    fields.iter().find(|field| field.name == name).ok_or_else(|| {
        let known: Vec<&str> = fields.iter().map(|field| field.name).collect();
        wrong(parameter, format!("there is no field \"{name}\" here; there are {}", known.join(", ")))
    })
}

fn read_cursor(token: &str) -> Result<Cursor, Problem> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| wrong("page", "this is not a page token; take next_page of the page before".to_owned()))
}

fn write_cursor(cursor: &Cursor) -> String {
    BASE64URL_NOPAD.encode(&serde_json::to_vec(cursor).unwrap_or_default())
}

fn wrong(parameter: &str, message: String) -> Problem {
    let mut problem = Problem::new(ProblemCode::BadRequest, format!("{parameter}: {message}"));
    problem.fields.push(FieldError { field: parameter.to_owned(), message });
    problem
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    type Item = (u64, String);

    fn fields() -> Vec<Field<Item>> {
        vec![
            Field { name: "id", get: |item: &Item| item.0.into() },
            Field { name: "colour", get: |item: &Item| item.1.as_str().into() },
        ]
    }

    fn query(limit: usize, sort: &str) -> ListQuery {
        ListQuery { limit: Some(limit), sort: Some(sort.to_owned()), ..ListQuery::default() }
    }

    proptest! {
        #[test]
        fn pages_together_are_the_sorted_list(
            ids in proptest::collection::btree_set(0..1000_u64, 0..40),
            limit in 1..10_usize,
            sort in prop::sample::select(vec!["", "id", "-id", "colour", "-colour"]),
        ) {
            let items: Vec<Item> = ids.iter().map(|id| (*id, format!("c{}", id % 3))).collect();
            let mut asked = query(limit, sort);
            let mut seen = Vec::new();
            loop {
                let list = page(items.clone(), &asked, &fields(), 7).expect("a page");
                prop_assert!(list.items.len() <= limit);
                seen.extend(list.items);
                let Some(next) = list.next_page else { break };
                asked.page = Some(next);
            }
            let whole = page(items.clone(), &query(MAX_LIMIT, sort), &fields(), 7).expect("a page");
            prop_assert_eq!(&seen, &whole.items);
            prop_assert_eq!(seen.iter().map(|i| i.0).collect::<BTreeSet<_>>(), ids);
        }

        #[test]
        fn any_token_is_read_or_refused(token in ".{0,60}") {
            let asked = ListQuery { page: Some(token), ..ListQuery::default() };
            let _ = page(Vec::<Item>::new(), &asked, &fields(), 0);
        }
    }

    #[test]
    fn an_item_that_goes_away_between_pages_skips_no_other() {
        let items: Vec<Item> = (0..6).map(|id| (id, String::new())).collect();
        let first = page(items.clone(), &query(3, ""), &fields(), 1).expect("a page");
        let rest: Vec<Item> = items.into_iter().filter(|item| item.0 != 2 && item.0 != 0).collect();
        let asked = ListQuery { page: first.next_page, ..query(3, "") };
        let second = page(rest, &asked, &fields(), 2).expect("a page");
        assert_eq!(second.items.iter().map(|i| i.0).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn conditions_must_all_hold() {
        let items: Vec<Item> = vec![(1, "red".to_owned()), (2, "Red".to_owned()), (3, "blue".to_owned())];
        let ids = |filter: &str| {
            let asked = ListQuery { filter: Some(filter.to_owned()), ..ListQuery::default() };
            page(items.clone(), &asked, &fields(), 1).map(|l| l.items.iter().map(|i| i.0).collect::<Vec<_>>())
        };
        assert_eq!(ids("colour=red"), Ok(vec![1, 2]));
        assert_eq!(ids("colour=red,id=2"), Ok(vec![2]));
        assert_eq!(ids(""), Ok(vec![1, 2, 3]));
        for bad in ["colour", "size=1"] {
            let problem = ids(bad).expect_err("refused");
            assert_eq!(problem.fields.first().map(|f| f.field.as_str()), Some("filter"), "{bad}");
        }
    }

    #[test]
    fn limits_foreign_fields_and_foreign_pages_are_refused() {
        let items: Vec<Item> = (0..6).map(|id| (id, String::new())).collect();
        let first = page(items.clone(), &query(3, "id"), &fields(), 1).expect("a page");
        let cases = [
            query(0, ""),
            query(MAX_LIMIT + 1, ""),
            query(1, "size"),
            ListQuery { page: first.next_page, ..query(3, "-id") },
            ListQuery { page: Some("e30".to_owned()), ..query(3, "") },
        ];
        for asked in cases {
            let refused = page(items.clone(), &asked, &fields(), 1).map_err(|p| p.code);
            assert_eq!(refused.map(|l| l.items.len()), Err(ProblemCode::BadRequest), "{asked:?}");
        }
    }
}
