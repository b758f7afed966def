//! `meadow token`.

use std::path::Path;

use meadow_host::files::{self, Access};
use meadow_model::token::{NewToken, TokenRequest};

use super::{Context, confirm_risk};
use crate::args::{CreateTokenArgs, LsArgs, RevokeArgs, TokenCommand};
use crate::output::{Format, print_changed, print_list, print_one, put, say};
use crate::reference;

pub(super) async fn run(context: &Context, command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create(args) => create(context, &args).await,
        TokenCommand::Ls(args) => ls(context, &args).await,
        TokenCommand::Show { name, output } => {
            print_one(&output.output, &reference::token(&context.connect()?, &name).await?)
        }
        TokenCommand::Revoke(args) => revoke(context, &args).await,
    }
}

pub(super) async fn ls(context: &Context, args: &LsArgs) -> anyhow::Result<()> {
    print_list(args.format(), &context.connect()?.tokens(&args.which()).await?)
}

async fn create(context: &Context, args: &CreateTokenArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let new = client.create_token(&TokenRequest { ttl_s: Some(args.ttl), uses: Some(args.uses) }).await?;
    let name = &new.token.metadata.name;
    match &args.out {
        Some(path) => {
            save(path, &new)?;
            say(&format!("Token {name} is in {}, valid until {}.", path.display(), new.token.spec.expires));
            say(&format!(
                "Bring that file to the new computer and run there: meadow join HOST --token-file {}",
                path.display()
            ));
            print_changed(&args.output.output, &new.token)
        }
        None => {
            say(&format!(
                "Token {name} is valid until {}. Put this line into a file of mode 0600 on the new computer and run there: meadow join HOST --token-file FILE",
                new.token.spec.expires
            ));
            match &args.output.output {
                Format::Table => put(&format!("{}\n", new.text.expose())),
                other => print_one(other, &new),
            }
        }
    }
}

fn save(path: &Path, new: &NewToken) -> anyhow::Result<()> {
    Ok(files::replace(path, format!("{}\n", new.text.expose()).as_bytes(), Access::Private)?)
}

async fn revoke(context: &Context, args: &RevokeArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let token = reference::token(&client, &args.name).await?;
    let name = &token.metadata.name;
    let consequence = format!("Token {name} lets nobody in any more; nodes that joined with it stay.");
    confirm_risk(context, &args.risk, "revoke-token", name.as_str(), &consequence)?;
    client.revoke_token(name, token.metadata.revision).await?;
    say(&format!("Token {name} is revoked."));
    print_changed(&args.output.output, &client.token(name).await?)
}
