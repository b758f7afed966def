//! Forms of output. Data goes to stdout, messages to stderr.

mod csv;
mod jsonpath;
mod table;

use std::io::{IsTerminal, Write};

use anyhow::Context as _;
use meadow_api::FORM_VERSION;
use meadow_model::resource::List;
use serde::Serialize;
use serde_json::Value;

pub(crate) use jsonpath::JsonPath;
pub(crate) use table::{Cell, Column, Tone, clean};

/// A form of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Columns for people.
    Table,
    /// More columns.
    Wide,
    /// The API's own form.
    Json,
    /// The same as YAML.
    Yaml,
    /// `kind/name`, a line each.
    Name,
    /// All columns, comma-separated (RFC 4180).
    Csv,
    /// What an expression picks out, a line each.
    JsonPath(JsonPath),
}

impl Format {
    /// Reads the value of `--output`.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "table" => Ok(Self::Table),
            "wide" => Ok(Self::Wide),
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "name" => Ok(Self::Name),
            "csv" => Ok(Self::Csv),
            _ => match text.strip_prefix("jsonpath=") {
                Some(expression) => JsonPath::parse(expression).map(Self::JsonPath),
                None => Err("there are table, wide, json, yaml, name, csv and jsonpath=EXPRESSION".to_owned()),
            },
        }
    }

    /// Whether a person is to read it.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }
}

/// How a type is shown.
pub(crate) trait View: Serialize {
    /// `kind/name`.
    fn reference(&self) -> String;
    /// The columns of a list.
    fn columns() -> &'static [Column<Self>]
    where
        Self: Sized;
    /// All there is to say about one, as lines of a label and a text; an empty label continues the one above.
    fn describe(&self) -> Vec<(&'static str, String)>;
}

/// Prints a list.
pub(crate) fn print_list<T: View + 'static>(format: &Format, list: &List<T>) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Wide => {
            let wide = *format == Format::Wide;
            put(&table::render(&list.items, T::columns(), wide, use_colour()))
        }
        Format::Csv => put(&csv::render(&list.items, T::columns())),
        Format::Name => put(&lines(list.items.iter().map(View::reference))),
        Format::Json | Format::Yaml | Format::JsonPath(_) => print_value(format, &serde_json::to_value(list)?),
    }
}

/// Prints one item; its JSON carries the version of the form.
pub(crate) fn print_one<T: View + 'static>(format: &Format, item: &T) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Wide => put(&table::description(&item.describe())),
        Format::Csv => put(&csv::render(std::slice::from_ref(item), T::columns())),
        Format::Name => put(&lines([item.reference()])),
        Format::Json | Format::Yaml | Format::JsonPath(_) => print_value(format, &versioned(item)?),
    }
}

/// Prints what a change gave back: only where a form for programs was asked for, since the message says the rest.
pub(crate) fn print_changed<T: View + 'static>(format: &Format, item: &T) -> anyhow::Result<()> {
    if *format == Format::Table { Ok(()) } else { print_one(format, item) }
}

/// A message to the person, beside the data. Where stderr is closed nobody wants to hear it.
pub(crate) fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "{}", clean(message));
}

/// Writes data to stdout.
pub(crate) fn put(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).context("writing to stdout")
}

fn versioned(item: &impl Serialize) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(item)?;
    if let Value::Object(fields) = &mut value {
        fields.entry("version").or_insert_with(|| FORM_VERSION.into());
    }
    Ok(value)
}

fn print_value(format: &Format, value: &Value) -> anyhow::Result<()> {
    match format {
        Format::Yaml => {
            let mut text = serde_saphyr::to_string(value)?;
            if !text.ends_with('\n') {
                text.push('\n');
            }
            put(&text)
        }
        Format::JsonPath(path) => put(&lines(path.pick(value).into_iter().map(|found| match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }))),
        _ => put(&format!("{}\n", serde_json::to_string_pretty(value)?)),
    }
}

fn lines(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().map(|line| clean(&line) + "\n").collect()
}

/// Colour only adds to words, and only on a terminal whose owner did not refuse it (no-color.org).
fn use_colour() -> bool {
    std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(Format::parse("yaml"), Ok(Format::Yaml));
        assert!(matches!(Format::parse("jsonpath={.metadata.name}"), Ok(Format::JsonPath(_))));
        for bad in ["", "JSON", "jsonpath", "jsonpath=", "xml"] {
            assert!(Format::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_item_carries_the_version_too() {
        let value = versioned(&serde_json::json!({"kind": "Node"})).expect("an object");
        assert_eq!(value["version"], FORM_VERSION);
    }
}
