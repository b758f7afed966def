//! DHCP on ports 67 and 4011.

use std::sync::Arc;

use meadow_netboot::EventKind;
use meadow_netboot::dhcp::{Receive, ServerPort};

use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;
use crate::udp::UdpPort;

/// Larger than any request on Ethernet; what is longer is cut and does not parse.
const RECEIVE_BUFFER: usize = 2048;

/// Answers one port until the task is aborted.
pub(crate) async fn serve(shared: Arc<Shared>, socket: UdpPort, port: ServerPort) {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let received = match socket.receive(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // The supervisor sees an interface that went away and binds anew.
                tracing::debug!(%error, ?port, "receiving DHCP failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let rx = Receive { port, address: received.local, source: received.source };
        let outcome = shared.engine().handle(shared.now(), &rx, &buffer[..received.length], &*shared);
        // The reply first: iPXE waits 2 s for it, a person reads the log later.
        if let Some(reply) = outcome.reply
            && let Err(error) = socket.send(&reply.payload, rx.address, reply.destination).await
        {
            let why = format!("the reply to {} could not be sent: {error}", reply.destination);
            shared.say(EventKind::Failed { file: String::new(), why });
        }
        for note in outcome.notes {
            shared.record(note);
        }
    }
}
