//! A model of the clients beside the server, over any history.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use crate::leases::{Client, LEASE, bound, from, kind, mac, pool, yiaddr};
use crate::packets::on_67;
use crate::{ACK, NONE, server};

#[derive(Debug, Clone)]
enum Step {
    Discover(u8),
    Take(u8),
    Select(u8, u8),
    Reboot(u8, u8),
    Renew(u8, u8),
    Release(u8, u8),
    Decline(u8, u8),
    Found(u8, u8),
    Pass(u16),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let client = || prop_oneof![1..7_u8, Just(200)];
    let address = || prop_oneof![9..15_u8, Just(2), Just(255)];
    prop_oneof![
        4 => client().prop_map(Step::Take),
        2 => client().prop_map(Step::Discover),
        2 => (client(), address()).prop_map(|(c, a)| Step::Select(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Reboot(c, a)),
        2 => (client(), address()).prop_map(|(c, a)| Step::Renew(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Release(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Decline(c, a)),
        1 => (client(), address()).prop_map(|(c, a)| Step::Found(c, a)),
        2 => (0..5000_u16).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// A model of the clients: whoever was acknowledged an address holds it until its lease ends, it gives it back, or
    /// it is refused. Nobody else may be acknowledged it meanwhile.
    #[test]
    fn no_two_clients_ever_hold_one_address(steps in prop::collection::vec(step(), 1..80)) {
        let mut server = server();
        let mut held: HashMap<Ipv4Addr, (u8, Duration)> = HashMap::new();
        for step in steps {
            let (client, bytes, source) = match step {
                Step::Pass(seconds) => {
                    server.pass(seconds.into());
                    continue;
                }
                Step::Restart => {
                    let passed = server.now;
                    let mut again = server.restarted();
                    // The monotonic clock begins anew: carry the model over to it.
                    for (_, until) in held.values_mut() {
                        *until = again.now + until.saturating_sub(passed);
                    }
                    std::mem::swap(&mut server, &mut again);
                    continue;
                }
                Step::Found(user, address) => {
                    server.leases.found(server.now, pool(address), Some(mac(user)));
                    continue;
                }
                Step::Discover(n) => (n, Client::new(n).discover(), NONE),
                Step::Take(n) => {
                    let offered = server.say(&on_67(), &Client::new(n).discover());
                    let Some((_, address)) = offered else { continue };
                    (n, Client::new(n).select(address), NONE)
                }
                Step::Select(n, a) => (n, Client::new(n).select(pool(a)), NONE),
                Step::Reboot(n, a) => (n, Client::new(n).reboot(pool(a)), NONE),
                Step::Renew(n, a) => (n, Client::new(n).renew(pool(a)), pool(a)),
                Step::Release(n, a) | Step::Decline(n, a) => {
                    let bytes = match step {
                        Step::Release(..) => Client::new(n).release(pool(a)),
                        _ => Client::new(n).decline(pool(a)),
                    };
                    if held.get(&pool(a)).is_some_and(|(holder, _)| *holder == n) {
                        held.remove(&pool(a));
                    }
                    (n, bytes, NONE)
                }
            };
            let outcome = server.handle(&from(source, 68), &bytes);
            let Some(reply) = outcome.reply else { continue };
            let address = yiaddr(&reply.payload);
            prop_assert!(address == NONE || address == pool(12) || (pool(10)..=pool(13)).contains(&address));
            if kind(&reply.payload) == ACK {
                if let Some((holder, until)) = held.get(&address) {
                    prop_assert!(*holder == client || *until <= server.now, "{} is held by {} and given to {}", address, holder, client);
                }
                held.retain(|_, (holder, _)| *holder != client);
                held.insert(address, (client, server.now + Duration::from_secs(LEASE.into())));
                prop_assert_eq!(outcome.record.as_ref().map(bound), Some((address, Some(mac(client)))));
            }
        }
    }
}
