//! The OpenAPI 3.1 document, made from the code.

use std::sync::LazyLock;

use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};

use crate::access::{self, Access};
use crate::{Role, routes};

/// Names that the generator gives to resources, and the ones that people use.
const NAMES: &[(&str, &str)] = &[
    ("List_Resource_MachineSpec_MachineStatus", "MachineList"),
    ("List_Resource_NodeSpec_NodeStatus", "NodeList"),
    ("List_Resource_OperationSpec_OperationStatus", "OperationList"),
    ("List_Resource_TokenSpec_TokenStatus", "TokenList"),
    ("List_BootEvent", "BootEventList"),
    ("List_Event", "EventList"),
    ("Resource_ClusterSpec_ClusterStatus", "Cluster"),
    ("Resource_MachineSpec_MachineStatus", "Machine"),
    ("Resource_NodeSpec_NodeStatus", "Node"),
    ("Resource_OperationSpec_OperationStatus", "Operation"),
    ("Resource_TokenSpec_TokenStatus", "Token"),
];

static TEXT: LazyLock<String> = LazyLock::new(render);

/// The document as it is served and committed: indented, with a last newline.
#[must_use]
pub fn text() -> &'static str {
    &TEXT
}

/// What does not come from the routes.
pub(crate) fn skeleton() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Meadow")
        .version("v1")
        .description(Some(
            "Callers show a client certificate (mutual TLS), or are root on the agent's Unix socket. Errors are \
             application/problem+json (RFC 9457) with a stable code. PATCH and DELETE of a resource need If-Match; \
             POST takes an Idempotency-Key.",
        ))
        .build();
    let components = ComponentsBuilder::new().schema_from::<meadow_model::Problem>().build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

fn render() -> String {
    let mut document = routes::documented().into_openapi();
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new().description("a problem").content("application/problem+json", problem).build();
    for (path, item) in &mut document.paths.paths {
        let operations = [
            (http::Method::GET, &mut item.get),
            (http::Method::PUT, &mut item.put),
            (http::Method::POST, &mut item.post),
            (http::Method::PATCH, &mut item.patch),
            (http::Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem.clone()));
            let needs = needs(access::of_route(&method, path));
            let text = operation.description.take().unwrap_or_default();
            operation.description = Some(format!("{text}\n\nNeeds: {needs}.").trim().to_owned());
        }
    }
    let mut text = document.to_pretty_json().unwrap_or_default();
    for (generated, plain) in NAMES {
        text = text.replace(&format!("\"{generated}\""), &format!("\"{plain}\""));
        text = text.replace(&format!("/{generated}\""), &format!("/{plain}\""));
    }
    text.push('\n');
    text
}

fn needs(access: Option<Access>) -> &'static str {
    match access {
        Some(Access::Public) => "nothing",
        Some(Access::Key) => "a certificate of any key, also a self-signed one",
        Some(Access::OwnNode) => "the certificate of the node itself, over the mesh",
        Some(Access::User(Role::Viewer)) => "the role viewer",
        Some(Access::User(Role::Operator)) => "the role operator",
        Some(Access::User(Role::Admin)) => "the role admin",
        None => "nothing can use this",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_documented_route_is_in_the_access_table_and_the_other_way_round() {
        let document: serde_json::Value = serde_json::from_str(text()).expect("JSON");
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("item").keys().filter(|k| *k != "parameters");
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        let table: BTreeSet<(String, String)> =
            access::ROUTES.iter().map(|(method, path, _)| (method.to_string(), (*path).to_owned())).collect();
        assert_eq!(documented, table);
    }

    #[test]
    fn every_reference_has_its_schema_and_a_name_for_people() {
        let document: serde_json::Value = serde_json::from_str(text()).expect("JSON");
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for reference in text().split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schemas.contains_key(reference), "{reference} is missing");
        }
        for name in schemas.keys() {
            assert!(!name.contains('_'), "give {name} a name in NAMES");
        }
    }
}
