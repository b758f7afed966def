//! What must hold of an HTTP connection, whatever a client sends and however it is cut.

use std::time::Duration;

use meadow_netboot::http::{Conversation, MAX_BODY, MAX_HEAD, Parsed, Refusal, RequestHead, Step};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

const BEGIN: Duration = Duration::from_secs(1000);
/// The longest that anybody waits for a client.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a client sends what it sends.
#[derive(Clone, Copy)]
struct Manner {
    /// Bytes at once.
    piece: usize,
    /// Before each piece.
    pause: Duration,
    /// Closes its side behind the last byte, or says nothing any more.
    closes: bool,
    is_crowded: bool,
}

/// What came of it.
#[derive(Default)]
struct History {
    answers: Vec<(RequestHead, Vec<u8>)>,
    refusal: Option<Refusal>,
}

/// Three bytes of manner, then all that the client sends: the same requests come of it however it is cut, those of a slow
/// client are the first of them, and each has the bytes that are its own.
pub fn http_connection(bytes: &[u8]) -> TestCaseResult {
    let Some(([piece, pause, flags], sent)) = bytes.split_first_chunk::<3>() else { return Ok(()) };
    let manner =
        Manner { piece: sent.len().max(1), pause: Duration::ZERO, closes: flags & 1 == 0, is_crowded: flags & 2 != 0 };
    let whole = converse(sent, manner)?;
    belongs(sent, &whole)?;
    let manner = Manner { piece: usize::from(*piece).max(1), ..manner };
    let torn = converse(sent, manner)?;
    prop_assert_eq!(&torn.answers, &whole.answers);
    prop_assert_eq!(torn.refusal, whole.refusal);
    let slow = converse(sent, Manner { pause: Duration::from_millis(100 * u64::from(*pause)), ..manner })?;
    prop_assert!(whole.answers.starts_with(&slow.answers));
    prop_assert!(slow.refusal.is_none() || slow.refusal == whole.refusal);
    Ok(())
}

/// Plays a connection to its end.
fn converse(mut rest: &[u8], manner: Manner) -> Result<History, TestCaseError> {
    let (mut now, mut history, mut continued) = (BEGIN, History::default(), 0);
    let mut conversation = Conversation::new(now, manner.is_crowded);
    loop {
        match conversation.step() {
            Step::Receive => {
                let room = conversation.room();
                prop_assert!((1..=MAX_HEAD + MAX_BODY).contains(&room), "room for {room} bytes");
                prop_assert!(conversation.deadline() <= now + PATIENCE);
                let (piece, behind) = rest.split_at(rest.len().min(manner.piece).min(room));
                rest = behind;
                if piece.is_empty() && !manner.closes {
                    now = conversation.deadline();
                    conversation.on_deadline(now);
                    break;
                }
                now += manner.pause;
                conversation.receive(now, piece);
                conversation.on_deadline(now);
            }
            // Nothing else leaves before a request is whole.
            Step::Continue => {
                continued += 1;
                prop_assert!(continued <= history.answers.len() + 1, "once for a request");
            }
            Step::Answer(head, body) => {
                prop_assert!(body.len() as u64 == head.content_length && body.len() <= MAX_BODY);
                history.answers.push((*head, body));
                conversation.answered(now, manner.is_crowded);
            }
            Step::Refuse(refusal) => {
                prop_assert!((400..=505).contains(&refusal.status()));
                history.refusal = Some(refusal);
                break;
            }
            Step::Close | Step::CloseSlow => break,
        }
    }
    is_over(&mut conversation, now, history.refusal.is_some())?;
    Ok(history)
}

/// What was refused, fell silent or closed is closed at the next step, and stays so.
fn is_over(conversation: &mut Conversation, now: Duration, is_refused: bool) -> TestCaseResult {
    let last = conversation.step();
    prop_assert!(last == Step::Close || (last == Step::CloseSlow && !is_refused), "{last:?}");
    for later in [Duration::ZERO, PATIENCE] {
        conversation.receive(now + later, b"GET / HTTP/1.0\r\n\r\n");
        conversation.answered(now + later, false);
        conversation.on_deadline(now + later);
        prop_assert_eq!((conversation.step(), conversation.room()), (Step::Close, 0));
    }
    Ok(())
}

/// Each request is where the one before it ends, and its body is what follows its head.
fn belongs(sent: &[u8], history: &History) -> TestCaseResult {
    let mut rest = sent;
    for (at, (head, body)) in history.answers.iter().enumerate() {
        let Ok(Parsed::Complete(same, length)) = RequestHead::parse(rest) else {
            return Err(TestCaseError::fail(format!("answered what is no request: {head:?}")));
        };
        prop_assert_eq!(&same, head);
        prop_assert!(rest[length..].starts_with(body));
        prop_assert!(head.keep_alive || at + 1 == history.answers.len(), "its last request was another one");
        rest = &rest[length + body.len()..];
    }
    Ok(())
}
