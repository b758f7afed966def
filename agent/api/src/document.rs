//! The OpenAPI 3.1 document, made from the code.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use meadow_model::Problem;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
};

use crate::access::{self, Access};
use crate::{Role, routes};

/// The kinds of resources; each has a spec and a status.
const RESOURCES: &[&str] = &["Cluster", "Image", "Machine", "Node", "Operation", "Token"];

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
    let mut parts = Vec::new();
    Problem::schemas(&mut parts);
    let components = ComponentsBuilder::new().schema_from::<Problem>().schemas_from_iter(parts).build();
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
            // The functions are named alike in all modules; together with the tag the ids are unique.
            let tag = operation.tags.iter().flatten().next().map(String::as_str).unwrap_or_default();
            operation.operation_id = operation.operation_id.take().map(|id| format!("{tag}_{id}"));
            let text = operation.description.take().unwrap_or_default();
            operation.description = Some(format!("{text}\n\nNeeds: {needs}.").trim().to_owned());
        }
    }
    // The generator knows the types by their generic form only, and writes what is inside them out again and again.
    let mut text = document.to_pretty_json().unwrap_or_default();
    for kind in RESOURCES {
        let generated = format!("Resource_{kind}Spec_{kind}Status");
        text = text.replace(&format!("List_{generated}\""), &format!("{kind}List\""));
        text = text.replace(&format!("{generated}\""), &format!("{kind}\""));
    }
    for (generated, plain) in [
        ("List_BootEvent", "BootEventList"),
        ("List_MachineBoot", "MachineBootList"),
        ("List_PxeLease", "PxeLeaseList"),
        ("List_PxeCheck", "PxeCheckList"),
        ("List_Event", "EventList"),
        ("Secret_String", "Secret"),
    ] {
        text = text.replace(&format!("{generated}\""), &format!("{plain}\""));
    }
    let mut document = serde_json::from_str(&text).unwrap_or_default();
    refer_to_named_schemas(&mut document);
    let mut text = serde_json::to_string_pretty(&sorted(document)).unwrap_or_default();
    text.push('\n');
    text
}

/// Puts references in place of the resources that the generator wrote out.
fn refer_to_named_schemas(document: &mut Value) {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    for kind in RESOURCES {
        for part in ["spec", "status"] {
            let name = format!("{kind}{}{}", part[..1].to_uppercase(), &part[1..]);
            replace(schemas, &format!("{kind}/properties/{part}"), reference(&name));
        }
        replace(schemas, &format!("{kind}List/properties/items/items"), reference(kind));
    }
    for kind in ["Event", "BootEvent", "MachineBoot", "PxeCheck", "PxeLease"] {
        replace(schemas, &format!("{kind}List/properties/items/items"), reference(kind));
    }
    replace(schemas, "NewToken/properties/token", reference("Token"));
    schemas.remove("Resource");
}

fn replace(schemas: &mut Map<String, Value>, path: &str, with: Value) {
    let place = path.split_once('/').and_then(|(name, rest)| schemas.get_mut(name)?.pointer_mut(&format!("/{rest}")));
    if let Some(place) = place {
        *place = with;
    }
}

/// The same with all keys in order, whatever map another crate's features choose for `serde_json`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().collect();
            Value::Object(fields.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn needs(access: Option<Access>) -> &'static str {
    match access {
        Some(Access::Public) => "nothing",
        Some(Access::Key) => "a certificate of any key, also a self-signed one",
        Some(Access::OwnNode) => "the certificate of the node itself, over the mesh",
        Some(Access::OwnWork) => "the certificate of the node that works",
        Some(Access::User(Role::Viewer)) => "the role viewer",
        Some(Access::User(Role::Operator)) => "the role operator",
        Some(Access::User(Role::Admin)) => "the role admin",
        Some(Access::OwnNodeOr(Role::Viewer)) => "the role viewer, or the certificate of the node itself",
        Some(Access::OwnNodeOr(Role::Operator)) => "the role operator, or the certificate of the node itself",
        Some(Access::OwnNodeOr(Role::Admin)) => "the role admin, or the certificate of the node itself",
        Some(Access::OwnWorkOr(Role::Viewer)) => "the role viewer, or the certificate of the node that works",
        Some(Access::OwnWorkOr(Role::Operator)) => "the role operator, or the certificate of the node that works",
        Some(Access::OwnWorkOr(Role::Admin)) => "the role admin, or the certificate of the node that works",
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
    fn operation_ids_are_unique() {
        let document: serde_json::Value = serde_json::from_str(text()).expect("JSON");
        let items = document["paths"].as_object().expect("paths").values();
        let ids: Vec<&str> = items
            .flat_map(|item| item.as_object().expect("item").values())
            .map(|operation| operation["operationId"].as_str().expect("an id"))
            .collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn every_reference_has_its_schema_and_a_name_for_people() {
        let document: serde_json::Value = serde_json::from_str(text()).expect("JSON");
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        for reference in text().split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schemas.contains_key(reference), "{reference} is missing");
        }
        for name in schemas.keys() {
            assert!(!name.contains('_'), "{name} is the generator's name");
        }
    }
}
