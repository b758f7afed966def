//! What a claim brought to be let in without a person.

use meadow_model::machine::{Armed, Decision, Machine};
use meadow_model::node::NodeState;
use meadow_model::token::Token;
use meadow_model::{Fingerprint, Kind, Name, Problem};

use super::machine::is_over;
use super::transaction::Transaction;
use crate::command::{ClaimRecord, Credential};
use crate::query::is_approved;

/// What the hint of a machine says that came with another machine's ticket.
const TICKET_REUSED_HINT: &str = "boot ticket was used by another key";

/// A credential, looked at.
pub(super) enum Entitlement {
    /// A person decides, for this reason where there is a special one.
    Person(Option<String>),
    /// The ticket of this armed machine, good and unused.
    Ticket { holder: Name, armed: Armed },
    /// A ticket that another key has used: the reason, and a hint for the machine.
    Suspicious { hint: &'static str, reason: String },
    /// A token, good for one more machine.
    Token(Box<Token>),
}

impl Transaction {
    /// Looks at the credential of a claim. A ticket that comes with a second key is revoked here.
    ///
    /// # Errors
    /// The problem of a token that is not good.
    pub(super) fn entitlement(&mut self, claim: &ClaimRecord) -> Result<Entitlement, Problem> {
        match &claim.credential {
            Credential::None => Ok(Entitlement::Person(None)),
            Credential::Token(id) => self.check_token(id).map(|token| Entitlement::Token(Box::new(token))),
            Credential::Ticket(hash) => Ok(self.ticket(hash, &claim.fingerprint)),
        }
    }

    fn ticket(&mut self, hash: &[u8; 32], fingerprint: &Fingerprint) -> Entitlement {
        let person = |why: &str| Entitlement::Person(Some(why.to_owned()));
        let holder = self.state.tickets.iter().find(|(_, h)| *h == hash).map(|(name, _)| name.clone());
        let machine = holder.as_ref().and_then(|name| self.state.machines.get(name)).cloned();
        let Some((machine, armed)) = machine.and_then(|m| m.spec.armed.clone().map(|armed| (m, armed))) else {
            return person("its boot ticket is unknown or was revoked");
        };
        let holder = machine.metadata.name.clone();
        match armed.bound {
            Some(bound) if bound != *fingerprint => {
                self.revoke_ticket(machine, fingerprint);
                let reason = format!("its boot ticket was used by another key and is revoked; {holder} may be watched");
                Entitlement::Suspicious { hint: TICKET_REUSED_HINT, reason }
            }
            _ if is_over(armed.expires, self.at) => person("its boot ticket has expired"),
            _ => Entitlement::Ticket { holder, armed },
        }
    }

    fn revoke_ticket(&mut self, mut holder: Machine, by: &Fingerprint) {
        let name = holder.metadata.name.clone();
        holder.spec.armed = None;
        self.state.tickets.remove(&name);
        self.put_machine(holder);
        let message = format!(
            "the boot ticket of {name} was asked for with a second key, {by}; it is revoked. Compare the fingerprint on \
             the machine's console before you approve anything"
        );
        self.warn("ticket-reused", Kind::Machine, name.as_str(), message);
    }

    /// Whether the armed machine `holder` may carry a new key: nobody decided about it, or the node that it became is
    /// lost and so is its key.
    pub(super) fn may_change_key(&self, holder: &Machine) -> bool {
        match &holder.spec.decision {
            Decision::Approved { node, .. } => {
                self.state.nodes.get(node).is_none_or(|n| n.status.state == NodeState::Lost)
            }
            Decision::Undecided => true,
            Decision::Rejected { .. } => false,
        }
    }

    /// Binds the ticket of `holder` to the key that used it.
    pub(super) fn bind_ticket(&mut self, holder: &Name, fingerprint: Fingerprint) {
        let Some(mut machine) =
            self.state.machines.get(holder).filter(|m| is_approved(m) || m.spec.armed.is_some()).cloned()
        else {
            return;
        };
        if let Some(armed) = &mut machine.spec.armed {
            armed.bound = Some(fingerprint);
            self.put_machine(machine);
        }
    }
}
