//! How a command ends: exit codes and the text of errors.

use std::process::ExitCode;

use meadow_client::ClientError;
use meadow_controllers::join::JoinError;
use meadow_model::ProblemCode;

/// Exit codes, the same for all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something else went wrong.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no such resource.
    NotFound = 3,
    /// The resource is in another state than that needs.
    Conflict = 4,
    /// This identity may not do that.
    NotAllowed = 5,
    /// It took too long.
    TimedOut = 6,
    /// No address answers, or there is no quorum.
    Unreachable = 7,
    /// The cluster is not well.
    Unhealthy = 8,
    /// Ctrl-C.
    Interrupted = 130,
}

/// An error of the command line itself.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// What is wrong and what to do next; empty where the output has said it.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "")
    }
}

/// Tells `error` on stderr and gives the exit code that goes with it.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has seen enough.
        return ExitCode::SUCCESS;
    }
    let text = text(error);
    if !text.is_empty() {
        crate::output::say(&text);
    }
    ExitCode::from(exit_of(error) as u8)
}

/// Whether whoever read our output is gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The exit code that goes with `error`.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    match error.downcast_ref::<JoinError>() {
        Some(JoinError::Member(_) | JoinError::Founder) => return Exit::Conflict,
        Some(JoinError::Token(_)) => return Exit::Usage,
        _ => {}
    }
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Problem(problem)) => exit_of_problem(problem.code),
        Some(ClientError::Unreachable { .. } | ClientError::OtherCluster { .. } | ClientError::NoAgent { .. }) => {
            Exit::Unreachable
        }
        _ => Exit::Failed,
    }
}

pub(crate) fn exit_of_problem(code: ProblemCode) -> Exit {
    match (code, code.status()) {
        (ProblemCode::NoQuorum | ProblemCode::Unavailable, _) => Exit::Unreachable,
        (_, 400) => Exit::Usage,
        (_, 401 | 403) => Exit::NotAllowed,
        (_, 404) => Exit::NotFound,
        (_, 409 | 412 | 428) => Exit::Conflict,
        _ => Exit::Failed,
    }
}

fn text(error: &anyhow::Error) -> String {
    if let Some(problem) = error.downcast_ref::<ClientError>().and_then(ClientError::problem) {
        let mut text = format!("error: {}: {}\n  {}", problem.title, problem.detail, problem.hint);
        for field in &problem.fields {
            text.push_str(&format!("\n  {}: {}", field.field, field.message));
        }
        text.push_str(&format!("\n  [{}", problem.code));
        if let Some(id) = &problem.request_id {
            text.push_str(&format!(", request {id}"));
        }
        text.push(']');
        return crate::output::clean(&text);
    }
    let message = told(error);
    if message.is_empty() { message } else { format!("error: {}", crate::output::clean(&message)) }
}

/// The error and its causes. Some put a cause before their own next step; it is not said a second time.
fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |mut told, cause| {
        if !told.contains(&cause) {
            told = if told.is_empty() { cause } else { told + ": " + &cause };
        }
        told
    })
}

#[cfg(test)]
mod tests {
    use meadow_model::Problem;

    use super::*;

    #[test]
    fn a_cause_that_an_error_has_named_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot open it: {source}; unmount it")]
        struct Named {
            source: std::io::Error,
        }
        let named = Named { source: std::io::Error::other("busy") };
        let error = anyhow::Error::new(named).context("nothing was written");
        assert_eq!(text(&error), "error: nothing was written: cannot open it: busy; unmount it");
    }

    #[test]
    fn each_kind_of_error_has_its_code() {
        let problem = |code| anyhow::Error::new(ClientError::Problem(Box::new(Problem::new(code, "x"))));
        let cases = [
            (problem(ProblemCode::NotFound), 3),
            (problem(ProblemCode::RevisionMismatch), 4),
            (problem(ProblemCode::AlreadyExists), 4),
            (problem(ProblemCode::LastVoter), 4),
            (problem(ProblemCode::Forbidden), 5),
            (problem(ProblemCode::Unauthenticated), 5),
            (problem(ProblemCode::NoQuorum), 7),
            (problem(ProblemCode::BadRequest), 2),
            (problem(ProblemCode::Internal), 1),
            (ClientError::Unreachable { tried: Vec::new() }.into(), 7),
            (JoinError::Founder.into(), 4),
            (Failure::new(Exit::TimedOut, "late").into(), 6),
            (Failure::interrupted().into(), 130),
            (anyhow::anyhow!("anything"), 1),
        ];
        for (error, code) in cases {
            assert_eq!(exit_of(&error) as u8, code, "{error}");
            assert_eq!(exit_of(&error.context("while doing that")) as u8, code);
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe)).context("printing");
        assert!(is_broken_pipe(&error));
        assert!(!is_broken_pipe(&anyhow::anyhow!("other")));
    }
}
