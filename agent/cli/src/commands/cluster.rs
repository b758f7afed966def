//! `meadow status`, `meadow operation`, `meadow event`.

use meadow_client::{Client, ListAll};
use meadow_model::cluster::Cluster;
use meadow_model::machine::Machine;
use meadow_model::node::{Node, NodeState};
use meadow_model::resource::List;
use serde::Serialize;

use super::Context;
use crate::args::{EventCommand, LsArgs, OperationCommand, StatusArgs};
use crate::exit::{Exit, Failure};
use crate::output::{Column, View, print_list, print_one, put, say};
use crate::reference;

/// The cluster with its nodes and the machines that wait.
#[derive(Serialize)]
struct Status {
    cluster: Cluster,
    nodes: Vec<Node>,
    pending: Vec<Machine>,
}

impl View for Status {
    fn reference(&self) -> String {
        self.cluster.reference()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "CLUSTER", wide: false, cell: |s| s.cluster.metadata.name.as_str().into() },
            Column { title: "READY", wide: false, cell: |s| s.cluster.status.ready.to_string().into() },
            Column { title: "NODES", wide: false, cell: |s| s.nodes.len().to_string().into() },
            Column { title: "PENDING", wide: false, cell: |s| s.pending.len().to_string().into() },
            Column { title: "WARNINGS", wide: false, cell: |s| s.cluster.status.warnings.join("; ").into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        self.cluster.describe()
    }
}

pub(super) async fn status(context: &Context, args: &StatusArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let status = read(&client).await?;
    let format = &args.output.output;
    print_one(format, &status)?;
    if format.is_for_people() {
        put("\n")?;
        print_list(format, &list(status.nodes.clone()))?;
        if !status.pending.is_empty() {
            put("\n")?;
            print_list(format, &list(status.pending.clone()))?;
            say("Approve one with: meadow machine approve NAME");
        }
    }
    // Lost nodes are gone for good; the rest should be ready.
    if status.nodes.iter().any(|node| node.status.state == NodeState::NotReady) {
        return Err(Failure::new(Exit::Unhealthy, "").into());
    }
    Ok(())
}

async fn read(client: &Client) -> anyhow::Result<Status> {
    let cluster = client.cluster().await?;
    let nodes = client.nodes(&ListAll::default()).await?.items;
    let which = ListAll { filter: Some("phase=Pending".to_owned()), sort: None };
    let pending = client.machines(&which).await?.items;
    Ok(Status { cluster, nodes, pending })
}

fn list<T>(items: Vec<T>) -> List<T> {
    List { version: meadow_api::FORM_VERSION, revision: 0, items, next_page: None }
}

pub(super) async fn operation(context: &Context, command: OperationCommand) -> anyhow::Result<()> {
    match command {
        OperationCommand::Ls(args) => operations(context, &args).await,
        OperationCommand::Show { name, output } => {
            print_one(&output.output, &reference::operation(&context.connect()?, &name).await?)
        }
    }
}

pub(super) async fn operations(context: &Context, args: &LsArgs) -> anyhow::Result<()> {
    print_list(args.format(), &context.connect()?.operations(&args.which()).await?)
}

pub(super) async fn event(context: &Context, command: EventCommand) -> anyhow::Result<()> {
    let EventCommand::Ls { since, ls } = command;
    events(context, &ls, since).await
}

pub(super) async fn events(context: &Context, args: &LsArgs, since: u64) -> anyhow::Result<()> {
    print_list(args.format(), &context.connect()?.events(&args.which(), since).await?)
}
