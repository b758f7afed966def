//! Join tokens.

use meadow_model::token::{Token, TokenSpec, TokenStatus};
use meadow_model::{Kind, Name, Problem, ProblemCode, Secret, Timestamp};

use super::machine::is_over;
use super::transaction::{Transaction, bad_request, check_revision, conflict, not_found};
use crate::Outcome;
use crate::limits::{EXPIRED_TOKEN_KEPT_MS, MAX_TOKEN_USES, MAX_TOKENS};

impl Transaction {
    pub(super) fn create_token(
        &mut self,
        id: &Name,
        key: &Secret<[u8; 32]>,
        expires: Timestamp,
        uses: u32,
    ) -> Result<Outcome, Problem> {
        if uses == 0 || uses > MAX_TOKEN_USES {
            return Err(bad_request(format!("a token is for 1 to {MAX_TOKEN_USES} machines")));
        }
        if is_over(expires, self.at) {
            return Err(bad_request("the token would have expired already; give a time to come"));
        }
        if self.state.tokens.contains(id) {
            return Err(Problem::new(ProblemCode::AlreadyExists, format!("there is a token {id} already")));
        }
        self.prune_tokens();
        if self.state.tokens.len() >= MAX_TOKENS {
            return Err(conflict(format!("there are {MAX_TOKENS} tokens; revoke some with `meadow token revoke`")));
        }
        self.state.token_keys.insert(id.clone(), key.clone());
        self.put_token(Token {
            kind: Kind::Token,
            metadata: self.metadata(id),
            spec: TokenSpec { expires, uses, revoked: false },
            status: TokenStatus::default(),
        });
        self.info("token-created", Kind::Token, id, format!("{id} lets {uses} machines in until {expires}"));
        Ok(Outcome::Token { name: id.clone() })
    }

    /// Forgets tokens that ended a day ago, and all that are of no use any more where the room is needed.
    fn prune_tokens(&mut self) {
        let (at, full) = (self.at, self.state.tokens.len() >= MAX_TOKENS);
        let useless = |t: &Token| t.spec.revoked || is_over(t.spec.expires, at) || t.status.used >= t.spec.uses;
        let forgotten = |t: &Token| at.millis_since(t.spec.expires) >= EXPIRED_TOKEN_KEPT_MS || (full && useless(t));
        let ids: Vec<Name> = self.state.tokens.iter().filter(|(_, t)| forgotten(t)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.state.tokens.remove(&id);
            self.state.token_keys.remove(&id);
            self.touch(Kind::Token, &id);
        }
    }

    pub(super) fn revoke_token(&mut self, id: &Name, if_match: Option<u64>) -> Result<Outcome, Problem> {
        let mut token = self.state.tokens.get(id).ok_or_else(|| not_found("token", id))?.clone();
        check_revision(&token.metadata, if_match)?;
        if token.spec.revoked {
            return Ok(Outcome::Done);
        }
        token.spec.revoked = true;
        self.state.token_keys.remove(id);
        self.put_token(token);
        self.info("token-revoked", Kind::Token, id, format!("{id} lets nobody in any more"));
        Ok(Outcome::Done)
    }

    /// Whether `id` lets one more machine in.
    pub(super) fn check_token(&self, id: &Name) -> Result<Token, Problem> {
        let problem = |code, detail: String| Err(Problem::new(code, detail));
        match self.state.tokens.get(id) {
            None => problem(ProblemCode::InvalidToken, format!("{id} is unknown")),
            Some(token) if token.spec.revoked => problem(ProblemCode::InvalidToken, format!("{id} was revoked")),
            Some(token) if is_over(token.spec.expires, self.at) => {
                problem(ProblemCode::TokenExpired, format!("{id} ended at {}", token.spec.expires))
            }
            Some(token) if token.status.used >= token.spec.uses => {
                problem(ProblemCode::TokenUsed, format!("{id} was used by {} machines", token.status.used))
            }
            Some(token) => Ok(token.clone()),
        }
    }
}
