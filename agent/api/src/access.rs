//! Who may do what: one table of all routes.

use http::Method;
use meadow_model::{Problem, ProblemCode};

use crate::{Identity, Role};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, even without a certificate.
    Public,
    /// A computer that proved to hold a key: a new machine, or a node that claims again.
    Key,
    /// The node that the path names.
    OwnNode,
    /// As [`Access::User`], or the node that the path names: who stands before its console (decision 9).
    OwnNodeOr(Role),
    /// A node, which the route gives only operations on itself.
    OwnWork,
    /// As [`Access::User`], or a node, which the route gives only operations on itself.
    OwnWorkOr(Role),
    /// A user with this role or more, or root on this computer.
    User(Role),
}

use Access::{Key, OwnNode, OwnNodeOr, OwnWork, OwnWorkOr, Public, User};
use Role::{Admin, Operator, Viewer};

/// Every route with what it asks of its caller. A route that is not in here is refused to everybody.
pub const ROUTES: &[(Method, &str, Access)] = &[
    (Method::GET, "/v1/health", Public),
    (Method::GET, "/v1/openapi.json", Public),
    (Method::POST, "/v1/enrolment/hello", Key),
    (Method::POST, "/v1/enrolment/claim", Key),
    (Method::GET, "/v1/enrolment/claim", Key),
    (Method::PUT, "/v1/nodes/{name}/report", OwnNode),
    (Method::POST, "/v1/nodes/{name}/leave", OwnNode),
    (Method::GET, "/v1/self", User(Viewer)),
    (Method::GET, "/v1/self/disks", User(Viewer)),
    (Method::GET, "/v1/self/network", User(Viewer)),
    (Method::POST, "/v1/self/network/try", User(Admin)),
    (Method::POST, "/v1/self/network/confirm", User(Admin)),
    (Method::POST, "/v1/self/network/back", User(Admin)),
    (Method::GET, "/v1/cluster", User(Viewer)),
    (Method::GET, "/v1/machines", User(Viewer)),
    (Method::GET, "/v1/machines/{name}", User(Viewer)),
    (Method::GET, "/v1/nodes", User(Viewer)),
    (Method::GET, "/v1/nodes/{name}", OwnNodeOr(Viewer)),
    (Method::GET, "/v1/tokens", User(Viewer)),
    (Method::GET, "/v1/tokens/{name}", User(Viewer)),
    (Method::GET, "/v1/operations", User(Viewer)),
    (Method::GET, "/v1/operations/{name}", OwnWorkOr(Viewer)),
    (Method::GET, "/v1/images", User(Viewer)),
    (Method::GET, "/v1/images/{name}", User(Viewer)),
    (Method::GET, "/v1/events", User(Viewer)),
    (Method::GET, "/v1/pxe", User(Viewer)),
    (Method::GET, "/v1/pxe/events", User(Viewer)),
    (Method::GET, "/v1/pxe/boots", User(Viewer)),
    (Method::GET, "/v1/pxe/doctor", User(Viewer)),
    (Method::GET, "/v1/pxe/leases", User(Viewer)),
    (Method::GET, "/v1/pxe/captures", User(Operator)),
    (Method::POST, "/v1/machines", User(Operator)),
    (Method::PATCH, "/v1/machines/{name}", User(Operator)),
    (Method::POST, "/v1/machines/{name}/approve", User(Operator)),
    (Method::POST, "/v1/machines/{name}/reject", User(Operator)),
    (Method::POST, "/v1/machines/{name}/wake", User(Operator)),
    (Method::POST, "/v1/machines/{name}/install/plan", User(Operator)),
    (Method::POST, "/v1/machines/arm", User(Operator)),
    (Method::POST, "/v1/nodes/{name}/install/plan", OwnNodeOr(Operator)),
    (Method::POST, "/v1/nodes/{name}/reboot", OwnNodeOr(Operator)),
    (Method::POST, "/v1/nodes/{name}/reset/plan", User(Operator)),
    (Method::POST, "/v1/nodes/{name}/support", User(Operator)),
    (Method::POST, "/v1/pxe/open", User(Operator)),
    (Method::POST, "/v1/pxe/close", User(Operator)),
    (Method::POST, "/v1/pxe/captures", User(Operator)),
    (Method::DELETE, "/v1/pxe/leases/{address}", User(Operator)),
    (Method::POST, "/v1/tokens", User(Admin)),
    (Method::DELETE, "/v1/tokens/{name}", User(Admin)),
    (Method::PATCH, "/v1/cluster", User(Admin)),
    (Method::DELETE, "/v1/nodes/{name}", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/install", OwnNodeOr(Admin)),
    (Method::POST, "/v1/nodes/{name}/keys", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/network/try", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/network/confirm", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/network/back", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/reset", User(Admin)),
    (Method::POST, "/v1/self/reset/plan", User(Admin)),
    (Method::POST, "/v1/self/reset", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/update", User(Admin)),
    (Method::POST, "/v1/nodes/{name}/reinstall", User(Admin)),
    (Method::DELETE, "/v1/nodes/{name}/reinstall", User(Admin)),
    (Method::POST, "/v1/self/update", User(Admin)),
    (Method::POST, "/v1/self/support", User(Admin)),
    (Method::POST, "/v1/images", User(Admin)),
    (Method::POST, "/v1/images/incoming", User(Admin)),
    (Method::PUT, "/v1/images/incoming", User(Admin)),
    (Method::POST, "/v1/images/rollback", User(Admin)),
    (Method::POST, "/v1/images/{name}/rollout", User(Admin)),
    (Method::POST, "/v1/images/call-off", User(Admin)),
    (Method::DELETE, "/v1/images/{name}", User(Admin)),
    (Method::GET, "/v1/operations/{name}/answer", OwnWorkOr(Admin)),
    (Method::PUT, "/v1/operations/{name}/answer", OwnWork),
];

/// What the route `method path` asks; `None` where there is no such route. A HEAD asks what the GET does.
#[must_use]
pub fn of_route(method: &Method, path: &str) -> Option<Access> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|(m, p, _)| m == method && *p == path).map(|(_, _, access)| *access)
}

/// Whether `identity` may use a route that asks for `access`. `subject` is the name in the path, if there is one.
///
/// # Errors
/// [`ProblemCode::Unauthenticated`] where no certificate of the cluster was shown, [`ProblemCode::Forbidden`] where
/// the one that was shown does not suffice.
pub fn check(access: Access, identity: &Identity, subject: Option<&str>) -> Result<(), Problem> {
    let allowed = match (access, identity) {
        (Public, _) | (Key, Identity::Key(_) | Identity::Node { .. }) => true,
        (User(_) | OwnNodeOr(_) | OwnWorkOr(_), Identity::Local) | (OwnWork | OwnWorkOr(_), Identity::Node { .. }) => {
            true
        }
        (OwnNode | OwnNodeOr(_), Identity::Node { name, .. }) => subject == Some(name.as_str()),
        (User(needed) | OwnNodeOr(needed) | OwnWorkOr(needed), Identity::User { role, .. }) => *role >= needed,
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    let needs = match access {
        Public | Key => "a computer with an identity key",
        OwnNode | OwnWork => "the node itself",
        User(Viewer) | OwnNodeOr(Viewer) | OwnWorkOr(Viewer) => "a user with the role viewer",
        User(Operator) | OwnNodeOr(Operator) | OwnWorkOr(Operator) => "a user with the role operator",
        User(Admin) | OwnNodeOr(Admin) | OwnWorkOr(Admin) => "a user with the role admin",
    };
    let code = match identity {
        Identity::Anonymous | Identity::Key(_) => ProblemCode::Unauthenticated,
        Identity::User { .. } | Identity::Node { .. } | Identity::Local => ProblemCode::Forbidden,
    };
    Err(Problem::new(code, format!("this needs {needs}; you are {}", identity.actor())))
}

#[cfg(test)]
mod tests {
    use meadow_model::Name;
    use meadow_model::fingerprint::PublicKey;

    use super::*;

    fn identities() -> [(&'static str, Identity); 7] {
        let user = |role| Identity::User { name: "ann".to_owned(), role };
        let node = Identity::Node { name: Name::new("node-1").expect("valid"), key: PublicKey::from_der([1]) };
        [
            ("anonymous", Identity::Anonymous),
            ("key", Identity::Key(PublicKey::from_der([2]))),
            ("node", node),
            ("viewer", user(Viewer)),
            ("operator", user(Operator)),
            ("admin", user(Admin)),
            ("local", Identity::Local),
        ]
    }

    #[test]
    fn each_identity_may_use_these_kinds_of_routes_and_no_others() {
        let table = [
            (Public, "anonymous key node viewer operator admin local"),
            (Key, "key node"),
            (OwnNode, "node"),
            (OwnNodeOr(Admin), "node admin local"),
            (OwnWork, "node"),
            (OwnWorkOr(Viewer), "node viewer operator admin local"),
            (User(Viewer), "viewer operator admin local"),
            (User(Operator), "operator admin local"),
            (User(Admin), "admin local"),
        ];
        for (access, expected) in table {
            let may: Vec<&str> = identities()
                .iter()
                .filter(|(_, identity)| check(access, identity, Some("node-1")).is_ok())
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(may.join(" "), expected, "{access:?}");
        }
    }

    #[test]
    fn a_node_speaks_for_itself_only() {
        let node = Identity::Node { name: Name::new("node-1").expect("valid"), key: PublicKey::from_der([1]) };
        for other in [Some("node-2"), None] {
            for access in [OwnNode, OwnNodeOr(Viewer), OwnNodeOr(Admin)] {
                assert_eq!(check(access, &node, other).map_err(|p| p.code), Err(ProblemCode::Forbidden));
            }
        }
    }

    #[test]
    fn only_a_missing_certificate_is_unauthenticated() {
        for (name, identity) in identities() {
            let Err(problem) = check(User(Admin), &identity, None) else { continue };
            let unauthenticated = matches!(name, "anonymous" | "key");
            assert_eq!(problem.code == ProblemCode::Unauthenticated, unauthenticated, "{name}");
        }
    }

    #[test]
    fn whatever_changes_something_needs_at_least_an_operator() {
        for (method, path, access) in ROUTES {
            if method != Method::GET {
                assert!(
                    matches!(access, Key | OwnNode | OwnWork | OwnNodeOr(Operator | Admin) | User(Operator | Admin)),
                    "{method} {path}"
                );
            }
        }
    }
}
