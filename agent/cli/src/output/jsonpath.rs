//! A small part of JSONPath (RFC 9535): names, indices and wildcards, also in the braces that `kubectl` wants.

use serde_json::Value;

/// A path such as `{.items[*].metadata.name}` or `$.items[0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    All,
}

impl JsonPath {
    /// Reads an expression.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("\"{text}\" is not understood; write names, [number] and [*], such as {{.items[*].metadata.name}}")
        };
        let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}')).ok_or_else(bad)?;
        let mut rest = inner.strip_prefix('$').unwrap_or(inner);
        if inner.is_empty() {
            return Err(bad());
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(bad)?;
            steps.push(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// All values that the path leads to, in order.
    pub(crate) fn pick<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
            (Self::All, Value::Array(items)) => items.iter().collect(),
            (Self::All, Value::Object(fields)) => fields.values().collect(),
            _ => Vec::new(),
        }
    }
}

/// The first step of `text`, and what comes after it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, after) = rest.split_once(']')?;
        let step = match inner {
            "*" => Step::All,
            _ => match inner.strip_prefix('\'').and_then(|quoted| quoted.strip_suffix('\'')) {
                Some(name) => Step::Field(name.to_owned()),
                None => Step::Index(inner.parse().ok()?),
            },
        };
        return Some((step, after));
    }
    let rest = text.strip_prefix('.')?;
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    match name {
        "" => None,
        "*" => Some((Step::All, after)),
        _ => Some((Step::Field(name.to_owned()), after)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_both_customs() {
        let value = json!({"items": [{"name": "a", "x-y": 1}, {"name": "b"}], "n": 3});
        let cases = [
            ("{.items[*].name}", vec![json!("a"), json!("b")]),
            ("$.items[1].name", vec![json!("b")]),
            (".items[0]['x-y']", vec![json!(1)]),
            ("{.n}", vec![json!(3)]),
            (".items.*.name", vec![json!("a"), json!("b")]),
            (".items[7].name", vec![]),
            (".n.name", vec![]),
            ("$", vec![value.clone()]),
        ];
        for (text, expected) in cases {
            let path = JsonPath::parse(text).expect(text);
            assert_eq!(path.pick(&value).into_iter().cloned().collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in ["", "{}", "{.a", "items", "..a", ".a[", ".a[x]", ".a[?(@.b)]", ".a[-1]"] {
            let parsed = JsonPath::parse(bad);
            assert!(parsed.is_err(), "{bad}: {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[.\\[\\]*'$a-c0-9{}]{0,20}") {
            if let Ok(path) = JsonPath::parse(&text) {
                let _ = path.pick(&json!([{"a": [1, 2]}]));
            }
        }
    }
}
