//! The requests of one connection, one after the other.

use std::time::Duration;

use super::head::{HeadError, MAX_HEAD, Parsed, RequestHead};

/// Largest body that is taken, in bytes: the initrd's reports are shorter.
pub const MAX_BODY: usize = 4096;

/// How long a connection may wait for its next request, and how long when others need its place.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_CROWDED: Duration = Duration::from_secs(5);

/// How long a request may take from its first byte to the end of its body.
const REQUEST: Duration = Duration::from_secs(15);

/// Why a request is refused; the connection is to be closed behind the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its head cannot be taken.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// 413.
    #[error("bodies here are at most {MAX_BODY} bytes")]
    BodyTooLong,
}

impl Refusal {
    /// Status code of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Head(error) => error.status(),
            Self::BodyTooLong => 413,
        }
    }
}

/// What the connection is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Receive at most [`Conversation::room`] bytes until the [deadline](Conversation::deadline).
    Receive,
    /// Tell the client that its body is waited for (100).
    Continue,
    /// Answer this request with this body, then tell [`Conversation::answered`].
    Answer(Box<RequestHead>, Vec<u8>),
    /// Answer so, then close.
    Refuse(Refusal),
    /// Close: all is said, or the client has gone.
    Close,
    /// Close: a request was not complete in time.
    CloseSlow,
}

#[derive(Debug)]
enum State {
    /// No byte of the next request is there.
    Idle,
    /// The head is not complete.
    Head,
    /// The body is not complete.
    Body(Box<RequestHead>),
    /// An answer is under way; whether another request may follow it.
    Answering(bool),
    Closed,
}

/// What was received of a client's requests. Never more is kept than the longest head and the longest body.
#[derive(Debug)]
pub struct Conversation {
    received: Vec<u8>,
    state: State,
    deadline: Duration,
    /// The client sends nothing any more.
    has_ended: bool,
    /// The deadline has passed.
    is_late: bool,
}

impl Conversation {
    /// Begins with a connection that was just accepted; `is_crowded` says that others need its place.
    #[must_use]
    pub fn new(now: Duration, is_crowded: bool) -> Self {
        let mut conversation =
            Self { received: Vec::new(), state: State::Closed, deadline: now, has_ended: false, is_late: false };
        conversation.wait_for_next(now, is_crowded);
        conversation
    }

    /// How many bytes are taken now. More stay with the kernel, which makes the client wait.
    #[must_use]
    pub fn room(&self) -> usize {
        match self.state {
            State::Closed => 0,
            _ => (MAX_HEAD + MAX_BODY).saturating_sub(self.received.len()),
        }
    }

    /// Until when the client has time, while [`Step::Receive`] is what is to do.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The client has sent these bytes, none when it sends nothing any more. What goes beyond the [room](Self::room) is
    /// not taken.
    pub fn receive(&mut self, now: Duration, bytes: &[u8]) {
        self.has_ended |= bytes.is_empty();
        let taken = bytes.len().min(self.room());
        self.received.extend_from_slice(&bytes[..taken]);
        if matches!(self.state, State::Idle) && taken > 0 {
            self.begin(now);
        }
    }

    /// The [deadline](Self::deadline) may have passed.
    pub fn on_deadline(&mut self, now: Duration) {
        self.is_late = now >= self.deadline;
    }

    /// The answer has been sent.
    pub fn answered(&mut self, now: Duration, is_crowded: bool) {
        match self.state {
            State::Answering(true) => self.wait_for_next(now, is_crowded),
            _ => self.state = State::Closed,
        }
    }

    /// What is to do now.
    pub fn step(&mut self) -> Step {
        if matches!(self.state, State::Head) {
            match RequestHead::parse(&self.received) {
                Ok(Parsed::Complete(head, _)) if head.content_length > MAX_BODY as u64 => {
                    return self.refuse(Refusal::BodyTooLong);
                }
                Ok(Parsed::Complete(head, length)) => {
                    self.received.drain(..length);
                    let is_waited_for = head.expects_continue && !self.has_body(&head);
                    self.state = State::Body(Box::new(head));
                    if is_waited_for {
                        return Step::Continue;
                    }
                }
                Ok(Parsed::Incomplete) => {}
                Err(error) => return self.refuse(error.into()),
            }
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Body(head) if self.has_body(&head) => {
                self.state = State::Answering(head.keep_alive);
                let body = self.received.drain(..body_length(&head)).collect();
                Step::Answer(head, body)
            }
            State::Closed | State::Answering(_) => Step::Close,
            _ if self.has_ended => Step::Close,
            State::Idle if self.is_late => Step::Close,
            _ if self.is_late => Step::CloseSlow,
            waiting => {
                self.state = waiting;
                Step::Receive
            }
        }
    }

    fn wait_for_next(&mut self, now: Duration, is_crowded: bool) {
        self.state = State::Idle;
        self.is_late = false;
        self.deadline = now + if is_crowded { IDLE_CROWDED } else { IDLE };
        // It was sent before the answer to the one before it.
        if !self.received.is_empty() {
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Duration) {
        self.state = State::Head;
        self.deadline = now + REQUEST;
    }

    fn has_body(&self, head: &RequestHead) -> bool {
        self.received.len() >= body_length(head)
    }

    fn refuse(&mut self, refusal: Refusal) -> Step {
        self.state = State::Closed;
        self.received = Vec::new();
        Step::Refuse(refusal)
    }
}

/// Length of the body that follows; longer ones than are taken were refused.
fn body_length(head: &RequestHead) -> usize {
    usize::try_from(head.content_length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Duration = Duration::from_secs(1000);
    const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

    fn begun() -> Conversation {
        Conversation::new(BEGIN, false)
    }

    fn path(step: &Step) -> &str {
        let Step::Answer(head, _) = step else { panic!("{step:?}") };
        &head.path
    }

    #[test]
    fn requests_that_came_together_are_answered_one_after_the_other() {
        let mut conversation = begun();
        conversation.receive(BEGIN, &[GET, b"GET /b HTTP/1.0\r\n\r\nGET /c"].concat());
        assert_eq!(path(&conversation.step()), "/a");
        conversation.answered(BEGIN, false);
        assert_eq!(path(&conversation.step()), "/b");
        conversation.answered(BEGIN, false);
        // The second one said that it is the last.
        assert_eq!((conversation.step(), conversation.room()), (Step::Close, 0));
        conversation.receive(BEGIN, GET);
        assert_eq!(conversation.step(), Step::Close);
    }

    #[test]
    fn a_request_has_its_time_from_the_first_byte_to_the_end_of_its_body() {
        let mut conversation = begun();
        assert_eq!(conversation.deadline(), BEGIN + IDLE);
        let at = |seconds| BEGIN + Duration::from_secs(seconds);
        conversation.receive(at(50), b"POST /machine/x/progress HTTP/1.1\r\nHost: x\r\n");
        conversation.on_deadline(at(60));
        assert_eq!(conversation.step(), Step::Receive);
        conversation.receive(at(62), b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!((conversation.step(), conversation.step()), (Step::Continue, Step::Receive));
        assert_eq!(conversation.deadline(), at(50) + REQUEST, "the end of the head is no new beginning");
        conversation.receive(at(63), b"{}");
        conversation.on_deadline(conversation.deadline());
        assert_eq!((conversation.step(), conversation.step()), (Step::CloseSlow, Step::Close));
    }

    #[test]
    fn who_is_silent_between_requests_keeps_its_place_for_a_while_and_shorter_in_a_crowd() {
        for (is_crowded, lasts) in [(false, IDLE), (true, IDLE_CROWDED)] {
            let mut conversation = Conversation::new(BEGIN, is_crowded);
            conversation.on_deadline(BEGIN + lasts - Duration::from_millis(1));
            assert_eq!(conversation.step(), Step::Receive);
            conversation.on_deadline(BEGIN + lasts);
            assert_eq!(conversation.step(), Step::Close, "which is no fault of it");
        }
    }

    #[test]
    fn what_is_refused_is_the_last_of_its_connection() {
        let long = format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1);
        for (request, status) in [(long.as_bytes(), 413), (&[b'a'; MAX_HEAD], 431), (b"nonsense\r\n\r\n", 400)] {
            let mut conversation = begun();
            conversation.receive(BEGIN, request);
            let Step::Refuse(refusal) = conversation.step() else { panic!("{status}") };
            assert_eq!(refusal.status(), status);
            conversation.receive(BEGIN, GET);
            conversation.answered(BEGIN, false);
            assert_eq!(conversation.step(), Step::Close);
        }
    }

    #[test]
    fn a_client_that_closed_its_side_still_gets_what_it_asked_for() {
        let mut conversation = begun();
        conversation.receive(BEGIN, GET);
        conversation.receive(BEGIN, b"");
        assert_eq!(path(&conversation.step()), "/a");
        conversation.answered(BEGIN, false);
        assert_eq!(conversation.step(), Step::Close);
    }
}
