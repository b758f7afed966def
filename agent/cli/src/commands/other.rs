//! `meadow get`, `explain`, `completion`, `man`.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;
use meadow_host::files::{self, Access};
use meadow_model::Name;
use meadow_model::resource::List;

use super::{Context, cluster, image, machine, node, token};
use crate::args::{Arguments, CompletionArgs, ExplainArgs, GetArgs, Kind, ManArgs};
use crate::exit::{Exit, Failure};
use crate::output::{print_list, print_one, put, say};
use crate::views::Explanation;
use crate::{reference, suggest};

pub(super) async fn get(context: &Context, args: GetArgs) -> anyhow::Result<()> {
    let GetArgs { kind, name, ls } = args;
    let format = ls.format();
    let Some(name) = name else {
        return match kind {
            Kind::Cluster => print_one(format, &context.connect()?.cluster().await?),
            Kind::Machine => machine::ls(context, &ls).await,
            Kind::Node => node::ls(context, &ls).await,
            Kind::Image => image::ls(context, &ls).await,
            Kind::Token => token::ls(context, &ls).await,
            Kind::Operation => cluster::operations(context, &ls).await,
            Kind::Event => cluster::events(context, &ls, 0).await,
        };
    };
    let client = context.connect()?;
    let valid = || name.parse::<Name>().map_err(|error| Failure::usage(error.to_string()));
    match kind {
        Kind::Machine => print_one(format, &reference::machine(&client, &name).await?),
        Kind::Node => print_one(format, &reference::node(&client, &valid()?).await?),
        Kind::Image => {
            let name = Name::new(name.replace('.', "-")).map_err(|error| Failure::usage(error.to_string()))?;
            print_one(format, &reference::image(&client, &name).await?)
        }
        Kind::Token => print_one(format, &reference::token(&client, &valid()?).await?),
        Kind::Operation => print_one(format, &reference::operation(&client, &valid()?).await?),
        Kind::Cluster | Kind::Event => {
            Err(Failure::usage("there is one cluster, and events are only listed; leave the name away").into())
        }
    }
}

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<()> {
    let mut items = Explanation::all();
    let Some(code) = &args.code else {
        let list = List { version: meadow_api::FORM_VERSION, revision: 0, items, next_page: None };
        return print_list(&args.output.output, &list);
    };
    if let Some(at) = items.iter().position(|known| known.code() == code) {
        return print_one(&args.output.output, &items.swap_remove(at));
    }
    let nearest = suggest::nearest(code, items.iter().map(Explanation::code));
    let hint = nearest.map_or("`meadow explain` lists them".to_owned(), |near| format!("did you mean {near}?"));
    Err(Failure::new(Exit::NotFound, format!("there is no code \"{code}\"; {hint}")).into())
}

pub(super) fn completion(args: &CompletionArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "meadow", &mut script);
    put(&String::from_utf8_lossy(&script))
}

pub(super) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let mut command = Arguments::command();
    command.build();
    let Some(folder) = &args.dir else { return put(&page(command)?) };
    files::make_folder(folder, Access::Public)?;
    let count = write_pages(&command, folder)?;
    say(&format!("{count} pages are in {}; read one with: man -l FILE", folder.display()));
    Ok(())
}

fn page(command: clap::Command) -> anyhow::Result<String> {
    let mut text = Vec::new();
    Man::new(command).render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes the page of a command and of those below it; returns how many.
fn write_pages(command: &clap::Command, folder: &Path) -> anyhow::Result<usize> {
    // After `build`, the display name of a command is its whole path with hyphens.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let text = page(command.clone())?;
    files::replace(&folder.join(format!("{name}.1")), text.as_bytes(), Access::Public)?;
    let mut count = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        count += write_pages(sub, folder)?;
    }
    Ok(count)
}
